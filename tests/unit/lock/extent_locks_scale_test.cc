// What the operations cost with many locks, in tree nodes looked at: counted, not timed.
#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "unit/lock/extent_locks_fixture.h"

namespace sheen::lock {
namespace {

constexpr uint64_t kCount = 10'000;
constexpr uint64_t kRecordBytes = 47'008;

// A search in one tree of 10,000 looks at no more than two nodes a level, 20 levels; an operation
// does some searches in up to seven trees on both sides, most of them empty.
constexpr uint64_t kStepsMax = 400;

class ExtentLocksScaleTest : public ExtentLocksFixture {
 protected:
  static Extent Record(uint64_t index) {
    return {index * kRecordBytes, (index + 1) * kRecordBytes};
  }
  // The most that one call cost since the last look.
  void Count() {
    const uint64_t steps = locks_.steps();
    most_ = std::max(most_, steps - last_);
    last_ = steps;
  }
  uint64_t most_ = 0;
  uint64_t last_ = 0;
};

TEST_F(ExtentLocksScaleTest, InterleavedWritersCostLogarithmically) {
  for (uint64_t i = 0; i < kCount; ++i) {
    // The first, alone, would get everything; all others are as asked since there are two writers.
    const auto result =
        i == 0 ? AskExactly(0, i, Mode::kPw, Record(i)) : Ask(i % 16, i, Mode::kPw, Record(i));
    ASSERT_TRUE(result.grant) << i;
    ASSERT_EQ(result.grant->extent, Record(i));
    Count();
  }
  // Everybody's record is wanted by a neighbour, in an order that is not the file's.
  for (uint64_t i = 0; i < kCount; ++i) {
    const uint64_t index = i * 7919 % kCount;
    const auto result = Ask((index + 1) % 16, kCount + index, Mode::kPw, Record(index));
    ASSERT_EQ(Names(result.changes.callbacks), (List{{index % 16, index}}));
    Count();
  }
  EXPECT_EQ(locks_.waiting_count(), kCount);
  for (uint64_t i = 0; i < kCount; ++i) {
    const uint64_t index = i * 104'729 % kCount;
    ASSERT_EQ(Names(Cancel(index % 16, index).granted), (List{{(index + 1) % 16, kCount + index}}));
    Count();
  }
  EXPECT_EQ(locks_.granted_count(), kCount);
  EXPECT_LE(most_, kStepsMax);
  RecordProperty("steps_max", std::to_string(most_));
}

TEST_F(ExtentLocksScaleTest, AnOwnerOfManyLocksAsksPastThemCheaply) {
  for (uint64_t i = 0; i < kCount; ++i) AskExactly(kA, i, Mode::kPw, Record(i));
  AskExactly(kB, 1, Mode::kPw, Record(kCount));
  Count();
  most_ = 0;
  const auto result = Ask(kA, kCount, Mode::kPr, Extent::Whole());
  EXPECT_EQ(Names(result.changes.callbacks), (List{{kB, 1}}));
  Count();
  Cancel(kB, 1);
  Count();
  EXPECT_LE(most_, kStepsMax);
}

TEST_F(ExtentLocksScaleTest, AWriterAmongManyReadersIsLookedAtOncePerReader) {
  for (uint64_t owner = 1; owner <= kCount; ++owner) Ask(owner, 1, Mode::kPr, {0, 4096});
  EXPECT_EQ(Ask(0, 1, Mode::kPw, {0, 1}).changes.callbacks.size(), kCount);
  Count();
  most_ = 0;
  for (uint64_t owner = 1; owner < kCount; ++owner) {
    ASSERT_TRUE(Cancel(owner, 1).granted.empty());
    Count();
  }
  EXPECT_EQ(Names(Cancel(kCount, 1).granted), (List{{0, 1}}));
  EXPECT_LE(most_, kStepsMax);
}

TEST_F(ExtentLocksScaleTest, AGlimpseDoesNotWalkAllLocks) {
  for (uint64_t i = 0; i < kCount; ++i) AskExactly(i % 16, i, Mode::kPw, Record(i));
  Count();
  most_ = 0;
  EXPECT_EQ(locks_.HighestWriters(0, 1)[0].name.id, kCount - 1);
  EXPECT_TRUE(locks_.HighestWriters(kCount * kRecordBytes, 1).empty());
  Count();
  EXPECT_LE(most_, kStepsMax);
}

}  // namespace
}  // namespace sheen::lock
