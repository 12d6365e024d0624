// AwaySessions: clients that have no connection, and since when. What they have sent or written
// before may still come, when they are back: a destroyed object's tombstone stays until then.
//
// Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <mutex>

namespace sheen::oss {

class AwaySessions final {
 public:
  // Who comes back sends what it has at once; so long it counts as away.
  static constexpr int64_t kBackNs = 60'000'000'000;

  // Nobody waits for longer: a client that still lives has been evicted by the MDS long before, and
  // one that said goodbye while this server was down would be away for ever.
  static constexpr int64_t kAwayMaxNs = 3'600'000'000'000;

  // Since when nobody knows who was there before a restart: `since_ns` 0.
  void Away(uint64_t session, int64_t since_ns, int64_t now_ns) {
    const std::scoped_lock lock(mutex_);
    One& one = sessions_.try_emplace(session, One{since_ns, now_ns, 0}).first->second;
    one.back_ns = 0;
  }
  void Back(uint64_t session, int64_t now_ns) {
    const std::scoped_lock lock(mutex_);
    const auto found = sessions_.find(session);
    if (found != sessions_.end() && found->second.back_ns == 0) found->second.back_ns = now_ns;
  }
  // It has ended, or is fenced: nothing of it is executed any more.
  void Forget(uint64_t session) {
    const std::scoped_lock lock(mutex_);
    sessions_.erase(session);
  }
  // Since then somebody has been away; `now_ns` when nobody is.
  int64_t OldestNs(int64_t now_ns) {
    const std::scoped_lock lock(mutex_);
    std::erase_if(sessions_, [now_ns](const auto& entry) {
      const One& one = entry.second;
      return (one.back_ns != 0 && now_ns - one.back_ns >= kBackNs) ||
             now_ns - one.noted_ns >= kAwayMaxNs;
    });
    int64_t oldest_ns = now_ns;
    for (const auto& [session, one] : sessions_) oldest_ns = std::min(oldest_ns, one.since_ns);
    return oldest_ns;
  }

 private:
  struct One {
    int64_t since_ns = 0;
    int64_t noted_ns = 0;  // when it was heard of
    int64_t back_ns = 0;  // 0: it is still away
  };
  std::mutex mutex_;  // guards sessions_
  std::map<uint64_t, One> sessions_;
};

}  // namespace sheen::oss
