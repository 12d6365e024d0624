#include "client/rpc_limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace sheen::client {
namespace {

using std::chrono::milliseconds;

// Jumps the clock to the next timer instead of waiting.
class JumpPoller final : public async::Poller {
 public:
  explicit JumpPoller(ManualClock* clock) : clock_(clock) {}
  void Poll(Nanos max_wait) override { clock_->Advance(max_wait); }
  void Wake() override {}

 private:
  ManualClock* clock_;
};

// What a request does: takes a place, keeps it for a while, and notes the order.
struct Line {
  RpcLimit* limit;
  async::Shard* shard;
  std::vector<int> began;
  uint32_t most_at_once = 0;
  uint32_t at_once = 0;
};

async::Task<void> Request(Line* line, int id, Nanos takes) {
  if (!line->limit->TryTake()) co_await line->limit->Wait(line->shard);
  const RpcPlace place(line->limit, &line->shard->clock());
  line->began.push_back(id);
  line->most_at_once = std::max(line->most_at_once, ++line->at_once);
  co_await line->shard->Sleep(takes);
  --line->at_once;
}

class RpcLimitTest : public ::testing::Test {
 protected:
  void Start(int count, Nanos takes) {
    shard_.Post([this, count, takes] {
      for (int id = 0; id < count; ++id) shard_.Spawn(Request(&line_, id, takes));
    });
    shard_.RunOnce(Nanos(0));
  }
  void RunUntilIdle() {
    for (int i = 0; i < 100'000 && shard_.live_tasks() > 0; ++i) shard_.RunOnce(milliseconds(1));
    EXPECT_EQ(shard_.live_tasks(), 0u);
    EXPECT_EQ(limit_.taken(), 0u) << "a place was not given back";
  }

  ManualClock clock_;
  JumpPoller poller_{&clock_};
  async::Shard shard_{&poller_, &clock_};
  RpcLimit limit_;
  Line line_{&limit_, &shard_, {}};
};

TEST_F(RpcLimitTest, NoMoreThanItSaysAreUnderWayAndTheFirstComesFirst) {
  limit_.SetMost(3, shard_.Now());
  Start(20, milliseconds(5));
  EXPECT_EQ(line_.began, (std::vector<int>{0, 1, 2}));
  RunUntilIdle();
  EXPECT_EQ(line_.most_at_once, 3u);
  std::vector<int> order(20);
  for (int i = 0; i < 20; ++i) order[static_cast<size_t>(i)] = i;
  EXPECT_EQ(line_.began, order);
}

TEST_F(RpcLimitTest, ByDefaultHundredsGoAtOnce) {
  Start(RpcLimit::kDefault + 1, milliseconds(5));
  EXPECT_EQ(line_.began.size(), size_t{RpcLimit::kDefault});
  RunUntilIdle();
}

TEST_F(RpcLimitTest, AHigherLimitLetsInWhoWaits) {
  limit_.SetMost(1, shard_.Now());
  Start(5, milliseconds(50));
  EXPECT_EQ(line_.began.size(), 1u);
  shard_.Post([this] { limit_.SetMost(4, shard_.Now()); });
  shard_.RunOnce(Nanos(0));
  shard_.RunOnce(Nanos(0));
  EXPECT_EQ(line_.began.size(), 4u);
  RunUntilIdle();
}

TEST_F(RpcLimitTest, ALowerOneHoldsWhenWhatIsUnderWayHasEnded) {
  limit_.SetMost(4, shard_.Now());
  Start(12, milliseconds(5));
  limit_.SetMost(2, shard_.Now());
  EXPECT_EQ(line_.began.size(), 4u);
  line_.most_at_once = 0;
  RunUntilIdle();
  EXPECT_EQ(line_.most_at_once, 2u);
  EXPECT_EQ(line_.began.size(), 12u);
}

// Nothing ends while they wait: the one under way may be waiting for them.
TEST_F(RpcLimitTest, WhoWaitsWhileNothingMovesGoesOn) {
  limit_.SetMost(1, shard_.Now());
  Start(3, std::chrono::seconds(60));
  EXPECT_EQ(line_.began.size(), 1u);
  const Nanos began = shard_.Now();
  while (line_.began.size() < 3) shard_.RunOnce(milliseconds(10));
  EXPECT_GE(shard_.Now() - began, RpcLimit::kStallMax);
  EXPECT_LT(shard_.Now() - began, 2 * RpcLimit::kStallMax);
  EXPECT_EQ(limit_.stalled(), 2u);
  RunUntilIdle();
}

// Slow, but moving: nobody goes on without a place.
TEST_F(RpcLimitTest, ASlowTargetIsNoStandstill) {
  limit_.SetMost(1, shard_.Now());
  Start(6, RpcLimit::kStallMax * 9 / 10);
  RunUntilIdle();
  EXPECT_EQ(line_.most_at_once, 1u);
  EXPECT_EQ(limit_.stalled(), 0u);
}

// Several shards, in threads of their own.
class SleepPoller final : public async::Poller {
 public:
  void Poll(Nanos max_wait) override {
    if (max_wait > Nanos(0)) std::this_thread::sleep_for(std::min<Nanos>(max_wait, kStep));
  }
  void Wake() override {}

 private:
  static constexpr Nanos kStep = std::chrono::microseconds(50);
};

struct Crowd {
  RpcLimit limit;
  std::atomic<uint32_t> at_once{0};
  std::atomic<uint32_t> most_at_once{0};
  std::atomic<uint32_t> ended{0};
};

async::Task<void> Member(Crowd* crowd, async::Shard* shard) {
  for (int round = 0; round < 200; ++round) {
    if (!crowd->limit.TryTake()) co_await crowd->limit.Wait(shard);
    const RpcPlace place(&crowd->limit, &shard->clock());
    const uint32_t now = crowd->at_once.fetch_add(1) + 1;
    uint32_t most = crowd->most_at_once.load();
    while (most < now && !crowd->most_at_once.compare_exchange_weak(most, now)) {
    }
    co_await shard->Yield();
    crowd->at_once.fetch_sub(1);
  }
  crowd->ended.fetch_add(1);
}

TEST(RpcLimitThreadsTest, TheLimitIsOfAllShardsTogether) {
  constexpr uint32_t kShards = 4;
  constexpr uint32_t kMembers = 8;
  Crowd crowd;
  crowd.limit.SetMost(5, SystemClock().Monotonic());
  std::vector<std::unique_ptr<SleepPoller>> pollers;
  std::vector<std::unique_ptr<async::Shard>> shards;
  for (uint32_t i = 0; i < kShards; ++i) {
    pollers.push_back(std::make_unique<SleepPoller>());
    shards.push_back(std::make_unique<async::Shard>(pollers.back().get(), &SystemClock(), i));
  }
  std::vector<std::thread> threads;
  for (const auto& shard : shards) {
    threads.emplace_back([&crowd, at = shard.get()] {
      at->Post([&crowd, at] {
        for (uint32_t i = 0; i < kMembers; ++i) at->Spawn(Member(&crowd, at));
      });
      // All serve until the last has ended: who waits is woken by others.
      while (crowd.ended.load() < kShards * kMembers) at->RunOnce(milliseconds(1));
    });
  }
  for (std::thread& thread : threads) thread.join();
  // A machine may stand still for a second.
  EXPECT_LE(crowd.most_at_once.load(), 5u + crowd.limit.stalled());
  EXPECT_EQ(crowd.limit.taken(), 0u);
}

}  // namespace
}  // namespace sheen::client
