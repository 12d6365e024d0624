#include "async/rw_lock.h"

#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <thread>

#include "async/sim_poller.h"

namespace sheen::async {
namespace {

// A shard on a thread of its own; sleeps until woken.
class Sleeper final : public Poller {
 public:
  void Poll(Nanos max_wait) override {
    std::unique_lock lock(mutex_);
    wake_.wait_for(lock, max_wait, [this] { return woken_; });
    woken_ = false;
  }
  void Wake() override {
    const std::lock_guard lock(mutex_);
    woken_ = true;
    wake_.notify_one();
  }

 private:
  std::mutex mutex_;
  std::condition_variable wake_;
  bool woken_ = false;
};

struct Log {
  AsyncRwLock lock;
  std::vector<std::string> events;
};

Task<void> Hold(Shard* shard, Log* log, std::string name, bool exclusive, Nanos hold) {
  const RwGuard guard = co_await (exclusive ? log->lock.Exclusive() : log->lock.Shared());
  log->events.push_back("+" + name);
  co_await shard->Sleep(hold);
  log->events.push_back("-" + name);
}

TEST(AsyncRwLockTest, ReadersShareAndAWriterIsNotOvertaken) {
  ManualClock clock;
  SimPoller poller(&clock);
  Shard shard(&poller, &clock);
  Log log;
  using std::chrono::milliseconds;
  shard.Post([&] {
    shard.Spawn(Hold(&shard, &log, "a", false, milliseconds(3)));
    shard.Spawn(Hold(&shard, &log, "b", false, milliseconds(2)));
    shard.Spawn(Hold(&shard, &log, "W", true, milliseconds(1)));
    shard.Spawn(Hold(&shard, &log, "c", false, milliseconds(1)));  // behind the writer
  });
  RunFor(&shard, milliseconds(100));
  EXPECT_EQ(log.events, (std::vector<std::string>{"+a", "+b", "-b", "-a", "+W", "-W", "+c", "-c"}));
}

TEST(AsyncRwLockTest, ReleasedGuardHoldsNothing) {
  AsyncRwLock lock;
  RwGuard guard;
  EXPECT_FALSE(guard.held());
  auto awaiter = lock.Exclusive();
  EXPECT_FALSE(awaiter.await_suspend({}));
  guard = awaiter.await_resume();
  EXPECT_TRUE(guard.exclusive());
  RwGuard moved = std::move(guard);
  EXPECT_FALSE(guard.held());  // NOLINT: what a moved-from guard holds is the claim
  moved.Release();
  moved.Release();
  EXPECT_FALSE(lock.Shared().await_suspend({}));
  RwGuard(&lock, false).Release();
}

struct Shared {
  AsyncRwLock lock;
  std::atomic<int> readers{0};
  std::atomic<int> writers{0};
  std::atomic<int> violations{0};
  std::atomic<int> ended{0};
  int plain = 0;  // written under the exclusive hold only: a race detector sees a broken lock
};

Task<void> Contend(Shard* shard, Shared* shared, int rounds, int seed) {
  for (int i = 0; i < rounds; ++i) {
    if ((i + seed) % 3 == 0) {
      const RwGuard guard = co_await shared->lock.Exclusive();
      if (shared->writers.fetch_add(1) != 0 || shared->readers.load() != 0) ++shared->violations;
      if (Shard::Current() != shard) ++shared->violations;
      ++shared->plain;
      co_await shard->Yield();
      shared->writers.fetch_sub(1);
    } else {
      const RwGuard guard = co_await shared->lock.Shared();
      shared->readers.fetch_add(1);
      if (shared->writers.load() != 0) ++shared->violations;
      if (Shard::Current() != shard) ++shared->violations;
      co_await shard->Yield();
      shared->readers.fetch_sub(1);
    }
  }
  ++shared->ended;
}

TEST(AsyncRwLockTest, ExcludesAcrossShardsAndResumesOnTheOwnShard) {
  constexpr int kShards = 3;
  constexpr int kTasks = 4;
  Shared shared;
  std::vector<std::unique_ptr<Sleeper>> pollers;
  std::vector<std::unique_ptr<Shard>> shards;
  for (int i = 0; i < kShards; ++i) {
    pollers.push_back(std::make_unique<Sleeper>());
    shards.push_back(std::make_unique<Shard>(pollers.back().get(), &SystemClock()));
  }
  std::vector<std::thread> threads;
  for (auto& shard : shards) {
    Shard* const own = shard.get();
    own->Post([own, &shared] {
      for (int t = 0; t < kTasks; ++t) own->Spawn(Contend(own, &shared, 300, t));
    });
    threads.emplace_back([own, &shared] {
      while (shared.ended.load() < kShards * kTasks) own->RunOnce(std::chrono::milliseconds(5));
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(shared.violations.load(), 0);
  EXPECT_EQ(shared.plain, kShards * kTasks * 100);
}

}  // namespace
}  // namespace sheen::async
