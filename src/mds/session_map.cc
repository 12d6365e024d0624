#include "mds/session_map.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "rpc/server.h"

namespace sheen::mds {
namespace {

constexpr size_t kClientsNamed = 8;  // in one line of the log

}  // namespace

ClientSession::ClientSession(uint64_t id, const Uuid& client)
    : id_(id), client_(client), writer_id_(LoadLittle<uint64_t>(client.bytes.data())) {}

std::optional<SlotMemo> ClientSession::Slot(uint32_t slot) const {
  std::lock_guard lock(mutex_);
  const auto found = slots_.find(slot);
  if (found == slots_.end()) return std::nullopt;
  return found->second;
}

void ClientSession::SetSlot(uint32_t slot, const SlotMemo& memo) {
  std::lock_guard lock(mutex_);
  slots_[slot] = memo;
}

std::vector<uint32_t> ClientSession::Slots() const {
  std::lock_guard lock(mutex_);
  std::vector<uint32_t> slots;
  slots.reserve(slots_.size());
  for (const auto& [slot, memo] : slots_) slots.push_back(slot);
  return slots;
}

bool ClientSession::Heard() const {
  if (heard_.load(std::memory_order_relaxed)) return true;
  return connections_ != nullptr && connections_->last_heard_ns.load() != 0;
}

void ClientSession::SetConnections(std::shared_ptr<const rpc::Session> connections) {
  connections_ = std::move(connections);
}

std::shared_ptr<ClientSession> SessionMap::Find(uint64_t id) const {
  std::shared_lock lock(mutex_);
  const auto found = sessions_.find(id);
  return found == sessions_.end() ? nullptr : found->second;
}

std::shared_ptr<ClientSession> SessionMap::Insert(uint64_t id, const Uuid& client) {
  std::unique_lock lock(mutex_);
  auto& session = sessions_[id];
  if (!session) session = std::make_shared<ClientSession>(id, client);
  return session;
}

void SessionMap::Erase(uint64_t id) {
  std::unique_lock lock(mutex_);
  sessions_.erase(id);
}

std::vector<std::shared_ptr<ClientSession>> SessionMap::All() const {
  std::vector<std::shared_ptr<ClientSession>> sessions;
  std::shared_lock lock(mutex_);
  sessions.reserve(sessions_.size());
  for (const auto& [id, session] : sessions_) sessions.push_back(session);
  return sessions;
}

size_t SessionMap::size() const {
  std::shared_lock lock(mutex_);
  return sessions_.size();
}

void Recovery::Begin(const Known& known, Nanos now, Nanos wait) {
  std::lock_guard lock(mutex_);
  for (const auto& session : known.awaited) awaited_.emplace(session->id(), session);
  for (const auto& session : known.idle) silent_.emplace(session->id(), session);
  evicted_.insert(known.evicted.begin(), known.evicted.end());
  CountLocked();
  deadline_ = now + wait;
  last_deadline_ = now + std::max(wait, kLongest);
  active_.store(!awaited_.empty(), std::memory_order_release);
  if (!awaited_.empty()) {
    SHEEN_LOG(Info, "recovery: waiting for {} clients to come back", awaited_.size());
  }
}

void Recovery::Extend(Nanos until) {
  if (!active_.load(std::memory_order_acquire)) return;
  std::lock_guard lock(mutex_);
  deadline_ = std::max(deadline_, std::min(until, last_deadline_));
}

void Recovery::Back(uint64_t session) {
  std::lock_guard lock(mutex_);
  awaited_.erase(session);
  silent_.erase(session);
  evicted_.erase(session);
  CountLocked();
  if (!awaited_.empty() || !active_.load()) return;
  active_.store(false, std::memory_order_release);
  SHEEN_LOG(Info, "recovery: all known clients are back");
}

bool Recovery::Active(Nanos now) {
  if (!active_.load(std::memory_order_acquire)) return false;
  std::lock_guard lock(mutex_);
  if (active_.load() && now >= deadline_) EndLocked();
  return active_.load();
}

void Recovery::EndLocked() {
  const bool is_last = deadline_ >= last_deadline_;
  std::string names;
  size_t named = 0;
  for (const auto& [id, session] : awaited_) {
    const bool heard = session->Heard();
    if (!heard) silent_.emplace(id, session);
    if (heard && is_last) overdue_.push_back(id);
    if (named++ >= kClientsNamed) continue;
    names += (names.empty() ? "" : ", ") + session->client().ToString() +
             (heard ? "" : " (not heard of)");
  }
  if (named > kClientsNamed) names += ", ...";
  CountLocked();
  // After the count: who sees the end sees the silent ones too.
  active_.store(false, std::memory_order_release);
  SHEEN_LOG(Warn,
            "recovery: {} clients did not come back in time{}: {}; the others go on without them",
            awaited_.size(), is_last ? ", which was as long as it may be" : "", names);
}

std::vector<uint64_t> Recovery::TakeOverdue() {
  std::lock_guard lock(mutex_);
  return std::exchange(overdue_, {});
}

std::vector<uint64_t> Recovery::Silent() {
  std::vector<uint64_t> silent;
  std::lock_guard lock(mutex_);
  std::erase_if(silent_, [](const auto& entry) { return entry.second->Heard(); });
  CountLocked();
  for (const auto& [id, session] : silent_) silent.push_back(id);
  return silent;
}

}  // namespace sheen::mds
