// XidTracker: which requests of one link are being executed. A request that is sent again on
// another link of the session, on whatever shard, waits here until the first one has finished, so
// that no request is ever executed twice at the same time.
//
// Entries live in the coroutine that executes the request; looking one up walks the list, since
// only resent requests do.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

namespace sheen::rpc {

class XidTracker final {
 public:
  struct Entry {
    uint64_t xid = 0;
    Entry* previous = nullptr;
    Entry* next = nullptr;
  };

  // `entry` must stay where it is until End. False when fenced: do not execute.
  bool Begin(Entry* entry, uint64_t xid);
  void End(Entry* entry);
  // Nothing begins any more; what runs goes on. Idempotent.
  void Fence();
  bool fenced() const;
  // False when no request `xid` is being executed; else `done` is called once, on the thread that
  // ends the last one.
  bool WhenFinished(uint64_t xid, std::function<void()> done);
  uint64_t count() const;

 private:
  bool IsRunning(uint64_t xid) const;

  mutable std::mutex mutex_;  // guards everything below
  Entry* head_ = nullptr;
  uint64_t count_ = 0;
  bool fenced_ = false;
  std::vector<std::pair<uint64_t, std::function<void()>>> waiters_;
};

}  // namespace sheen::rpc
