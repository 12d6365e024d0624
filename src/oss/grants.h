// Grants: space that clients may count on for data that they hold back (write-behind), so that what
// they have accepted always fits. A grant is taken from the target's space when it is given, used
// up by the writes that say so, and comes back when its session ends.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>
#include <utility>

#include "ost/target.h"

namespace sheen::oss {

class Grants final {
 public:
  // A client gets at most so much at once, and at most this part of what is left.
  static constexpr uint64_t kGrantMax = 64 << 20;
  static constexpr uint64_t kFraction = 16;
  static constexpr uint64_t kGrantMin = 1 << 20;

  // Gives what it can of `wanted`, 0 when space runs out.
  uint64_t Give(ost::Target* target, uint64_t session, uint64_t wanted) {
    const std::scoped_lock lock(mutex_);
    const auto found = held_.find({session, target});
    const uint64_t has = found == held_.end() ? 0 : std::min(found->second, kGrantMax);
    wanted = std::min({wanted, kGrantMax - has, target->GrantableBytes() / kFraction});
    wanted = wanted / ost::kGrantUnit * ost::kGrantUnit;
    if (wanted < kGrantMin || !target->Grant(wanted)) return 0;
    held_[{session, target}] += wanted;
    return wanted;
  }
  // `bytes` are being written: at most what the session has comes out of its grant.
  uint64_t Use(ost::Target* target, uint64_t session, uint64_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto found = held_.find({session, target});
    if (found == held_.end()) return 0;
    const uint64_t used = std::min(found->second, bytes);
    found->second -= used;
    if (found->second == 0) held_.erase(found);
    return used;
  }
  // A client says what it has: after a restart of the server, whether there is room or not.
  void Declare(ost::Target* target, uint64_t session, uint64_t bytes) {
    bytes = std::min(bytes, 2 * kGrantMax);
    const std::scoped_lock lock(mutex_);
    uint64_t& held = held_[{session, target}];
    if (held < bytes) {
      target->AddGrant(bytes - held);
    } else {
      target->ReturnGrant(held - bytes);
    }
    held = bytes;
    if (held == 0) held_.erase({session, target});
  }
  void Return(ost::Target* target, uint64_t session, uint64_t bytes) {
    target->ReturnGrant(Use(target, session, bytes));
  }
  // Of all sessions.
  uint64_t BytesOf(const ost::Target* target) const {
    const std::scoped_lock lock(mutex_);
    uint64_t bytes = 0;
    for (const auto& [key, held] : held_) {
      if (key.second == target) bytes += held;
    }
    return bytes;
  }
  void DropSession(uint64_t session) {
    const std::scoped_lock lock(mutex_);
    for (auto at = held_.lower_bound({session, nullptr});
         at != held_.end() && at->first.first == session; at = held_.erase(at)) {
      at->first.second->ReturnGrant(at->second);
    }
  }

 private:
  mutable std::mutex mutex_;  // guards held_
  std::map<std::pair<uint64_t, ost::Target*>, uint64_t> held_;  // by session and target
};

}  // namespace sheen::oss
