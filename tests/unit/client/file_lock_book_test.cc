#include "client/file_lock_book.h"

#include <gtest/gtest.h>

namespace sheen::client {
namespace {

using lock::Extent;
using lock::FileLockKind;
using lock::FileLockOwner;
using lock::FileLockType;

constexpr Fid kFid{kFirstClientSequence, 7, 0};
constexpr FileLockOwner kProcess{0, 1, FileLockKind::kPosix};
constexpr FileLockOwner kDescription{0, 2, FileLockKind::kPosix};  // OFD, but nobody says so

class FileLockBookTest : public ::testing::Test {
 protected:
  bool Take(const FileLockOwner& owner, uint64_t handle, uint64_t sequence) {
    const lock::FileLock lock{owner, FileLockType::kWrite, {0, 10}, 5};
    const uint64_t generation = book_.generation();
    book_.Begin(kFid, lock, handle);
    const bool taken = book_.Apply(kFid, {lock, sequence}, generation);
    book_.End(kFid, owner);
    return taken;
  }
  FileLockBook book_;
};

TEST_F(FileLockBookTest, AMountWithoutLocksHasNothingToDoAtAClose) {
  EXPECT_FALSE(book_.Concerns(kFid, kProcess));
  EXPECT_TRUE(book_.TakeOwners(kFid, 3).empty());
  EXPECT_FALSE(book_.LettingGo(kFid));
}

TEST_F(FileLockBookTest, AnOwnerConcernsTheMdsWhileItHoldsOrHasSomethingUnderWay) {
  EXPECT_TRUE(Take(kProcess, 3, 1));
  EXPECT_TRUE(book_.Concerns(kFid, kProcess));
  EXPECT_FALSE(book_.Concerns(kFid, kDescription));
  book_.Begin(kFid, {kDescription, FileLockType::kWrite}, 0);
  EXPECT_TRUE(book_.Concerns(kFid, kDescription));
  book_.End(kFid, kDescription);
  EXPECT_FALSE(book_.Concerns(kFid, kDescription));
}

TEST_F(FileLockBookTest, OnlyWhoWasNamedByNoFlushGoesWithItsHandle) {
  EXPECT_TRUE(Take(kProcess, 3, 1));
  EXPECT_TRUE(Take(kDescription, 3, 2));
  book_.OwnerNamed(kFid, kProcess);
  EXPECT_TRUE(book_.TakeOwners(kFid, 4).empty());
  EXPECT_EQ(book_.TakeOwners(kFid, 3), std::vector<FileLockOwner>{kDescription});
  EXPECT_TRUE(book_.TakeOwners(kFid, 3).empty());
}

TEST_F(FileLockBookTest, AnAnswerFromBeforeADeclarationIsNotRecorded) {
  EXPECT_TRUE(Take(kProcess, 0, 1));
  const uint64_t generation = book_.generation();
  const lock::FileLock asked{kDescription, FileLockType::kWrite, {20, 30}, 5};
  book_.Begin(kFid, asked, 0);
  const auto declared = book_.Declare();
  ASSERT_EQ(declared.size(), 1U);
  EXPECT_EQ(declared[0].lock.owner, kProcess);
  EXPECT_FALSE(book_.Apply(kFid, {asked, 2}, generation));
  EXPECT_TRUE(book_.Apply(kFid, {asked, 3}, book_.generation()));
  EXPECT_EQ(book_.Declare().size(), 2U);
}

TEST_F(FileLockBookTest, WhatIsBeingLetGoIsNotDeclared) {
  EXPECT_TRUE(Take(kProcess, 0, 1));
  book_.Begin(kFid, {kProcess, FileLockType::kUnlock}, 0);
  EXPECT_TRUE(book_.Declare().empty());
}

TEST_F(FileLockBookTest, WhatIsLostIsForgotten) {
  EXPECT_TRUE(Take(kProcess, 0, 1));
  book_.Lose(book_.Declare().front());
  EXPECT_TRUE(book_.Declare().empty());
  EXPECT_FALSE(book_.Concerns(kFid, kProcess));
}

TEST_F(FileLockBookTest, BackgroundWorkOnAFileTakesTurns) {
  book_.BeginLetGo(kFid);
  EXPECT_TRUE(book_.LettingGo(kFid));
  EXPECT_TRUE(book_.TryTurn(kFid));
  EXPECT_FALSE(book_.TryTurn(kFid));
  book_.EndTurn(kFid);
  EXPECT_TRUE(book_.TryTurn(kFid));
  book_.EndTurn(kFid);
  book_.EndLetGo(kFid);
  EXPECT_FALSE(book_.LettingGo(kFid));
}

}  // namespace
}  // namespace sheen::client
