#include "mds/session_map.h"

#include "base/bytes.h"
#include "base/log.h"

namespace sheen::mds {

ClientSession::ClientSession(uint64_t id, const Uuid& client)
    : id_(id), writer_id_(LoadLittle<uint64_t>(client.bytes.data())) {}

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

size_t SessionMap::size() const {
  std::shared_lock lock(mutex_);
  return sessions_.size();
}

void Recovery::Begin(const std::vector<uint64_t>& sessions, Nanos deadline) {
  std::lock_guard lock(mutex_);
  awaited_.insert(sessions.begin(), sessions.end());
  deadline_ = deadline;
  active_.store(!awaited_.empty(), std::memory_order_release);
  if (!awaited_.empty()) {
    SHEEN_LOG(Info, "recovery: waiting for {} clients to come back", awaited_.size());
  }
}

void Recovery::Back(uint64_t session) {
  std::lock_guard lock(mutex_);
  awaited_.erase(session);
  if (!awaited_.empty() || !active_.load()) return;
  active_.store(false, std::memory_order_release);
  SHEEN_LOG(Info, "recovery: all known clients are back");
}

bool Recovery::Active(Nanos now) {
  if (!active_.load(std::memory_order_acquire)) return false;
  std::lock_guard lock(mutex_);
  if (active_.load() && now >= deadline_) {
    active_.store(false, std::memory_order_release);
    SHEEN_LOG(Warn, "recovery: {} clients did not come back in time", awaited_.size());
  }
  return active_.load();
}

}  // namespace sheen::mds
