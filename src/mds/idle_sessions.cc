#include "mds/idle_sessions.h"

#include <utility>

namespace sheen::mds {

void IdleSessions::Add(std::shared_ptr<const rpc::Session> session) {
  const std::scoped_lock lock(mutex_);
  const uint64_t id = session->id();
  sessions_[id] = std::move(session);
}

std::vector<uint64_t> IdleSessions::TakeExpired(Nanos now, Nanos lease) {
  std::vector<uint64_t> expired;
  const std::scoped_lock lock(mutex_);
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    const rpc::Session& session = *at->second;
    const bool back = session.link_count.load() > 0 || session.ended.load();
    const bool over = now.count() - session.idle_since_ns.load() >= lease.count();
    if (!back && over) expired.push_back(session.id());
    at = back || over ? sessions_.erase(at) : std::next(at);
  }
  return expired;
}

}  // namespace sheen::mds
