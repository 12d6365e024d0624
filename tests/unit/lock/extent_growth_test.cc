// How much more than asked is granted: one claim a rule of extent_growth.cc.
#include <gtest/gtest.h>

#include "unit/lock/extent_locks_fixture.h"

namespace sheen::lock {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class ExtentGrowthTest : public ExtentLocksFixture {
 protected:
  Extent Granted(uint64_t owner, uint64_t id, Mode mode, Extent extent) {
    const ExtentEnqueued result = Ask(owner, id, mode, extent);
    EXPECT_TRUE(result.grant) << "it waits";
    return result.grant ? result.grant->extent : Extent{};
  }
};

TEST_F(ExtentGrowthTest, ALoneUserGetsTheWholeObject) {
  EXPECT_EQ(Granted(kA, 1, Mode::kPw, {10, 20}), Extent::Whole());
  EXPECT_EQ(Granted(kA, 2, Mode::kPr, {10, 20}), Extent::Whole());
}

TEST_F(ExtentGrowthTest, ReadersEachGetTheWholeObject) {
  for (const uint64_t owner : {kA, kB, kC})
    EXPECT_EQ(Granted(owner, 1, Mode::kPr, {10, 20}), Extent::Whole());
}

TEST_F(ExtentGrowthTest, ExactRequestsAndGroupsDoNotGrow) {
  EXPECT_EQ(AskExactly(kA, 1, Mode::kPw, {10, 20}).grant->extent, (Extent{10, 20}));
  Cancel(kA, 1);
  const auto group = locks_.Enqueue({{kA, 2}, Mode::kGroup, {0, 4096}, 7}, now_);
  EXPECT_EQ(group->grant->extent, (Extent{0, 4096}));
}

TEST_F(ExtentGrowthTest, UpwardsOnlyToTheNextConflictOnceConflictsAreGranted) {
  AskExactly(kA, 1, Mode::kPr, {100, 200});
  AskExactly(kA, 2, Mode::kPr, {500, 600});
  EXPECT_EQ(Granted(kB, 1, Mode::kPw, {300, 310}), (Extent{300, 500}));
  Cancel(kB, 1);
  EXPECT_EQ(Granted(kB, 2, Mode::kPw, {600, 610}), (Extent{600, kEof}));
  Cancel(kB, 2);
  EXPECT_EQ(Granted(kB, 3, Mode::kPw, {200, 500}), (Extent{200, 500}));
  Cancel(kB, 3);
  EXPECT_EQ(Granted(kB, 4, Mode::kPr, {300, 310}), Extent::Whole()) << "nothing conflicts";
}

TEST_F(ExtentGrowthTest, AsAskedOnceThereAreTwoWriters) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  EXPECT_EQ(Granted(kB, 1, Mode::kPw, {100, 110}), (Extent{100, 110}));
  EXPECT_EQ(Granted(kA, 2, Mode::kPw, {200, 210}), (Extent{200, 210}));
  EXPECT_EQ(Granted(kC, 1, Mode::kPr, {300, 310}), (Extent{300, 310})) << "readers too";
}

TEST_F(ExtentGrowthTest, OneWriterWithManyLocksIsOneWriter) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  AskExactly(kA, 2, Mode::kPw, {20, 30});
  EXPECT_EQ(Granted(kA, 3, Mode::kPw, {40, 50}), Extent::Whole());
}

TEST_F(ExtentGrowthTest, WritersInTurnsDoNotTakeTheWholeObjectFromEachOther) {
  EXPECT_EQ(Granted(kA, 1, Mode::kPw, {0, 47'008}), Extent::Whole());
  Ask(kB, 1, Mode::kPw, {47'008, 94'016});
  ExtentChanges changes = Cancel(kA, 1);
  ASSERT_EQ(Names(changes.granted), (List{{kB, 1}}));
  EXPECT_EQ(changes.granted[0].extent, (Extent{47'008, 94'016}));
  // A has nothing now, yet it will be back.
  EXPECT_EQ(Granted(kB, 2, Mode::kPw, {141'024, 188'032}), (Extent{141'024, 188'032}));
  EXPECT_EQ(Granted(kA, 2, Mode::kPw, {94'016, 141'024}), (Extent{94'016, 141'024}));
}

TEST_F(ExtentGrowthTest, AWriterThatDoesNotComeBackIsForgotten) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  Ask(kB, 1, Mode::kPw, {10, 20});
  Cancel(kA, 1);
  now_ += ExtentLocks::kWriterMemory - Nanos(1);
  EXPECT_EQ(Granted(kB, 2, Mode::kPw, {30, 40}), (Extent{30, 40}));
  now_ += Nanos(1);
  EXPECT_EQ(Granted(kB, 3, Mode::kPw, {50, 60}), Extent::Whole());
}

TEST_F(ExtentGrowthTest, GivingBackUnaskedOrByEvictionLeavesNoMemory) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  Cancel(kA, 1);
  EXPECT_EQ(Granted(kB, 1, Mode::kPw, {10, 20}), Extent::Whole());
  Ask(kA, 2, Mode::kPw, {0, 10});
  locks_.CancelOwner(kB, now_);
  EXPECT_EQ(Granted(kA, 3, Mode::kPw, {30, 40}), Extent::Whole());
}

TEST_F(ExtentGrowthTest, DownwardsToTheEndOfAWaitingConflict) {
  AskExactly(kA, 1, Mode::kEx, {100, 110});
  AskExactly(kB, 1, Mode::kPr, {100, 110});
  AskExactly(kC, 1, Mode::kPr, {105, 110});
  // Conflicts with the two that wait, not with A, whose lock is its own.
  EXPECT_EQ(Granted(kA, 2, Mode::kPw, {200, 210}), (Extent{110, kEof}));
  EXPECT_EQ(Granted(kA, 3, Mode::kPw, {20, 30}), (Extent{0, 100}));
}

TEST_F(ExtentGrowthTest, NotDownwardsWithMoreThanFourConflictsWaiting) {
  AskExactly(kA, 1, Mode::kEx, {100, 110});
  for (uint64_t owner = 10; owner < 14; ++owner) AskExactly(owner, 1, Mode::kPr, {100, 110});
  EXPECT_EQ(Granted(kA, 2, Mode::kPw, {200, 210}), (Extent{110, kEof}));
  AskExactly(14, 1, Mode::kPr, {100, 110});
  EXPECT_EQ(Granted(kA, 3, Mode::kPw, {200, 210}), (Extent{200, kEof}));
}

TEST_F(ExtentGrowthTest, MoreThan32ConflictsEndGrowthAt32MiB) {
  for (uint64_t i = 0; i < 32; ++i) AskExactly(10 + i, 1, Mode::kPr, {i * 10, i * 10 + 10});
  EXPECT_EQ(Granted(kA, 1, Mode::kPw, {kMiB, 2 * kMiB}), (Extent{kMiB, kEof}));
  Cancel(kA, 1);
  AskExactly(50, 1, Mode::kPr, {320, 330});
  EXPECT_EQ(Granted(kA, 2, Mode::kPw, {kMiB, 2 * kMiB}), (Extent{kMiB, 33 * kMiB}));
  EXPECT_EQ(Granted(kA, 3, Mode::kPw, {kMiB, 40 * kMiB}), (Extent{kMiB, 40 * kMiB}));
}

TEST_F(ExtentGrowthTest, WhatIsInAWaitersWayIsAsAsked) {
  AskExactly(kA, 1, Mode::kPr, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {0, 10});
  const auto grant = Ask(kA, 2, Mode::kPr, {5, 6}).grant;
  EXPECT_EQ(grant->extent, (Extent{5, 6}));
  EXPECT_TRUE(grant->recalled);
}

}  // namespace
}  // namespace sheen::lock
