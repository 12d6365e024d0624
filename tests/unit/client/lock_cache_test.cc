#include "client/lock_cache.h"

#include <gtest/gtest.h>

namespace sheen::client {
namespace {

constexpr Fid kDirectory{0x200000400, 1, 0};
constexpr Fid kFile{0x200000400, 2, 0};
constexpr uint32_t kChild = lock::kLookup | lock::kAttrBits;
constexpr Nanos kNow = std::chrono::seconds(100);

Attr AttrOf(const Fid& fid, int64_t ctime_ns) {
  Attr attr;
  attr.fid = fid;
  attr.ctime_ns = ctime_ns;
  return attr;
}

class LockCacheTest : public ::testing::Test {
 protected:
  LockCacheTest() {
    for (uint32_t shard = 0; shard < 2; ++shard) {
      pulses[shard] = std::make_shared<rpc::LinkPulse>();
      pulses[shard]->proved_ns = kNow.count();
      cache.SetPulse(shard, pulses[shard]);
    }
  }
  LockOrigin From(uint32_t shard = 0) { return {shard, pulses[shard]->ended_count, kNow}; }
  int64_t Ctime(const Fid& fid, Nanos now = kNow) {
    const std::optional<Attr> attr = cache.FindAttr(fid, now);
    return attr ? attr->ctime_ns : -1;
  }
  LockCache::NameState StateOf(const std::string& name) {
    return cache.FindName(kDirectory, name, kNow).state;
  }
  void HaveFile(const std::string& name) {
    const uint64_t sent = cache.Moment();
    cache.TakeAttr(sent, From(), AttrOf(kFile, 1), kChild);
    cache.TakeName(sent, From(), kDirectory, name, kFile, lock::kLookup);
  }

  LockCache cache{1000};
  std::shared_ptr<rpc::LinkPulse> pulses[2];
};
using enum LockCache::NameState;

TEST_F(LockCacheTest, WhatAnAnswerBroughtIsKnownUntilItsCallback) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile), 5);
  cache.Callback(kFile, lock::kLookup);
  EXPECT_EQ(Ctime(kFile), 5);
  cache.Callback(kFile, lock::kUpdate);
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, TrimmingGivesBackDownToTheLimit) {
  constexpr uint32_t kCount = 500;
  for (uint32_t oid = 1; oid <= kCount; ++oid) {
    cache.TakeAttr(cache.Moment(), From(), AttrOf({0x200000400, oid, 0}, 5), lock::kAttrBits);
  }
  ASSERT_EQ(cache.size(), kCount);
  EXPECT_FALSE(cache.HasTooMany());
  cache.SetInodesMax(100);
  EXPECT_TRUE(cache.HasTooMany());
  cache.Trim(100);
  EXPECT_EQ(cache.size(), 100u);
  EXPECT_FALSE(cache.HasTooMany());
  const std::vector<HeldLock> surplus = cache.TakeSurplus(0);
  EXPECT_EQ(surplus.size(), kCount - 100);
  cache.GivenBack(surplus);
  cache.Trim(0);
  EXPECT_EQ(cache.size(), 0u);
}

TEST_F(LockCacheTest, AnAnswerThatACallbackOvertookIsNotKept) {
  const uint64_t sent = cache.Moment();
  cache.Callback(kFile, lock::kUpdate);
  cache.TakeAttr(sent, From(), AttrOf(kFile, 5), lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, WhatAChangeThatWasGivenUpMayChangeIsNotAnswered) {
  HaveFile("f");
  {
    const LockCache::Hold hold(&cache, {kFile});
    EXPECT_EQ(Ctime(kFile), -1);
    EXPECT_EQ(StateOf("f"), kUnknown);
    // An answer of before it is executed must not outlive it.
    cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), kChild);
    EXPECT_EQ(Ctime(kFile), -1);
    EXPECT_FALSE(cache.Covers(kDirectory, "f", AttrOf(kFile, 5), kNow).attr);
  }
  EXPECT_EQ(Ctime(kFile), -1);
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 6), kChild);
  EXPECT_EQ(Ctime(kFile), 6);
}

TEST_F(LockCacheTest, AttributesWithoutALockOrOfAnUnsafeSizeAreNotKept) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kLookup);
  EXPECT_EQ(Ctime(kFile), -1);
  Attr unsafe = AttrOf(kFile, 5);
  unsafe.size_unsafe = true;
  cache.TakeAttr(cache.Moment(), From(), unsafe, lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, NothingIsWorthAnythingAfterItsConnectionOrItsLease) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile, kNow + kLockLease - Nanos(1)), 5);
  EXPECT_EQ(Ctime(kFile, kNow + kLockLease), -1);
  pulses[0]->proved_ns = (kNow + kLockLease).count();
  EXPECT_EQ(Ctime(kFile, kNow + kLockLease), 5) << "the connection lives after all";
  ++pulses[0]->ended_count;
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, DuringAChangeNothingOfItIsKnownAfterItWhatItsAnswerSaid) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kAttrBits);
  LockCache::Change change(&cache, {kFile});
  EXPECT_EQ(Ctime(kFile), -1);
  change.Keep(From(), AttrOf(kFile, 6), lock::kAttrBits);
  change.Done();
  EXPECT_EQ(Ctime(kFile), 6);
}

TEST_F(LockCacheTest, AChangeThatWasRefusedLeavesEverythingOneOfUnknownEndNothing) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kAttrBits);
  {
    LockCache::Change change(&cache, {kFile});
    change.Refused();
  }
  EXPECT_EQ(Ctime(kFile), 5);
  { const LockCache::Change change(&cache, {kFile}); }
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, ACallbackDuringAChangeIsNotForgottenByItsAnswer) {
  cache.TakeAttr(cache.Moment(), From(), AttrOf(kFile, 5), lock::kAttrBits);
  LockCache::Change change(&cache, {kFile});
  cache.Callback(kFile, lock::kUpdate);
  change.Keep(From(), AttrOf(kFile, 6), lock::kAttrBits);
  change.Done();
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, AnswersToTwoChangesInTheWrongOrderLeaveTheNewer) {
  LockCache::Change first(&cache, {kDirectory});
  LockCache::Change second(&cache, {kDirectory});
  second.Keep(From(), AttrOf(kDirectory, 8), lock::kAttrBits);
  second.Done();
  EXPECT_EQ(Ctime(kDirectory), -1) << "the other is under way";
  first.Keep(From(), AttrOf(kDirectory, 7), lock::kAttrBits);
  first.Done();
  EXPECT_EQ(Ctime(kDirectory), 8);
}

TEST_F(LockCacheTest, AQuestionFromBeforeAChangeDoesNotUndoIt) {
  const uint64_t sent = cache.Moment();
  LockCache::Change change(&cache, {kDirectory});
  change.Keep(From(), AttrOf(kDirectory, 8), lock::kAttrBits);
  change.Done();
  cache.TakeAttr(sent, From(), AttrOf(kDirectory, 7), lock::kAttrBits);
  EXPECT_EQ(Ctime(kDirectory), 8);
  cache.TakeAbsent(sent, From(), kDirectory, "made");
  EXPECT_EQ(StateOf("made"), kUnknown);
}

TEST_F(LockCacheTest, AQuestionAnsweredAfterAChangeThatForgotIsNotKept) {
  const uint64_t sent = cache.Moment();
  {
    LockCache::Change change(&cache, {kFile});
    change.Done();
  }
  cache.TakeAttr(sent, From(), AttrOf(kFile, 7), lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile), -1);
}

TEST_F(LockCacheTest, ANameIsKnownAsLongAsTheChildsLookupIsHeld) {
  HaveFile("name");
  EXPECT_EQ(StateOf("name"), kPresent);
  cache.Callback(kDirectory, lock::kUpdate);
  EXPECT_EQ(StateOf("name"), kPresent) << "covered by the child";
  cache.Callback(kFile, lock::kLookup);
  EXPECT_EQ(StateOf("name"), kUnknown);
  // Held again: the name may be another by now.
  cache.TakeName(cache.Moment(), From(), kDirectory, "other", kFile, lock::kLookup);
  EXPECT_EQ(StateOf("name"), kUnknown);
  EXPECT_EQ(StateOf("other"), kPresent);
}

TEST_F(LockCacheTest, AnAbsentNameIsKnownAsLongAsTheDirectorysUpdateIsHeld) {
  cache.TakeAbsent(cache.Moment(), From(), kDirectory, "none");
  EXPECT_EQ(StateOf("none"), kAbsent);
  EXPECT_EQ(StateOf("another"), kUnknown);
  cache.Callback(kDirectory, lock::kUpdate);
  cache.TakeAbsent(cache.Moment(), From(), kDirectory, "another");
  EXPECT_EQ(StateOf("none"), kUnknown);
  EXPECT_EQ(StateOf("another"), kAbsent);
}

TEST_F(LockCacheTest, OfADirectoryOfOurOwnMakingEveryNameIsKnown) {
  cache.TakeNew(cache.Moment(), From(), AttrOf(kDirectory, 1), kChild, true);
  EXPECT_EQ(StateOf("name"), kAbsent);
  {
    LockCache::Change change(&cache, {kDirectory});
    EXPECT_EQ(StateOf("name"), kUnknown);
    const uint64_t generation =
        cache.TakeNew(cache.Moment(), From(), AttrOf(kFile, 2), kChild, false);
    change.Keep(From(), AttrOf(kDirectory, 2), lock::kAttrBits);
    change.SetName(kDirectory, "name", kFile, generation);
    change.Done();
  }
  EXPECT_EQ(StateOf("name"), kPresent);
  EXPECT_EQ(StateOf("other"), kAbsent);
  {
    LockCache::Change change(&cache, {kDirectory}, {cache.PeekName(kDirectory, "name")});
    change.Keep(From(), AttrOf(kDirectory, 3), lock::kAttrBits);
    change.SetAbsent(kDirectory, "name");
    change.Done();
  }
  EXPECT_EQ(StateOf("name"), kAbsent);
  EXPECT_EQ(Ctime(kFile), -1);
  cache.Callback(kDirectory, lock::kUpdate);
  EXPECT_EQ(StateOf("other"), kUnknown);
}

TEST_F(LockCacheTest, NamesOfAListingAreKnownWithTheDirectorysUpdateOnly) {
  const uint64_t sent = cache.Moment();
  cache.TakeDirectory(sent, From(), kDirectory);
  cache.TakeName(sent, From(), kDirectory, "listed", kFile, 0);
  cache.TakeAttr(sent, From(), AttrOf(kFile, 1), lock::kAttrBits);
  EXPECT_EQ(StateOf("listed"), kPresent);
  cache.Callback(kDirectory, lock::kUpdate);
  EXPECT_EQ(StateOf("listed"), kUnknown);
  EXPECT_EQ(Ctime(kFile), 1);
}

TEST_F(LockCacheTest, LocksOfAnotherConnectionDoNotOutliveTheirOwn) {
  HaveFile("name");
  // The attributes come again by the second connection, the name's lock does not.
  cache.TakeAttr(cache.Moment(), From(1), AttrOf(kFile, 2), lock::kAttrBits);
  EXPECT_EQ(Ctime(kFile), 2);
  EXPECT_EQ(StateOf("name"), kUnknown);
  ++pulses[0]->ended_count;
  EXPECT_EQ(Ctime(kFile), 2);
}

TEST_F(LockCacheTest, AnOldAnswerIsNotTakenAfterAnotherConnectionsLockCameBetween) {
  const uint64_t sent = cache.Moment();
  {
    LockCache::Change change(&cache, {kDirectory});
    change.Keep(From(0), AttrOf(kDirectory, 2), lock::kAttrBits);
    change.Done();
  }
  cache.TakeAbsent(cache.Moment(), From(1), kDirectory, "none");
  cache.TakeAttr(sent, From(0), AttrOf(kDirectory, 1), lock::kAttrBits);
  EXPECT_NE(Ctime(kDirectory), 1);
}

TEST_F(LockCacheTest, ANameIsCoveredByTheLockOfItsOwnAnswerOnly) {
  cache.TakeNew(cache.Moment(), From(), AttrOf(kDirectory, 1), kChild, true);
  LockCache::Change change(&cache, {kDirectory, kFile});
  cache.Callback(kFile, lock::kLookup);  // the new name was removed again by somebody
  cache.TakeName(cache.Moment(), From(), kDirectory, "old", kFile, lock::kLookup);
  const uint64_t generation = change.Keep(From(), AttrOf(kFile, 2), kChild);
  change.Keep(From(), AttrOf(kDirectory, 2), lock::kAttrBits);
  change.SetName(kDirectory, "new", kFile, generation);
  change.Done();
  EXPECT_EQ(StateOf("new"), kUnknown);
}

TEST_F(LockCacheTest, TheSurplusIsGivenBackAndNotTakenMeanwhile) {
  LockCache small(100);
  small.SetPulse(0, pulses[0]);
  for (uint32_t oid = 1; oid <= 20'000; ++oid) {
    small.TakeAttr(small.Moment(), From(), AttrOf({0x200000400, oid, 0}, 1), lock::kAttrBits);
  }
  EXPECT_LT(small.size(), 4300U) << "one a bucket may be left over";
  EXPECT_TRUE(small.HasSurplus());
  const std::vector<HeldLock> locks = small.TakeSurplus(0);
  EXPECT_FALSE(small.HasSurplus());
  const Fid back = locks.front().fid;
  const uint64_t sent = small.Moment();
  small.TakeAttr(sent, From(), AttrOf(back, 1), lock::kAttrBits);
  EXPECT_FALSE(small.FindAttr(back, kNow));
  small.GivenBack(locks);
  small.TakeAttr(sent, From(), AttrOf(back, 1), lock::kAttrBits);
  EXPECT_FALSE(small.FindAttr(back, kNow)) << "asked before the locks were back";
  small.TakeAttr(small.Moment(), From(), AttrOf(back, 1), lock::kAttrBits);
  EXPECT_TRUE(small.FindAttr(back, kNow));
}

}  // namespace
}  // namespace sheen::client
