// Coroutines of any shards that wait for one event of an object which several shards share.
//
// Not thread-safe itself: the object's own mutex guards it. A coroutine resumes on its own shard.
#pragma once

#include <coroutine>
#include <utility>
#include <vector>

#include "async/shard.h"

namespace sheen::client {

class SharedWaiters final {
 public:
  // Of the coroutine that is being suspended. REQUIRES: called on its shard.
  void Add(std::coroutine_handle<> waiter) {
    waiters_.emplace_back(async::Shard::Current(), waiter);
  }
  // They look again at what they waited for.
  void WakeAll() {
    for (const auto& [shard, handle] : std::exchange(waiters_, {})) {
      shard->Post([handle] { handle.resume(); });
    }
  }

 private:
  std::vector<std::pair<async::Shard*, std::coroutine_handle<>>> waiters_;
};

}  // namespace sheen::client
