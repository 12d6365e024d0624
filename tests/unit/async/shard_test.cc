#include "async/shard.h"

#include <gtest/gtest.h>

#include "async/blocking_pool.h"
#include "async/sync.h"

namespace sheen::async {
namespace {

// Jumps the clock to the next timer instead of waiting.
class JumpPoller final : public Poller {
 public:
  explicit JumpPoller(ManualClock* clock) : clock_(clock) {}
  void Poll(Nanos max_wait) override { clock_->Advance(max_wait); }
  void Wake() override {}

 private:
  ManualClock* clock_;
};

class ShardTest : public ::testing::Test {
 protected:
  void RunUntilIdle() {
    for (int i = 0; i < 1000 && shard_.live_tasks() > 0; ++i) {
      shard_.RunOnce(std::chrono::milliseconds(1));
    }
  }

  ManualClock clock_;
  JumpPoller poller_{&clock_};
  Shard shard_{&poller_, &clock_};
};

Task<int> Add(Shard* shard, int a, int b) {
  co_await shard->Sleep(std::chrono::milliseconds(5));
  co_return a + b;
}

Task<void> SumAll(Shard* shard, std::vector<int>* out) {
  std::vector<Task<int>> tasks;
  for (int i = 0; i < 3; ++i) tasks.push_back(Add(shard, i, 10));
  *out = co_await WhenAll(std::move(tasks));
}

TEST_F(ShardTest, WhenAllRunsTogetherAndKeepsOrder) {
  std::vector<int> out;
  shard_.Post([&] { shard_.Spawn(SumAll(&shard_, &out)); });
  shard_.RunOnce(Nanos(0));
  RunUntilIdle();
  EXPECT_EQ(out, (std::vector<int>{10, 11, 12}));
  EXPECT_LT(clock_.Monotonic(), std::chrono::milliseconds(8));
}

Task<void> Hold(Shard* shard, Semaphore* semaphore, int id, std::vector<int>* order) {
  co_await semaphore->Acquire(1);
  order->push_back(id);
  co_await shard->Sleep(std::chrono::milliseconds(1));
  semaphore->Release(shard, 1);
}

TEST_F(ShardTest, SemaphoreServesInOrder) {
  Semaphore semaphore(1);
  std::vector<int> order;
  for (int i = 0; i < 4; ++i) shard_.Spawn(Hold(&shard_, &semaphore, i, &order));
  RunUntilIdle();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST_F(ShardTest, CancelledTimerNeverRuns) {
  bool ran = false;
  const TimerId id = shard_.AddTimer(shard_.Now() + Nanos(10), [&] { ran = true; });
  EXPECT_TRUE(shard_.CancelTimer(id));
  EXPECT_FALSE(shard_.CancelTimer(id));
  for (int i = 0; i < 5; ++i) shard_.RunOnce(Nanos(10));
  EXPECT_FALSE(ran);
}

Task<void> UsePool(BlockingPool* pool, int* out) {
  const int value = co_await pool->Run<int>([] { return 42; });
  *out = value;
}

TEST_F(ShardTest, PoolResultsComeBackToTheShard) {
  BlockingPool pool(2);
  int out = 0;
  shard_.Post([&] { shard_.Spawn(UsePool(&pool, &out)); });
  while (out == 0) shard_.RunOnce(Nanos(1000));
  EXPECT_EQ(out, 42);
}

}  // namespace
}  // namespace sheen::async
