// A shard without a ring, for tests of what needs none: runs on the test's thread until what was
// asked for is there.
//
//   ShardRunner shard;
//   const Result<int> value = shard.Await(SomeTask());
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>

#include "async/shard.h"
#include "async/task.h"

namespace sheen {

// Sleeps on a condition variable. Wake() is thread-safe, as a poller's must be.
class WaitPoller final : public async::Poller {
 public:
  void Poll(Nanos max_wait) override {
    std::unique_lock lock(mutex_);
    if (max_wait > Nanos(0)) woken_.wait_for(lock, max_wait, [this] { return wake_; });
    wake_ = false;
  }
  void Wake() override {
    std::lock_guard lock(mutex_);
    wake_ = true;
    woken_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable woken_;
  bool wake_ = false;
};

class ShardRunner final {
 public:
  explicit ShardRunner(const Clock& clock = SystemClock()) : shard_(&poller_, &clock) {}

  async::Shard* shard() { return &shard_; }

  // Runs the shard until `task` has ended. REQUIRES: the task does end.
  template <class T>
  T Await(async::Task<T> task) {
    std::optional<T> out;
    shard_.Post([&] { shard_.Spawn(Store(&poller_, std::move(task), &out)); });
    while (!out) shard_.RunOnce(std::chrono::milliseconds(100));
    return *std::move(out);
  }
  // Runs the shard until nothing spawned is left.
  void Drain() {
    do {
      shard_.RunOnce(std::chrono::milliseconds(1));
    } while (shard_.live_tasks() > 0);
  }

 private:
  template <class T>
  static async::Task<void> Store(WaitPoller* poller, async::Task<T> task, std::optional<T>* out) {
    out->emplace(co_await std::move(task));
    poller->Wake();  // the turn that ended it must not sleep
  }

  WaitPoller poller_;
  async::Shard shard_;
};

}  // namespace sheen
