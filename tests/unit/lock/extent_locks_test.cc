// The rules of one object's lock table: conflicts, order, callbacks, group locks, conversions.
#include "lock/extent_locks.h"

#include <gtest/gtest.h>

#include "unit/lock/extent_locks_fixture.h"

namespace sheen::lock {
namespace {

using ExtentLocksTest = ExtentLocksFixture;

TEST_F(ExtentLocksTest, ReadersShareAndAWriterCallsAllOfThemBackOnce) {
  EXPECT_TRUE(Ask(kA, 1, Mode::kPr, {0, 10}).grant);
  EXPECT_TRUE(Ask(kB, 1, Mode::kPr, {0, 10}).grant);
  const ExtentEnqueued writer = Ask(kC, 1, Mode::kPw, {5, 6});
  EXPECT_FALSE(writer.grant);
  EXPECT_EQ(Names(writer.changes.callbacks), (List{{kA, 1}, {kB, 1}}));
  EXPECT_EQ(writer.changes.callbacks[0].wanted, Mode::kPw);
  EXPECT_EQ(writer.changes.callbacks[0].wanted_extent, (Extent{5, 6}));
  EXPECT_TRUE(Ask(kD, 1, Mode::kPw, {7, 8}).changes.callbacks.empty()) << "called back twice";
  EXPECT_TRUE(Cancel(kA, 1).granted.empty());
  EXPECT_EQ(Names(Cancel(kB, 1).granted), (List{{kC, 1}, {kD, 1}}));
}

TEST_F(ExtentLocksTest, LocksOfOneOwnerDoNotConflict) {
  EXPECT_TRUE(Ask(kA, 1, Mode::kPr, Extent::Whole()).grant);
  EXPECT_TRUE(Ask(kA, 2, Mode::kPw, {0, 10}).grant);
  EXPECT_TRUE(Ask(kA, 3, Mode::kEx, {5, 10}).grant);
}

TEST_F(ExtentLocksTest, NeighboursDoNotConflict) {
  EXPECT_TRUE(AskExactly(kA, 1, Mode::kPw, {0, 10}).grant);
  EXPECT_TRUE(AskExactly(kB, 1, Mode::kPw, {10, 20}).grant);
  EXPECT_FALSE(AskExactly(kC, 1, Mode::kPw, {9, 11}).grant);
}

TEST_F(ExtentLocksTest, WaitingRequestsAreGrantedInOrderOfArrival) {
  AskExactly(kA, 1, Mode::kPw, {0, 100});
  for (const uint64_t owner : {kD, kB, kC}) AskExactly(owner, 1, Mode::kPw, {0, 100});
  EXPECT_EQ(Names(Cancel(kA, 1).granted), (List{{kD, 1}}));
  EXPECT_EQ(Names(Cancel(kD, 1).granted), (List{{kB, 1}}));
  EXPECT_EQ(Names(Cancel(kB, 1).granted), (List{{kC, 1}}));
}

TEST_F(ExtentLocksTest, AReaderDoesNotPassAWaitingWriter) {
  Ask(kA, 1, Mode::kPr, {0, 100});
  Ask(kB, 1, Mode::kPw, {0, 100});
  EXPECT_FALSE(Ask(kC, 1, Mode::kPr, {0, 100}).grant);
  EXPECT_EQ(Names(Cancel(kA, 1).granted), (List{{kB, 1}}));
  EXPECT_EQ(Names(Cancel(kB, 1).granted), (List{{kC, 1}}));
}

TEST_F(ExtentLocksTest, WhatOverlapsNothingThatWaitsIsNotDelayed) {
  AskExactly(kA, 1, Mode::kPw, {0, 100});
  AskExactly(kB, 1, Mode::kPw, {0, 100});
  EXPECT_TRUE(AskExactly(kC, 1, Mode::kPw, {100, 200}).grant);
  EXPECT_TRUE(Ask(kD, 1, Mode::kNl, {0, 100}).grant);
}

TEST_F(ExtentLocksTest, AnOwnerThatIsCalledBackIsNotQueuedBehindTheWaiter) {
  Ask(kA, 1, Mode::kPr, {0, 4096});
  EXPECT_FALSE(Ask(kB, 1, Mode::kPw, {0, 4096}).grant);
  // A's write holds a page that the recall of its read lock may wait for.
  const ExtentEnqueued write = Ask(kA, 2, Mode::kPw, {0, 100});
  ASSERT_TRUE(write.grant);
  EXPECT_TRUE(write.grant->recalled) << "it is in B's way as well";
  EXPECT_EQ(write.grant->extent, (Extent{0, 100}));
  EXPECT_TRUE(write.changes.callbacks.empty()) << "the grant is the callback";
  EXPECT_TRUE(Cancel(kA, 1).granted.empty());
  EXPECT_EQ(Names(Cancel(kA, 2).granted), (List{{kB, 1}}));
}

TEST_F(ExtentLocksTest, TheExceptionReachesThroughAChainOfWaiters) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {5, 15});   // waits for A
  AskExactly(kC, 1, Mode::kPw, {12, 20});  // waits for B
  EXPECT_TRUE(AskExactly(kA, 2, Mode::kPw, {15, 20}).grant);
}

TEST_F(ExtentLocksTest, ARequestThatWaitedIsLetGoOnceItsOwnerIsCalledBack) {
  AskExactly(kC, 1, Mode::kPr, {0, 10});
  AskExactly(kA, 1, Mode::kPr, {20, 30});
  AskExactly(kB, 1, Mode::kPw, {0, 10});                      // waits for C
  EXPECT_FALSE(AskExactly(kA, 2, Mode::kPr, {0, 10}).grant);  // behind B
  // D wants what A has: from now on A must not stand behind anybody.
  const ExtentEnqueued d = AskExactly(kD, 1, Mode::kPw, {20, 30});
  EXPECT_EQ(Names(d.changes.callbacks), (List{{kA, 1}}));
  EXPECT_EQ(Names(d.changes.granted), (List{{kA, 2}}));
  EXPECT_TRUE(d.changes.granted[0].recalled);
}

TEST_F(ExtentLocksTest, TheExceptionEndsWhenTheLockIsGivenBack) {
  AskExactly(kA, 1, Mode::kPr, {0, 10});
  AskExactly(kC, 1, Mode::kPr, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {0, 10});
  Cancel(kA, 1);
  EXPECT_FALSE(AskExactly(kA, 2, Mode::kPr, {0, 10}).grant) << "C alone keeps B waiting";
}

TEST_F(ExtentLocksTest, AGrantInTheWayOfALaterWaiterCarriesTheRecall) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {0, 10});
  AskExactly(kC, 1, Mode::kPw, {0, 10});
  const ExtentChanges changes = Cancel(kA, 1);
  ASSERT_EQ(Names(changes.granted), (List{{kB, 1}}));
  EXPECT_TRUE(changes.granted[0].recalled);
  EXPECT_TRUE(changes.callbacks.empty());
  EXPECT_FALSE(Cancel(kB, 1).granted[0].recalled);
}

TEST_F(ExtentLocksTest, AResendChangesNothing) {
  const ExtentEnqueued first = Ask(kA, 1, Mode::kPw, {0, 10});
  EXPECT_EQ(Ask(kA, 1, Mode::kPw, {0, 10}).grant, first.grant);
  Ask(kB, 1, Mode::kPw, {0, 10});
  const ExtentEnqueued again = Ask(kB, 1, Mode::kPw, {0, 10});
  EXPECT_FALSE(again.grant);
  EXPECT_TRUE(again.changes.callbacks.empty());
  EXPECT_EQ(locks_.waiting_count(), 1U);
  EXPECT_TRUE(Ask(kA, 1, Mode::kPw, {0, 10}).grant->recalled) << "a lost callback rides on it";
}

TEST_F(ExtentLocksTest, RequestsThatCannotBeAreRefused) {
  const auto code = [this](ExtentRequest request) {
    const auto result = locks_.Enqueue(request, now_);
    return result ? Errc::kOk : result.error().code();
  };
  EXPECT_EQ(code({{kA, 1}, Mode::kPw, {5, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{kA, 1}, Mode::kPw, {6, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{kA, 1}, static_cast<Mode>(3), {0, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{kA, 1}, static_cast<Mode>(0x8000), {0, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{kA, 1}, Mode::kGroup, {0, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{kA, 1}, Mode::kPw, {0, 5}, 7}), Errc::kInvalid);
  EXPECT_TRUE(locks_.empty());
  EXPECT_EQ(code({{kA, 1}, Mode::kPw, {0, 5}}), Errc::kOk);
  EXPECT_EQ(code({{kA, 1}, Mode::kPr, {0, 5}}), Errc::kInvalid) << "one name, two requests";
  EXPECT_EQ(locks_.Cancel({kB, 1}, now_).error().code(), Errc::kNoEntry);
  EXPECT_EQ(locks_.Convert({kB, 1}, Mode::kNl, {0, 5}, now_).error().code(), Errc::kNoEntry);
}

TEST_F(ExtentLocksTest, NoWaitIsRefusedAndCallsNobodyBack) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  const ExtentRequest request{{kB, 1}, Mode::kPr, {0, 10}, 0, false, true};
  EXPECT_EQ(locks_.Enqueue(request, now_).error().code(), Errc::kAgain);
  EXPECT_FALSE(locks_.Find({kA, 1})->recalled);
  EXPECT_EQ(locks_.waiting_count(), 0U);
  Cancel(kA, 1);
  EXPECT_TRUE(locks_.Enqueue(request, now_)->grant);
}

TEST_F(ExtentLocksTest, AGroupSharesAndExcludesAllOthers) {
  const ExtentRequest seven{{kA, 1}, Mode::kGroup, Extent::Whole(), 7};
  EXPECT_TRUE(locks_.Enqueue(seven, now_)->grant);
  EXPECT_TRUE(locks_.Enqueue({{kB, 1}, Mode::kGroup, Extent::Whole(), 7}, now_)->grant);
  EXPECT_FALSE(locks_.Enqueue({{kC, 1}, Mode::kGroup, Extent::Whole(), 8}, now_)->grant);
  EXPECT_FALSE(Ask(kD, 1, Mode::kPr, {0, 1}).grant);
  Cancel(kA, 1);
  EXPECT_EQ(Names(Cancel(kB, 1).granted), (List{{kC, 1}}));
  EXPECT_EQ(Names(Cancel(kC, 1).granted), (List{{kD, 1}}));
}

TEST_F(ExtentLocksTest, AGroupExcludesOtherProcessesOfItsOwnClient) {
  ASSERT_TRUE(locks_.Enqueue({{kA, 1}, Mode::kGroup, Extent::Whole(), 7}, now_)->grant);
  EXPECT_FALSE(Ask(kA, 2, Mode::kPw, {0, 1}).grant);
  EXPECT_FALSE(locks_.Enqueue({{kA, 3}, Mode::kGroup, Extent::Whole(), 8}, now_)->grant);
  EXPECT_EQ(Names(Cancel(kA, 1).granted), (List{{kA, 2}}));
}

TEST_F(ExtentLocksTest, CancellingAWaiterFreesWhatStoodBehindIt) {
  AskExactly(kA, 1, Mode::kPr, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {0, 20});
  EXPECT_FALSE(AskExactly(kC, 1, Mode::kPr, {10, 20}).grant);
  EXPECT_EQ(Names(Cancel(kB, 1).granted), (List{{kC, 1}}));
}

TEST_F(ExtentLocksTest, ConvertToAWeakerModeLetsWaitersGo) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  Ask(kB, 1, Mode::kPr, {0, 10});
  const auto changes = locks_.Convert({kA, 1}, Mode::kPr, Extent::Whole(), now_);
  EXPECT_EQ(Names(changes->granted), (List{{kB, 1}}));
  EXPECT_EQ(locks_.Find({kA, 1})->mode, Mode::kPr);
  EXPECT_FALSE(locks_.Find({kA, 1})->recalled);
}

TEST_F(ExtentLocksTest, ConvertToASmallerExtentLetsWaitersGo) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  Ask(kB, 1, Mode::kPw, {50, 60});
  const auto changes = locks_.Convert({kA, 1}, Mode::kPw, {0, 50}, now_);
  ASSERT_EQ(Names(changes->granted), (List{{kB, 1}}));
  EXPECT_EQ(changes->granted[0].extent, (Extent{50, 60}));
  EXPECT_TRUE(changes->callbacks.empty());
  // In nobody's way now, so the next who wants it calls it back again.
  EXPECT_EQ(Names(Ask(kC, 1, Mode::kPr, {0, 10}).changes.callbacks), (List{{kA, 1}}));
}

TEST_F(ExtentLocksTest, ConvertThatLeavesItInTheWayIsCalledBackAgain) {
  Ask(kA, 1, Mode::kPw, {0, 10});
  Ask(kB, 1, Mode::kPw, {50, 60});
  Ask(kC, 1, Mode::kPw, {20, 30});
  const auto changes = locks_.Convert({kA, 1}, Mode::kPw, {0, 50}, now_);
  EXPECT_EQ(Names(changes->granted), (List{{kB, 1}}));
  ASSERT_EQ(Names(changes->callbacks), (List{{kA, 1}}));
  EXPECT_EQ(changes->callbacks[0].wanted_extent, (Extent{20, 30}));
}

TEST_F(ExtentLocksTest, ConvertNeverGivesMore) {
  const auto code = [this](Mode mode, Extent extent) {
    return locks_.Convert({kA, 1}, mode, extent, now_).error().code();
  };
  AskExactly(kA, 1, Mode::kPr, {10, 20});
  EXPECT_EQ(code(Mode::kPw, {10, 20}), Errc::kInvalid);
  EXPECT_EQ(code(Mode::kPr, {9, 20}), Errc::kInvalid);
  EXPECT_EQ(code(Mode::kPr, {10, 21}), Errc::kInvalid);
  EXPECT_EQ(code(Mode::kPr, {15, 15}), Errc::kInvalid);
  EXPECT_EQ(code(static_cast<Mode>(9), {10, 20}), Errc::kInvalid);
  AskExactly(kB, 1, Mode::kPw, {10, 20});
  EXPECT_EQ(locks_.Convert({kB, 1}, Mode::kNl, {10, 20}, now_).error().code(), Errc::kInvalid);
}

TEST_F(ExtentLocksTest, CancelOwnerTakesItsLocksAndItsRequests) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  AskExactly(kA, 2, Mode::kPw, {20, 30});
  AskExactly(kB, 1, Mode::kPr, {0, 30});
  AskExactly(kA, 3, Mode::kPw, {10, 20});
  AskExactly(kC, 1, Mode::kPr, {0, 5});
  const ExtentChanges changes = locks_.CancelOwner(kA, now_);
  EXPECT_EQ(Names(changes.granted), (List{{kB, 1}, {kC, 1}}));
  EXPECT_EQ(locks_.granted_count(), 2U);
  EXPECT_EQ(locks_.waiting_count(), 0U);
  locks_.CancelOwner(kB, now_);
  locks_.CancelOwner(kC, now_);
  EXPECT_TRUE(locks_.empty());
}

TEST_F(ExtentLocksTest, RecallAsksOthersButNotTheOwnerAndLeavesNoRequest) {
  AskExactly(kA, 1, Mode::kPr, {0, 10});
  AskExactly(kB, 1, Mode::kPr, {5, 15});
  AskExactly(kC, 1, Mode::kPr, {10, 20});
  const ExtentChanges changes = locks_.Recall(kA, Mode::kPw, {8, 10}, now_);
  EXPECT_EQ(Names(changes.callbacks), (List{{kB, 1}}));
  EXPECT_TRUE(locks_.Recall(kA, Mode::kPw, {8, 10}, now_).callbacks.empty());
  EXPECT_EQ(locks_.Conflicting(kA, Mode::kPw, {8, 10}), (List{{kB, 1}}));
  EXPECT_EQ(locks_.waiting_count(), 0U);
  Cancel(kB, 1);
  EXPECT_TRUE(locks_.Conflicting(kA, Mode::kPw, {8, 10}).empty());
}

TEST_F(ExtentLocksTest, GlimpseAsksTheHighestWriterFirst) {
  AskExactly(kA, 1, Mode::kPw, {0, 10});
  AskExactly(kB, 1, Mode::kPw, {30, 40});
  AskExactly(kC, 1, Mode::kPw, {20, 30});
  AskExactly(kD, 1, Mode::kPr, {50, 60});
  AskExactly(kD, 2, Mode::kPw, {35, 40});  // waits: has written nothing
  const auto writers = [this](uint64_t size, size_t count) {
    List names;
    for (const ExtentGrant& grant : locks_.HighestWriters(size, count)) names.push_back(grant.name);
    return names;
  };
  EXPECT_EQ(writers(0, 1), (List{{kB, 1}}));
  EXPECT_EQ(writers(0, 9), (List{{kB, 1}, {kC, 1}, {kA, 1}}));
  EXPECT_EQ(writers(10, 9), (List{{kB, 1}, {kC, 1}})) << "A cannot have written beyond 10";
  EXPECT_TRUE(writers(40, 9).empty());
  EXPECT_TRUE(writers(0, 0).empty());
}

TEST_F(ExtentLocksTest, GlimpseListsAllWhoShareAWriteMode) {
  locks_.Enqueue({{kA, 1}, Mode::kGroup, Extent::Whole(), 7}, now_).value();
  locks_.Enqueue({{kB, 1}, Mode::kGroup, Extent::Whole(), 7}, now_).value();
  EXPECT_EQ(locks_.HighestWriters(1 << 20, 10).size(), 2U);
}

}  // namespace
}  // namespace sheen::lock
