// Blocks are fetched once however many ask, those who read in order find the next ones under way,
// and a failure is told with its reason.
#include "oss/lazy_loader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/ost_world.h"

namespace sheen::oss {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBytes = 64 * kMiB;

// S3, 30 ms away.
class FakeSource final : public BlockSource {
 public:
  async::Task<Result<io::Buffer>> Fetch(FetchOrder order) override {
    orders.push_back(order);
    const bool restore = order.urgency == Urgency::kRestore;
    if (restore) restoring += order.length;
    most_restoring = std::max(most_restoring, restoring);
    co_await async::Shard::Current()->Sleep(restore ? std::chrono::milliseconds(30) : demand_takes);
    if (restore) restoring -= order.length;
    while (stuck) co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(100));
    if (away) co_return Fail(Errc::kAgain, "503 SlowDown; given up after 9 attempts");
    if (broken) co_return Fail(Errc::kStale, "s3://b/k was changed since it was imported");
    if (failures > 0) {
      --failures;
      co_return Fail(Errc::kUnavailable, "no agent is there");
    }
    io::Buffer out = io::Buffer::Allocate(order.length);
    std::fill_n(out.data(), order.length, std::byte{'s'});
    co_return std::move(out);
  }
  void Hasten(uint64_t number) override { hastened.push_back(number); }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const FetchOrder& order : orders) sum += order.length;
    return sum;
  }
  std::vector<FetchOrder> orders;
  std::vector<uint64_t> hastened;
  Nanos demand_takes = std::chrono::milliseconds(30);
  uint64_t restoring = 0;  // bytes of restores under way
  uint64_t most_restoring = 0;
  bool broken = false;
  bool away = false;
  bool stuck = false;
  int failures = 0;  // of the next orders: nobody was there for too long
};

class LazyLoaderTest : public ::testing::Test {
 protected:
  LazyLoaderTest() {
    world.Start();
    loader.SetSource(&source);
    const ost::ObjectSource from{.link = 1, .key = "k", .etag = "e", .stripe_bytes = 8 * kMiB,
                                 .stripe_count = 1, .stripe = 0, .bytes = kBytes};
    EXPECT_TRUE(world.Run(world.target->Attach(world.io.get(), id, from, {})));
  }
  ~LazyLoaderTest() override {
    world.Run(Stop());
    world.Close();
  }
  async::Task<bool> Stop() {
    co_await loader.Stop();
    co_return true;
  }
  LazyLoader::Place Place() { return {world.target.get(), world.io.get(), {3, id}}; }
  Status Load(uint64_t offset, uint64_t length, bool change = false) {
    return world.Run(loader.Load(Place(), {offset, length}, change));
  }
  async::Task<bool> ReadTask(uint64_t offset, uint64_t length) {
    loader.NoteRead(Place(), {offset, length});
    const Status loaded = co_await loader.Load(Place(), {offset, length}, false);
    co_return loaded.has_value();
  }
  bool Read(uint64_t offset, uint64_t length) { return world.Run(ReadTask(offset, length)); }

  OstWorld world;
  FakeSource source;
  LazyLoader loader;
  const layout::ObjectId id = ObjectNumber(1);
};

TEST_F(LazyLoaderTest, ManyWhoWantABlockCostOneFetch) {
  std::vector<std::optional<Status>> done(16);
  for (auto& one : done) world.Start(loader.Load(Place(), {5 * kMiB + 7, 4096}, false), &one);
  for (auto& one : done) {
    world.Finish(&one);
    EXPECT_TRUE(*one);
  }
  ASSERT_EQ(source.orders.size(), 1U);
  EXPECT_EQ(source.orders[0].offset, 5 * kMiB);
  EXPECT_EQ(source.orders[0].length, kMiB);
  EXPECT_EQ(*world.Read(id, 5 * kMiB + 7, 3), "sss");
}

TEST_F(LazyLoaderTest, ASecondReadFetchesNothing) {
  ASSERT_TRUE(Load(0, kMiB));
  ASSERT_TRUE(Load(0, kMiB));
  EXPECT_EQ(source.orders.size(), 1U);
}

TEST_F(LazyLoaderTest, AChangeFetchesOnlyWhatItDoesNotCover) {
  ASSERT_TRUE(Load(kMiB, 4 * kMiB, true));
  EXPECT_TRUE(source.orders.empty());
  ASSERT_TRUE(Load(kMiB - 1, 2 * kMiB, true));
  ASSERT_EQ(source.orders.size(), 2U);  // the first and the last block
}

TEST_F(LazyLoaderTest, RunsAreFetchedTogetherButNotAcrossStripes) {
  ASSERT_TRUE(Load(6 * kMiB, 4 * kMiB));
  ASSERT_EQ(source.orders.size(), 2U);
  EXPECT_EQ(source.orders[0].length, 2 * kMiB);
  EXPECT_EQ(source.orders[1].offset, 8 * kMiB);
}

TEST_F(LazyLoaderTest, WhoReadsInOrderIsReadAheadAndEachBlockComesOnce) {
  for (uint64_t at = 0; at < kBytes; at += kMiB / 2) ASSERT_TRUE(Read(at, kMiB / 2));
  EXPECT_EQ(source.bytes(), kBytes);
  const auto ahead = std::ranges::count(source.orders, Urgency::kAhead, &FetchOrder::urgency);
  EXPECT_GT(ahead * 10, static_cast<ptrdiff_t>(source.orders.size()) * 8);
  // 64 blocks of 30 ms one after the other would take longer.
  EXPECT_LT(source.orders.size(), 32U);
}

TEST_F(LazyLoaderTest, WhoJumpsPaysForNothingElse) {
  for (const uint64_t block : {40, 3, 57, 20, 33, 9, 61, 14}) {
    ASSERT_TRUE(Read(block * kMiB + 1000, 4096));
  }
  EXPECT_EQ(source.bytes(), 8 * kMiB);
}

TEST_F(LazyLoaderTest, AFailureIsAnIoErrorWithItsReasonAndIsNotKept) {
  source.broken = true;
  const Status failed = Load(0, 100);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), Errc::kIo);
  EXPECT_NE(failed.error().message().find("was changed"), std::string::npos);
  ASSERT_EQ(loader.Failures().size(), 1U);
  EXPECT_EQ(loader.Failures()[0].object, "k");
  source.broken = false;
  EXPECT_TRUE(Load(0, 100));
}

TEST_F(LazyLoaderTest, ARestoreBringsAllThatIsAbsentOnceAndAskedForAgainNothing) {
  ASSERT_TRUE(Load(5 * kMiB, kMiB));
  const auto restored = world.Run(loader.Restore(Place(), {}));
  ASSERT_TRUE(restored) << restored.error().ToString();
  EXPECT_TRUE(restored->complete);
  EXPECT_EQ(restored->bytes, kBytes - kMiB);
  EXPECT_EQ(source.bytes(), kBytes);
  EXPECT_EQ(std::ranges::count(source.orders, Urgency::kRestore, &FetchOrder::urgency),
            static_cast<ptrdiff_t>(source.orders.size()) - 1);
  const auto again = world.Run(loader.Restore(Place(), {}));
  ASSERT_TRUE(again);
  EXPECT_TRUE(again->complete);
  EXPECT_EQ(again->bytes, 0U);
}

TEST_F(LazyLoaderTest, WhatARestoreHasCompletedSurvivesPowerLoss) {
  // Few enough bytes that nothing else makes the target commit.
  const LazyLoader::Place small{world.target.get(), world.io.get(), {3, ObjectNumber(2)}};
  const ost::ObjectSource from{.link = 1, .key = "small", .etag = "e", .stripe_bytes = 8 * kMiB,
                               .stripe_count = 1, .stripe = 0, .bytes = 3 * kMiB};
  ASSERT_TRUE(world.Run(world.target->Attach(world.io.get(), small.key.id, from, {})));
  const auto restored = world.Run(loader.Restore(small, {}));
  ASSERT_TRUE(restored) << restored.error().ToString();
  ASSERT_TRUE(restored->complete);
  world.PowerCut();
  world.Start();
  const auto left = world.Run(world.target->GetResidency(world.io.get(), small.key.id));
  ASSERT_TRUE(left) << left.error().ToString();
  ASSERT_TRUE(left->has_value());
  EXPECT_EQ((*left)->CountBytes(ost::BlockState::kAbsent), 0U);
}

TEST_F(LazyLoaderTest, ADemandHastensTheFlightThatItMeetsAndNoOther) {
  std::optional<Result<LazyLoader::Restored>> restored;
  std::optional<Status> first;
  std::optional<Status> second;
  world.Start(loader.Restore(Place(), {}), &restored);
  world.Start(loader.Load(Place(), {5 * kMiB, 100}, false), &first);
  world.Start(loader.Load(Place(), {6 * kMiB, 100}, false), &second);
  world.Finish(&first);
  world.Finish(&second);
  world.Finish(&restored);
  EXPECT_TRUE(*first);
  EXPECT_TRUE(*second);
  // Of four blocks each.
  ASSERT_EQ(source.hastened.size(), 1U);
  EXPECT_EQ(source.hastened[0], source.orders.at(1).id);
  EXPECT_EQ(source.orders[1].offset, 4 * kMiB);
  EXPECT_EQ(source.bytes(), kBytes);
}

TEST_F(LazyLoaderTest, RestoresHaveLessRoomAsLongAsSomebodyWaitsHoweverLong) {
  constexpr uint32_t kObjects = 6;
  std::vector<std::optional<Result<LazyLoader::Restored>>> restored(kObjects);
  source.demand_takes = std::chrono::seconds(1);
  std::optional<Status> read;
  world.Start(loader.Load(Place(), {0, 4096}, false), &read);
  for (uint32_t i = 0; i < kObjects; ++i) {
    const ost::ObjectSource from{.link = 1, .key = "k" + std::to_string(i), .etag = "e",
                                 .stripe_bytes = 8 * kMiB, .stripe_count = 1, .stripe = 0,
                                 .bytes = 512 * kMiB};
    ASSERT_TRUE(world.Run(world.target->Attach(world.io.get(), ObjectNumber(100 + i), from, {})));
    world.Start(loader.Restore({world.target.get(), world.io.get(), {3, ObjectNumber(100 + i)}},
                               {.until = world.shard.Now() + std::chrono::milliseconds(600)}),
                &restored[i]);
  }
  for (auto& one : restored) world.Finish(&one);
  EXPECT_FALSE(read.has_value());
  EXPECT_GT(source.most_restoring, 0U);
  EXPECT_LE(source.most_restoring, 16 * kMiB);
  world.Finish(&read);
  EXPECT_TRUE(*read);
  loader.BeginStop();
}

TEST_F(LazyLoaderTest, ARestoreStopsAtItsLimitAndGoesOnWhereItWas) {
  const auto some = world.Run(loader.Restore(Place(), {.bytes = 8 * kMiB}));
  ASSERT_TRUE(some);
  EXPECT_FALSE(some->complete);
  EXPECT_GE(some->bytes, 8 * kMiB);
  EXPECT_LE(some->bytes, 24 * kMiB);
  const auto rest = world.Run(loader.Restore(Place(), {}));
  ASSERT_TRUE(rest);
  EXPECT_EQ(some->bytes + rest->bytes, kBytes);
}

TEST_F(LazyLoaderTest, ManyRestoresShareTheirRoomAndAllEnd) {
  constexpr uint32_t kObjects = 20;
  const auto place = [this](uint32_t i) {
    return LazyLoader::Place{world.target.get(), world.io.get(), {3, ObjectNumber(100 + i)}};
  };
  for (uint32_t i = 0; i < kObjects; ++i) {
    const ost::ObjectSource from{.link = 1, .key = "k" + std::to_string(i), .etag = "e",
                                 .stripe_bytes = 8 * kMiB, .stripe_count = 1, .stripe = 0,
                                 .bytes = (1 + i % 7) * 4 * kMiB + i};
    ASSERT_TRUE(world.Run(world.target->Attach(world.io.get(), ObjectNumber(100 + i), from, {})));
  }
  std::vector<std::optional<Result<LazyLoader::Restored>>> done(kObjects);
  for (uint32_t i = 0; i < kObjects; ++i) {
    world.Start(loader.Restore(place(i), {}), &done[i]);
  }
  for (auto& one : done) {
    world.Finish(&one);
    ASSERT_TRUE(*one);
    EXPECT_TRUE((*one)->complete);
  }
}

TEST_F(LazyLoaderTest, ARestoreAnswersInItsTimeWhateverS3Does) {
  source.stuck = true;
  const auto ask = [this] {
    const Nanos until = world.clock.Monotonic() + std::chrono::seconds(5);
    const auto restored = world.Run(loader.Restore(Place(), {.until = until}));
    EXPECT_LE(world.clock.Monotonic(), until + std::chrono::milliseconds(100));
    return restored;
  };
  for (int i = 0; i < 20; ++i) {
    const auto restored = ask();
    ASSERT_TRUE(restored);
    EXPECT_FALSE(restored->complete);
  }
  // One job of four runs, however often it is asked for.
  EXPECT_EQ(source.orders.size(), LazyLoader::kRestoreFlightsPerObject);
  source.stuck = false;
  const auto restored = ask();
  ASSERT_TRUE(restored);
  EXPECT_TRUE(restored->complete);
  EXPECT_EQ(restored->bytes, kBytes);
  EXPECT_EQ(source.bytes(), kBytes);
}

TEST_F(LazyLoaderTest, ARestoreThatNobodyAsksForAnyMoreEnds) {
  loader.SetRestoreRate(4 * kMiB);
  const Nanos until = world.clock.Monotonic() + std::chrono::seconds(3);
  ASSERT_TRUE(world.Run(loader.Restore(Place(), {.until = until})));
  async::RunFor(&world.shard, std::chrono::seconds(60));
  EXPECT_LE(source.bytes(), 32 * kMiB);
}

TEST_F(LazyLoaderTest, WhatIsDroppedIsAskedForFirst) {
  EXPECT_TRUE(world.Run(loader.CheckSource(Place())));  // nothing is here
  EXPECT_TRUE(source.orders.empty());
  ASSERT_TRUE(Load(3 * kMiB, kMiB));
  EXPECT_TRUE(world.Run(loader.CheckSource(Place())));
  EXPECT_EQ(source.orders.back().length, 1U);
  EXPECT_EQ(source.orders.back().offset, 3 * kMiB);
  source.broken = true;
  EXPECT_EQ(world.Run(loader.CheckSource(Place())).error().code(), Errc::kPerm);
  source.broken = false;
  source.away = true;
  EXPECT_EQ(world.Run(loader.CheckSource(Place())).error().code(), Errc::kIo);
}

TEST_F(LazyLoaderTest, AnS3ThatDoesNotAnswerIsAnErrorForReadersAndAWaitForChanges) {
  source.away = true;
  const Status read = Load(0, 100);
  EXPECT_FALSE(read.has_value());
  EXPECT_EQ(read.error().code(), Errc::kIo);
  EXPECT_NE(read.error().message().find("SlowDown"), std::string::npos);
  EXPECT_EQ(Load(0, 100, true).error().code(), Errc::kUnavailable);
}

TEST_F(LazyLoaderTest, RestoresKeepToTheirRate) {
  loader.SetRestoreRate(8 * kMiB);
  const Nanos began = world.clock.Monotonic();
  ASSERT_TRUE(world.Run(loader.Restore(Place(), {})));
  EXPECT_GE(world.clock.Monotonic() - began, std::chrono::milliseconds(7500));
}

TEST_F(LazyLoaderTest, ARestoreThatFailsSaysWhy) {
  source.broken = true;
  const auto failed = world.Run(loader.Restore(Place(), {}));
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), Errc::kIo);
  EXPECT_NE(failed.error().message().find("was changed"), std::string::npos);
}

TEST_F(LazyLoaderTest, WhoJoinedAFlightThatRanOutOfTimeTriesItself) {
  source.failures = 1;
  std::optional<Status> first;
  std::optional<Status> second;
  world.Start(loader.Load(Place(), {0, 100}, false), &first);
  world.Start(loader.Load(Place(), {0, 100}, false), &second);
  world.Finish(&first);
  world.Finish(&second);
  EXPECT_EQ(first->error().code(), Errc::kIo);
  EXPECT_TRUE(*second);
  EXPECT_EQ(source.orders.size(), 2U);
}

}  // namespace
}  // namespace sheen::oss
