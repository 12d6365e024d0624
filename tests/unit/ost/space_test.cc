#include "ost/space.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr uint64_t kLimit = 16 << 20;
constexpr uint64_t kMiB = 1 << 20;
constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

TEST(SpaceAccountTest, ReservesUpToTheLimitLessTheReserve) {
  SpaceAccount space(64 << 20);
  EXPECT_EQ(space.reserve(), kMiB);
  EXPECT_TRUE(space.Reserve(63 * kMiB));
  const Status full = space.Reserve(1);
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), Errc::kNoSpace);
  space.Unreserve(kMiB);
  EXPECT_TRUE(space.Reserve(kMiB));
  EXPECT_FALSE(space.Reserve(UINT64_MAX));
  EXPECT_EQ(space.used(), 63 * kMiB);
}

TEST(SpaceAccountTest, DiskSpaceCountsWhatWasReservedSinceItWasAsked) {
  SpaceAccount space(0);
  space.SetDisk({.bytes_total = 64 << 20, .bytes_free = 10 << 20});
  EXPECT_TRUE(space.Reserve(9 * kMiB));  // 1 MiB of the disk is kept
  EXPECT_FALSE(space.Reserve(1));
  space.SetDisk({.bytes_total = 64 << 20, .bytes_free = 5 << 20});
  EXPECT_TRUE(space.Reserve(4 * kMiB));
  EXPECT_FALSE(space.Reserve(1));
}

// Writes 1 MiB pieces of one object until the target is full; gives how many it took.
uint32_t Fill(OstWorld* world, const layout::ObjectId& id) {
  for (uint32_t i = 0; i < 1000; ++i) {
    const auto written = world->Write(id, i * kMiB, std::string(kMiB, 'a'));
    if (!written) {
      EXPECT_EQ(written.error().code(), Errc::kNoSpace) << written.error().ToString();
      return i;
    }
  }
  ADD_FAILURE() << "never full";
  return 0;
}

TEST(LimitedTargetTest, FullTargetRefusesWritesAndServesAgainAfterADestroy) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, std::string(4 * kMiB, 'a')));
  EXPECT_EQ(Fill(&world, ObjectNumber(2)), 11U);
  EXPECT_EQ(world.target->stop_reason(), "");
  // What is there can be overwritten, read and cut.
  EXPECT_TRUE(world.Write(ObjectNumber(1), kMiB, std::string(kMiB, 'b')));
  EXPECT_EQ(*world.Read(ObjectNumber(1), 0, 3), "aaa");
  ASSERT_TRUE(world.Destroy({ObjectNumber(1)}));
  EXPECT_EQ(Fill(&world, ObjectNumber(3)), 4U);
}

TEST(LimitedTargetTest, TruncateAndPunchGiveSpaceBack) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_EQ(Fill(&world, ObjectNumber(1)), 15U);
  ASSERT_TRUE(world.Truncate(ObjectNumber(1), 10 * kMiB));
  EXPECT_EQ(Fill(&world, ObjectNumber(2)), 5U);
  ASSERT_TRUE(world.Allocate(ObjectNumber(1), kPunch, 0, 3 * kMiB));
  EXPECT_EQ(Fill(&world, ObjectNumber(3)), 3U);
}

TEST(LimitedTargetTest, SparseObjectsCountWhatTheyHold) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_TRUE(world.Truncate(ObjectNumber(1), uint64_t{1} << 40, true));
  ASSERT_TRUE(world.Write(ObjectNumber(1), uint64_t{1} << 39, std::string(kMiB, 'a')));
  // Rewriting the same block again and again takes no more space.
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(world.Write(ObjectNumber(1), uint64_t{1} << 39, std::string(kMiB, 'b'))) << i;
  }
  EXPECT_EQ(Fill(&world, ObjectNumber(2)), 14U);
}

TEST(LimitedTargetTest, AllocatedSpaceIsKeptForItsObject) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_TRUE(world.Allocate(ObjectNumber(1), FALLOC_FL_KEEP_SIZE, 0, 10 * kMiB));
  EXPECT_EQ(world.Allocate(ObjectNumber(2), 0, 0, 10 * kMiB).error().code(), Errc::kNoSpace);
  EXPECT_EQ(Fill(&world, ObjectNumber(2)), 5U);
}

TEST(LimitedTargetTest, UseIsKnownAgainAfterARestart) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, std::string(4 * kMiB, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Write(ObjectNumber(2), 0, std::string(4 * kMiB, 'a')));
  world.Kill();
  world.Start();
  EXPECT_EQ(*world.Read(ObjectNumber(2), 0, 1), "a");  // its use counts it
  EXPECT_EQ(Fill(&world, ObjectNumber(3)), 7U);
  ASSERT_TRUE(world.Commit());
  world.PowerCut();
  world.Start();
  const auto space = world.Run(world.target->Space(world.io.get()));
  ASSERT_TRUE(space);
  EXPECT_EQ(space->bytes_free, kMiB);
}

TEST(LimitedTargetTest, SpaceShowsTheLimitOrTheDiskIfThatHasLess) {
  OstWorld world({.size_limit_bytes = kLimit});
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, std::string(kMiB, 'a')));
  const auto space = world.Run(world.target->Space(world.io.get()));
  ASSERT_TRUE(space);
  EXPECT_TRUE(space->limited);
  EXPECT_EQ(space->bytes_total, kLimit);
  EXPECT_EQ(space->bytes_free, kLimit - kMiB);
  EXPECT_EQ(space->bytes_available, kLimit - kMiB - kLimit / 64);

  OstWorld small({.size_limit_bytes = kLimit, .capacity_bytes = 8 << 20});
  small.Start();
  const auto less = small.Run(small.target->Space(small.io.get()));
  ASSERT_TRUE(less);
  EXPECT_LE(less->bytes_free, uint64_t{8 << 20});
}

TEST(UnlimitedTargetTest, FullDiskIsNoSpaceAndHealsAfterADestroy) {
  OstWorld world({.capacity_bytes = 8 << 20});
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, std::string(2 * kMiB, 'a')));
  const uint32_t taken = Fill(&world, ObjectNumber(2));
  EXPECT_GE(taken, 4U);
  EXPECT_EQ(world.target->stop_reason(), "");
  ASSERT_TRUE(world.Truncate(ObjectNumber(2), 0));
  ASSERT_TRUE(world.Destroy({ObjectNumber(1)}));
  world.Tick();
  EXPECT_GE(Fill(&world, ObjectNumber(3)), taken);
}

// The disk is full without our knowledge: part of a write may have landed.
TEST(UnlimitedTargetTest, FailedGrowthLeavesNoBytesBehindTheEnd) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(world.Write(ObjectNumber(1), 0, "abc"));
  world.io->TearNextWrite(2);
  EXPECT_EQ(world.Write(ObjectNumber(1), 3, "lost").error().code(), Errc::kNoSpace);
  EXPECT_EQ(world.target->stop_reason(), "");
  ASSERT_TRUE(world.Truncate(ObjectNumber(1), 7));
  EXPECT_EQ(world.Contents(ObjectNumber(1)), std::string("abc\0\0\0\0", 7));
}

}  // namespace
}  // namespace sheen::ost
