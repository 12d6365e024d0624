// flock(2) and fcntl(2) locks of one file, claim by claim.
#include "lock/file_locks.h"

#include <gtest/gtest.h>

#include "lock/deadlock.h"

namespace sheen::lock {
namespace {

constexpr FileLockType kRead = FileLockType::kRead;
constexpr FileLockType kWrite = FileLockType::kWrite;
constexpr FileLockType kUnlock = FileLockType::kUnlock;
using Outcome = FileLockOutcome;
using Names = std::vector<FileLockRequestName>;

class FileLocksTest : public testing::Test {
 protected:
  static constexpr FileLockOwner kP{1, 100, FileLockKind::kPosix};
  static constexpr FileLockOwner kQ{2, 100, FileLockKind::kPosix};
  static constexpr FileLockOwner kR{3, 100, FileLockKind::kPosix};
  static constexpr FileLockOwner kFlockP{1, 7, FileLockKind::kFlock};
  static constexpr FileLockOwner kFlockQ{2, 7, FileLockKind::kFlock};
  static constexpr FileLockOwner kFlockR{3, 7, FileLockKind::kFlock};
  static constexpr FileLockOwner kOfd{1, 55, FileLockKind::kOfd};

  Outcome Try(const FileLockOwner& owner, FileLockType type, Extent extent = {}) {
    return Ask(owner, type, extent, false).outcome;
  }
  FileLockAnswer Ask(const FileLockOwner& owner, FileLockType type, Extent extent = {},
                     bool wait = true) {
    return locks_.Set({owner, next_id_++, type, extent, 4711, wait}).value();
  }
  std::vector<std::pair<Extent, FileLockType>> RangesOf(const FileLockOwner& owner) {
    std::vector<std::pair<Extent, FileLockType>> ranges;
    for (const FileLock& lock : locks_.Held()) {
      if (lock.owner == owner) ranges.emplace_back(lock.extent, lock.type);
    }
    return ranges;
  }
  using Ranges = std::vector<std::pair<Extent, FileLockType>>;

  DeadlockGraph graph_;
  FileLocks locks_{&graph_};
  uint64_t next_id_ = 1;
};

TEST_F(FileLocksTest, ReadLocksShareAndWriteLocksExclude) {
  EXPECT_EQ(Try(kP, kRead, {0, 10}), Outcome::kGranted);
  EXPECT_EQ(Try(kQ, kRead, {5, 15}), Outcome::kGranted);
  EXPECT_EQ(Try(kR, kWrite, {9, 12}), Outcome::kRefused);
  EXPECT_EQ(Try(kR, kWrite, {15, kEof}), Outcome::kGranted);
  EXPECT_EQ(Try(kP, kRead, {20, 21}), Outcome::kRefused);
}

TEST_F(FileLocksTest, UnlockInTheMiddleSplits) {
  Try(kP, kWrite, {0, 100});
  Try(kP, kUnlock, {40, 60});
  EXPECT_EQ(RangesOf(kP), (Ranges{{{0, 40}, kWrite}, {{60, 100}, kWrite}}));
  EXPECT_EQ(Try(kQ, kWrite, {40, 60}), Outcome::kGranted);
}

TEST_F(FileLocksTest, OfOneTypeNeighboursAndOverlapsMerge) {
  Try(kP, kRead, {0, 10});
  Try(kP, kRead, {20, 30});
  EXPECT_EQ(RangesOf(kP).size(), 2U);
  Try(kP, kRead, {10, 20});
  EXPECT_EQ(RangesOf(kP), (Ranges{{{0, 30}, kRead}}));
  Try(kP, kRead, {25, kEof});
  EXPECT_EQ(RangesOf(kP), (Ranges{{{0, kEof}, kRead}}));
}

TEST_F(FileLocksTest, AnotherTypeReplacesWhatItCovers) {
  Try(kP, kRead, {0, 100});
  Try(kP, kWrite, {40, 60});
  EXPECT_EQ(RangesOf(kP), (Ranges{{{0, 40}, kRead}, {{40, 60}, kWrite}, {{60, 100}, kRead}}));
  Try(kP, kRead, {50, 60});
  EXPECT_EQ(RangesOf(kP), (Ranges{{{0, 40}, kRead}, {{40, 50}, kWrite}, {{50, 100}, kRead}}));
}

TEST_F(FileLocksTest, ALockToTheEndCoversWhatIsBeyondAnyOffset) {
  Try(kP, kWrite, Extent::FromInclusive(100, kLastByteMax));
  EXPECT_EQ(Try(kQ, kRead, {1ULL << 62, (1ULL << 62) + 1}), Outcome::kRefused);
  EXPECT_EQ(Try(kQ, kWrite, {0, 100}), Outcome::kGranted);
}

TEST_F(FileLocksTest, TestNamesTheLowestLockInTheWay) {
  Try(kP, kRead, {50, 60});
  Try(kP, kWrite, {20, 30});
  const auto found = locks_.Test(kQ, kWrite, Extent::Whole()).value();
  EXPECT_EQ(found, (FileLock{kP, kWrite, {20, 30}, 4711}));
  EXPECT_EQ(locks_.Test(kQ, kWrite, {30, kEof}).value()->extent, (Extent{50, 60}));
  EXPECT_EQ(locks_.Test(kQ, kRead, {30, kEof}).value(), std::nullopt);
  EXPECT_EQ(locks_.Test(kP, kWrite, Extent::Whole()).value(), std::nullopt) << "its own";
  EXPECT_EQ(locks_.Test(kQ, kUnlock, {0, 1}).error().code(), Errc::kInvalid);
}

TEST_F(FileLocksTest, WaitingRequestsAreGrantedInOrderOfArrival) {
  Try(kP, kWrite, {0, 100});
  const uint64_t first = next_id_;
  EXPECT_EQ(Ask(kQ, kWrite, {0, 50}).outcome, Outcome::kWaiting);
  EXPECT_EQ(Ask(kR, kWrite, {40, 60}).outcome, Outcome::kWaiting);
  EXPECT_EQ(Ask({4, 1, FileLockKind::kPosix}, kWrite, {60, 70}).outcome, Outcome::kWaiting);
  EXPECT_EQ(Ask(kP, kUnlock).changes.granted, (Names{{2, first}, {4, first + 2}}));
  EXPECT_EQ(Ask(kQ, kUnlock).changes.granted, (Names{{3, first + 1}}));
}

TEST_F(FileLocksTest, AReaderPassesAWaitingWriterAsInLinux) {
  Try(kP, kRead);
  EXPECT_EQ(Ask(kQ, kWrite).outcome, Outcome::kWaiting);
  EXPECT_EQ(Ask(kR, kRead).outcome, Outcome::kGranted);
}

TEST_F(FileLocksTest, ATypeThatGetsWeakerLetsWaitersGo) {
  Try(kP, kWrite, {0, 100});
  const uint64_t id = next_id_;
  Ask(kQ, kRead, {50, 60});
  EXPECT_TRUE(Ask(kP, kRead, {0, 55}).changes.granted.empty());
  EXPECT_EQ(Ask(kP, kRead, {55, 60}).changes.granted, (Names{{2, id}}));
}

TEST_F(FileLocksTest, AGrantThatReplacesAStrongerLockLetsOthersGo) {
  Try(kP, kWrite, {0, 10});
  Try(kR, kWrite, {10, 20});
  const uint64_t id = next_id_;
  Ask(kQ, kRead, {0, 10});  // for P
  Ask(kP, kRead, {0, 20});  // for R; replaces P's write lock when it comes
  EXPECT_EQ(Ask(kR, kUnlock).changes.granted, (Names{{1, id + 1}, {2, id}}));
}

TEST_F(FileLocksTest, AResendOfAWaitingRequestWaitsOnce) {
  Try(kP, kWrite);
  const FileLockRequest request{kQ, 99, kWrite, Extent::Whole(), 1, true};
  EXPECT_EQ(locks_.Set(request)->outcome, Outcome::kWaiting);
  EXPECT_EQ(locks_.Set(request)->outcome, Outcome::kWaiting);
  EXPECT_EQ(locks_.waiting_count(), 1U);
  EXPECT_EQ(Ask(kP, kUnlock).changes.granted, (Names{{2, 99}}));
}

TEST_F(FileLocksTest, AnAbandonedRequestIsNotGranted) {
  Try(kP, kWrite);
  const uint64_t id = next_id_;
  Ask(kQ, kWrite);
  EXPECT_TRUE(locks_.Abandon({2, id}));
  EXPECT_FALSE(locks_.Abandon({2, id}));
  EXPECT_TRUE(Ask(kP, kUnlock).changes.granted.empty());
  EXPECT_TRUE(locks_.empty());
  EXPECT_TRUE(graph_.empty());
}

TEST_F(FileLocksTest, CloseDropsWhatTheOwnerHoldsOfThatKindAlone) {
  Try(kP, kWrite, {0, 10});
  Try(kP, kRead, {20, 30});
  Try(kFlockP, kWrite);
  const uint64_t id = next_id_;
  Ask(kQ, kWrite, {5, 25});
  EXPECT_EQ(locks_.ReleaseOwner(kP).granted, (Names{{2, id}}));
  EXPECT_TRUE(RangesOf(kP).empty());
  EXPECT_EQ(RangesOf(kFlockP).size(), 1U);
}

TEST_F(FileLocksTest, TheEndOfAClientDropsAllItHoldsAndWaitsFor) {
  Try(kP, kWrite, {0, 10});
  Try({1, 200, FileLockKind::kPosix}, kWrite, {10, 20});
  Try(kFlockP, kWrite);
  Try(kOfd, kWrite, {30, 40});
  const uint64_t id = next_id_;
  Ask(kQ, kWrite, {0, 40});
  Ask(kFlockQ, kWrite);
  Ask(kP, kWrite, {35, 36});
  const FileLockChanges changes = locks_.ReleaseClient(1);
  EXPECT_EQ(changes.granted, (Names{{2, id}, {2, id + 1}}));
  EXPECT_EQ(locks_.waiting_count(), 0U);
  locks_.ReleaseClient(2);
  EXPECT_TRUE(locks_.empty());
}

TEST_F(FileLocksTest, FlockAndRecordLocksDoNotMeet) {
  EXPECT_EQ(Try(kP, kWrite), Outcome::kGranted);
  EXPECT_EQ(Try(kFlockQ, kWrite), Outcome::kGranted);
}

TEST_F(FileLocksTest, OfdAndPosixLocksExcludeEachOtherEvenInOneProcess) {
  EXPECT_EQ(Try(kP, kWrite, {0, 10}), Outcome::kGranted);
  EXPECT_EQ(Try(kOfd, kRead, {5, 6}), Outcome::kRefused);
  EXPECT_EQ(Try(kOfd, kRead, {10, 11}), Outcome::kGranted);
}

TEST_F(FileLocksTest, FlockIsOfTheWholeFileWhateverRangeComesWithIt) {
  Try(kFlockP, kWrite, {0, 1});
  EXPECT_EQ(Try(kFlockQ, kWrite, {5, 6}), Outcome::kRefused);
  EXPECT_EQ(RangesOf(kFlockP), (Ranges{{Extent::Whole(), kWrite}}));
}

TEST_F(FileLocksTest, FlockThatCannotChangeItsTypeHasLostTheOldOne) {
  Try(kFlockP, kRead);
  Try(kFlockQ, kRead);
  const uint64_t id = next_id_;
  Ask(kFlockR, kWrite);
  EXPECT_EQ(Try(kFlockP, kWrite), Outcome::kRefused);
  EXPECT_TRUE(RangesOf(kFlockP).empty());
  EXPECT_EQ(Ask(kFlockQ, kUnlock).changes.granted, (Names{{3, id}}));
}

TEST_F(FileLocksTest, TwoFlockUpgradesDoNotWaitForEachOther) {
  Try(kFlockP, kRead);
  Try(kFlockQ, kRead);
  const uint64_t id = next_id_;
  EXPECT_EQ(Ask(kFlockP, kWrite).outcome, Outcome::kWaiting);
  EXPECT_EQ(Ask(kFlockQ, kWrite).outcome, Outcome::kGranted);
  EXPECT_EQ(Ask(kFlockQ, kUnlock).changes.granted, (Names{{1, id}}));
}

TEST_F(FileLocksTest, RequestsThatCannotBeAreRefused) {
  const auto code = [this](FileLockRequest request) {
    const auto result = locks_.Set(request);
    return result ? Errc::kOk : result.error().code();
  };
  EXPECT_EQ(code({kP, 1, kRead, {5, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({kP, 1, kRead, {6, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({kP, 1, kRead, {0, kEof - 1}}), Errc::kInvalid);
  EXPECT_EQ(code({kP, 1, static_cast<FileLockType>(3), {0, 5}}), Errc::kInvalid);
  EXPECT_EQ(code({{1, 1, static_cast<FileLockKind>(4)}, 1, kRead, {0, 5}}), Errc::kInvalid);
  EXPECT_TRUE(locks_.empty());
}

}  // namespace
}  // namespace sheen::lock
