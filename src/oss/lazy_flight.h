// A flight of LazyLoader: blocks on their way, and who waits for them. Internal to LazyLoader.
#pragma once

#include <atomic>
#include <coroutine>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "oss/lazy_loader.h"

namespace sheen::oss {

// Of a run of blocks: what its waiters wait for.
struct LazyLoader::Flight {
  uint64_t first = 0;
  uint64_t count = 0;
  uint64_t number = 0;
  Urgency urgency = Urgency::kDemand;  // as it began
  async::Shard* shard = nullptr;       // it runs there
  std::atomic<bool> hastened{false};

  std::mutex mutex;  // guards what follows
  bool done = false;
  Status result;
  std::vector<std::function<void()>> waiters;

  void Finish(Status status) {
    std::vector<std::function<void()>> woken;
    {
      const std::scoped_lock lock(mutex);
      done = true;
      result = std::move(status);
      woken.swap(waiters);
    }
    for (const auto& wake : woken) wake();
  }

  auto Wait() {
    struct Awaiter {
      Flight* flight;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) {
        const std::scoped_lock lock(flight->mutex);
        if (flight->done) return false;
        async::Shard* const own = async::Shard::Current();
        flight->waiters.push_back([own, caller] { own->Post([caller] { caller.resume(); }); });
        return true;
      }
      Status await_resume() {
        const std::scoped_lock lock(flight->mutex);
        return flight->result;
      }
    };
    return Awaiter{this};
  }
};

}  // namespace sheen::oss
