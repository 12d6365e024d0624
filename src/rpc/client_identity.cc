#include <algorithm>

#include "rpc/client.h"

namespace sheen::rpc {

std::shared_ptr<XidFloor::Part> XidFloor::Join() {
  auto part = std::make_shared<Part>();
  std::lock_guard lock(mutex_);
  std::erase_if(parts_, [](const std::weak_ptr<Part>& other) { return other.expired(); });
  parts_.push_back(part);
  return part;
}

uint64_t XidFloor::Minimum(const std::atomic<uint64_t>& next_xid) const {
  // Read first: an xid drawn after this is above it, and one drawn before was published before.
  uint64_t minimum = next_xid.load();
  std::lock_guard lock(mutex_);
  for (const std::weak_ptr<Part>& weak : parts_) {
    if (const auto part = weak.lock()) minimum = std::min(minimum, part->oldest.load());
  }
  return minimum;
}

ClientIdentity::ClientIdentity(std::string fsname, Uuid uuid)
    : fsname_(std::move(fsname)), uuid_(uuid) {}

ServerSession ClientIdentity::Session(const std::string& server) const {
  std::lock_guard lock(mutex_);
  const auto found = servers_.find(server);
  return found == servers_.end() ? ServerSession{} : found->second.session;
}

void ClientIdentity::SetSession(const std::string& server, const ServerSession& session) {
  std::lock_guard lock(mutex_);
  servers_[server].session = session;
}

bool ClientIdentity::ReplaceSession(const std::string& server, uint64_t expected,
                                    const ServerSession& session) {
  std::lock_guard lock(mutex_);
  ServerSession& current = servers_[server].session;
  if (current.session_id != expected) return false;
  current = session;
  return true;
}

bool ClientIdentity::AdoptSession(const std::string& server, const ServerSession& before,
                                  const ServerSession& session) {
  std::lock_guard lock(mutex_);
  ServerSession& current = servers_[server].session;
  if (current.session_id != before.session_id) return false;
  const bool changed = current.server_boot != before.server_boot;
  if (changed && session.server_boot < current.server_boot) return false;
  current = session;
  return true;
}

void ClientIdentity::RememberCredential(const std::string& server, uint32_t id, std::string body) {
  std::lock_guard lock(mutex_);
  servers_[server].credentials[id] = std::move(body);
}

std::map<uint32_t, std::string> ClientIdentity::Credentials(const std::string& server) const {
  std::lock_guard lock(mutex_);
  const auto found = servers_.find(server);
  return found == servers_.end() ? std::map<uint32_t, std::string>{} : found->second.credentials;
}

std::shared_ptr<XidFloor> ClientIdentity::Floor(const std::string& server) {
  std::lock_guard lock(mutex_);
  std::shared_ptr<XidFloor>& floor = servers_[server].floor;
  if (floor == nullptr) floor = std::make_shared<XidFloor>();
  return floor;
}

}  // namespace sheen::rpc
