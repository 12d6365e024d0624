#include "base/log.h"
#include "rpc/server.h"
#include "rpc/xid_tracker.h"

namespace sheen::rpc {

Status Session::SetCredential(uint32_t id, Credential credential) {
  if (id == 0) {
    return Fail(Errc::kInvalid, "credential id 0 is the superuser's and cannot be set");
  }
  std::lock_guard lock(mutex_);
  if (credentials_.size() >= kCredentialsMax && !credentials_.contains(id)) {
    return Fail(Errc::kNoSpace, "the session has set " + std::to_string(kCredentialsMax) +
                                    " credentials, no more are kept; mount again");
  }
  credentials_[id] = std::move(credential);
  return {};
}

std::optional<Credential> Session::FindCredential(uint32_t id) const {
  if (id == 0) return Credential{};
  std::lock_guard lock(mutex_);
  const auto found = credentials_.find(id);
  if (found == credentials_.end()) return std::nullopt;
  return found->second;
}

std::optional<Origin> Session::FindOrigin(uint32_t id) const {
  if (id == 0) return Origin{};
  std::lock_guard lock(mutex_);
  const auto found = credentials_.find(id);
  if (found == credentials_.end()) return std::nullopt;
  return Origin{found->second.uid, found->second.job_id};
}

void Session::SetClientName(std::string name) {
  const std::lock_guard lock(mutex_);
  client_name_ = std::move(name);
}

void Session::SetAddress(std::string address) {
  std::lock_guard lock(mutex_);
  address_ = std::move(address);
}

std::string Session::address() const {
  std::lock_guard lock(mutex_);
  return address_;
}

std::string Session::client_name() const {
  const std::lock_guard lock(mutex_);
  return client_name_;
}

void Session::AddLink(uint64_t link, std::shared_ptr<XidTracker> tracker,
                      std::function<void()> end) {
  std::vector<std::function<void()>> replaced;
  {
    std::lock_guard lock(mutex_);
    for (const LinkEntry& other : links_) {
      if (link == 0 || other.link != link) continue;
      other.tracker->Fence();
      if (other.end) replaced.push_back(other.end);
    }
    links_.push_back({link, std::move(tracker), std::move(end)});
  }
  for (const std::function<void()>& end_link : replaced) end_link();
}

void Session::RemoveLink(const XidTracker* tracker) {
  std::lock_guard lock(mutex_);
  std::erase_if(links_, [&](const LinkEntry& entry) { return entry.tracker.get() == tracker; });
}

std::vector<std::shared_ptr<XidTracker>> Session::Links() const {
  std::vector<std::shared_ptr<XidTracker>> trackers;
  std::lock_guard lock(mutex_);
  trackers.reserve(links_.size());
  for (const LinkEntry& entry : links_) trackers.push_back(entry.tracker);
  return trackers;
}

// Ids start anywhere, so that those of two lives of a server (or of two stores under one name) do
// not meet.
SessionTable::SessionTable(ServerIdentity identity, SessionStore* store)
    : identity_(std::move(identity)), store_(store), next_id_((RandomU64() >> 2) + 1) {}

void SessionTable::Load(std::vector<std::shared_ptr<Session>> sessions) {
  for (auto& session : sessions) Insert(std::move(session));
}

std::shared_ptr<Session> SessionTable::Find(uint64_t id) const {
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::shared_ptr<Session> SessionTable::FindClient(const Uuid& client) const {
  std::lock_guard lock(mutex_);
  const auto found = by_client_.find(client);
  return found == by_client_.end() ? nullptr : found->second;
}

void SessionTable::Insert(std::shared_ptr<Session> session) {
  std::lock_guard lock(mutex_);
  by_client_[session->client_uuid()] = session;
  by_id_[session->id()] = std::move(session);
}

void SessionTable::Erase(uint64_t id) {
  std::lock_guard lock(mutex_);
  const auto found = by_id_.find(id);
  if (found == by_id_.end()) return;
  const std::shared_ptr<Session> session = found->second;
  session->ended.store(true);
  by_id_.erase(found);
  // The client may have a newer one.
  const auto of_client = by_client_.find(session->client_uuid());
  if (of_client != by_client_.end() && of_client->second == session) by_client_.erase(of_client);
}

std::vector<std::shared_ptr<Session>> SessionTable::All() const {
  std::vector<std::shared_ptr<Session>> sessions;
  std::lock_guard lock(mutex_);
  sessions.reserve(by_id_.size());
  for (const auto& [id, session] : by_id_) sessions.push_back(session);
  return sessions;
}

}  // namespace sheen::rpc
