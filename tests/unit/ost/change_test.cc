#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
constexpr uint64_t kBlock = 4096;

class ChangeTest : public ::testing::Test {
 protected:
  void SetUp() override { world.Start(); }
  OstWorld world;
  const layout::ObjectId id = ObjectNumber(1);
};

TEST_F(ChangeTest, SizesAroundATruncationAreExact) {
  for (const bool committed : {false, true}) {
    for (const uint64_t size : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 8191UL, 8192UL, 8193UL, 9000UL}) {
      SCOPED_TRACE(size);
      const layout::ObjectId object = ObjectNumber(static_cast<uint32_t>(size) + 10);
      ASSERT_TRUE(world.Write(object, 0, std::string(2 * kBlock, 'a')));
      if (committed) ASSERT_TRUE(world.Commit());
      const auto cut = world.Truncate(object, size);
      ASSERT_TRUE(cut) << cut.error().ToString();
      EXPECT_EQ(cut->attr.size, size);
      std::string expected(std::min(size, 2 * kBlock), 'a');
      expected.resize(size, '\0');
      EXPECT_EQ(world.Contents(object), expected);
      ASSERT_TRUE(world.Truncate(object, 2 * kBlock));  // what was cut off is zeros
      expected.resize(2 * kBlock, '\0');
      EXPECT_EQ(world.Contents(object), expected);
    }
  }
}

TEST_F(ChangeTest, TruncateOfAnAbsentObjectMakesItOnlyWhenAsked) {
  const auto left = world.Truncate(id, 100);
  ASSERT_TRUE(left);
  EXPECT_FALSE(left->attr.exists);
  EXPECT_EQ(left->transno, 0U);
  EXPECT_FALSE(world.GetAttr(id)->exists);
  const auto made = world.Truncate(id, 100, true);
  ASSERT_TRUE(made);
  EXPECT_TRUE(made->attr.exists);
  EXPECT_EQ(world.Contents(id), std::string(100, '\0'));
}

TEST_F(ChangeTest, CuttingCommittedBytesIsDurableAtOnceAndGrowthIsNot) {
  ASSERT_TRUE(world.Write(id, 0, std::string(100, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Truncate(id, 10));
  ASSERT_TRUE(world.Write(id, 10, "uncommitted"));
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(10, 'a'));
}

TEST_F(ChangeTest, CuttingUncommittedBytesNeedsNoSync) {
  ASSERT_TRUE(world.Write(id, 0, std::string(100, 'a')));
  const size_t unsynced = world.disk.unsynced_batches();
  ASSERT_GT(unsynced, 0U);
  ASSERT_TRUE(world.Truncate(id, 10));
  EXPECT_EQ(world.disk.unsynced_batches(), unsynced);
  ASSERT_TRUE(world.Commit());
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(10, 'a'));
}

TEST_F(ChangeTest, OneCutAfterAnotherIsRedoneWhole) {
  ASSERT_TRUE(world.Write(id, 0, std::string(4 * kBlock, 'a')));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Allocate(id, kPunch, 0, kBlock));
  ASSERT_TRUE(world.Allocate(id, kPunch, 2 * kBlock, kBlock));
  ASSERT_TRUE(world.Truncate(id, 3 * kBlock + 5));
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Contents(id), std::string(kBlock, '\0') + std::string(kBlock, 'a') +
                                    std::string(kBlock, '\0') + std::string(5, 'a'));
}

TEST_F(ChangeTest, AllocateGrowsUnlessTheSizeIsKept) {
  ASSERT_TRUE(world.Allocate(id, FALLOC_FL_KEEP_SIZE, 0, 3 * kBlock));
  EXPECT_EQ(world.GetAttr(id)->size, 0U);
  EXPECT_EQ(world.GetAttr(id)->allocated_bytes, 3 * kBlock);
  ASSERT_TRUE(world.Allocate(id, 0, 0, 2 * kBlock));
  EXPECT_EQ(world.GetAttr(id)->size, 2 * kBlock);
}

TEST_F(ChangeTest, ZeroRangeZeroesAndMayGrow) {
  ASSERT_TRUE(world.Write(id, 0, std::string(100, 'a')));
  ASSERT_TRUE(world.Allocate(id, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 90, 20));
  EXPECT_EQ(world.Contents(id), std::string(90, 'a') + std::string(10, '\0'));
  ASSERT_TRUE(world.Allocate(id, FALLOC_FL_ZERO_RANGE, 80, 40));
  EXPECT_EQ(world.Contents(id), std::string(80, 'a') + std::string(40, '\0'));
}

TEST_F(ChangeTest, PunchOfAnAbsentObjectIsAHoleAlready) {
  const auto punched = world.Allocate(id, kPunch, 0, kBlock);
  ASSERT_TRUE(punched);
  EXPECT_FALSE(punched->attr.exists);
}

TEST_F(ChangeTest, OddModesAndRangesAreRefused) {
  EXPECT_EQ(world.Allocate(id, FALLOC_FL_COLLAPSE_RANGE, 0, 1).error().code(), Errc::kNotSupported);
  EXPECT_EQ(world.Allocate(id, FALLOC_FL_PUNCH_HOLE, 0, 1).error().code(), Errc::kNotSupported);
  EXPECT_EQ(world.Allocate(id, 0, 0, 0).error().code(), Errc::kInvalid);
  EXPECT_EQ(world.Allocate(id, 0, INT64_MAX, 2).error().code(), Errc::kFileTooBig);
  EXPECT_EQ(world.Truncate(id, UINT64_MAX, true).error().code(), Errc::kFileTooBig);
  EXPECT_FALSE(world.GetAttr(id)->exists);
}

TEST_F(ChangeTest, SeekFindsDataAndHoles) {
  const auto seek = [&](uint64_t offset, bool hole) {
    const auto result = world.Run(world.target->Seek(world.io.get(), id, offset, hole));
    EXPECT_TRUE(result);
    return result && result->found ? static_cast<int64_t>(result->offset) : -1;
  };
  EXPECT_EQ(seek(0, false), -1);  // absent: a hole
  EXPECT_EQ(seek(7, true), 7);
  ASSERT_TRUE(world.Write(id, 2 * kBlock, std::string(kBlock, 'a')));
  ASSERT_TRUE(world.Truncate(id, 4 * kBlock));
  EXPECT_EQ(seek(0, false), static_cast<int64_t>(2 * kBlock));
  EXPECT_EQ(seek(2 * kBlock + 5, false), static_cast<int64_t>(2 * kBlock + 5));
  EXPECT_EQ(seek(2 * kBlock, true), static_cast<int64_t>(3 * kBlock));
  EXPECT_EQ(seek(3 * kBlock, false), -1);
  EXPECT_EQ(seek(0, true), 0);
}

}  // namespace
}  // namespace sheen::ost
