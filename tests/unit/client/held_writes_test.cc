#include "client/held_writes.h"

#include <gtest/gtest.h>

#include <string>

namespace sheen::client {
namespace {

using lock::Extent;

constexpr uint64_t kMiB = 1 << 20;
constexpr Nanos kNow = std::chrono::seconds(100);

class HeldWritesTest : public ::testing::Test {
 protected:
  HeldWritesTest() {
    grants_.Add(0, 32 * kMiB);
    held_.NoteWriteThrough();
    held_.NoteWriteThrough();
    EXPECT_TRUE(held_.BeginAsk(LockOf(1), kNow));
    EXPECT_TRUE(held_.EndAsk(1, Extent{0, lock::kEof}, kNow));
  }
  static ExtentLock LockOf(uint64_t id) {
    ExtentLock lock;
    lock.id = id;
    return lock;
  }
  HeldWrites::Offer Take(uint64_t offset, std::string_view data) {
    HeldPart part;
    part.file_offset = part.object_offset = offset;
    part.window = window_;
    part.bytes = AsBytes(data);
    return held_.Take({part}, 5, kNow, &grants_, &budget_, &full_);
  }

  uint64_t window_ = HeldWrites::kChunkBytes;
  GrantPool grants_;
  HeldBudget budget_;
  HeldWrites held_;
  std::vector<HeldChunkPtr> full_;
};

using Offer = HeldWrites::Offer;

TEST_F(HeldWritesTest, ALockIsForTheObjectThatItWasAskedFor) {
  HeldPart part;
  part.bytes = AsBytes("x");
  part.window = HeldWrites::kChunkBytes;
  part.birth = 9;
  EXPECT_EQ(held_.Take({part}, 5, kNow, &grants_, &budget_, &full_), Offer::kPass)
      << "another object in its place";
  ExtentLock lock = LockOf(2);
  lock.object.birth = 9;
  EXPECT_TRUE(held_.BeginAsk(lock, kNow)) << "the old one's lock is not in the way";
  EXPECT_TRUE(held_.EndAsk(2, Extent{0, lock::kEof}, kNow));
  EXPECT_EQ(held_.Take({part}, 5, kNow, &grants_, &budget_, &full_), Offer::kTaken);
}

TEST_F(HeldWritesTest, NothingIsTakenWhileTheLayoutIsNotKnown) {
  held_.Allow(false);
  EXPECT_EQ(Take(0, "x"), Offer::kPass);
  held_.Allow(true);
  EXPECT_EQ(Take(0, "x"), Offer::kTaken);
}

TEST_F(HeldWritesTest, NeighboursShareAChunkUntilItIsFull) {
  const std::string quarter(HeldWrites::kChunkBytes / 4, 'q');
  for (uint64_t i = 0; i < 4; ++i) {
    EXPECT_TRUE(full_.empty());
    EXPECT_EQ(Take(i * quarter.size(), quarter), Offer::kTaken);
  }
  ASSERT_EQ(full_.size(), 1U);
  EXPECT_EQ(full_[0]->size, HeldWrites::kChunkBytes);
  EXPECT_EQ(budget_.bytes.load(), HeldWrites::kChunkBytes);
  EXPECT_EQ(grants_.Have(0), 32 * kMiB - HeldWrites::kChunkBytes);
  EXPECT_TRUE(held_.HasUpTo(held_.last_sequence()));
  held_.End(full_[0], {}, &budget_);
  EXPECT_FALSE(held_.any());
  EXPECT_EQ(budget_.bytes.load(), 0U);
}

TEST_F(HeldWritesTest, WhereBytesMayBeInS3AChunkIsABlockOfResidency) {
  window_ = HeldWrites::kAbsentChunkBytes;
  const std::string half(kMiB / 2, 'h');
  EXPECT_EQ(Take(kMiB, half), Offer::kTaken);
  EXPECT_TRUE(full_.empty());
  EXPECT_EQ(Take(kMiB + half.size(), half), Offer::kTaken);
  ASSERT_EQ(full_.size(), 1U);
  EXPECT_EQ(full_[0]->file_offset, kMiB);
  EXPECT_EQ(full_[0]->size, kMiB);
}

TEST_F(HeldWritesTest, WhatOverlapsWaits) {
  EXPECT_EQ(Take(1000, "old"), Offer::kTaken);
  EXPECT_EQ(Take(1002, "new"), Offer::kWait);
  EXPECT_EQ(Take(999, "xx"), Offer::kWait);
  EXPECT_EQ(Take(997, "xxx"), Offer::kTaken);
  EXPECT_EQ(Take(1003, "behind"), Offer::kTaken);
  const auto begun = held_.Begin(Nanos::max());
  EXPECT_EQ(begun.size(), 2U);
  // Being written: nothing is added to it.
  EXPECT_EQ(Take(1009, "more"), Offer::kTaken);
  EXPECT_EQ(held_.Begin(Nanos::max()).size(), 1U);
}

TEST_F(HeldWritesTest, NothingIsHeldWithoutALockOrSpace) {
  const auto kept = grants_.TakeUpTo(0, UINT64_MAX);
  EXPECT_EQ(Take(0, "x"), Offer::kPass);
  grants_.Add(0, kept);
  EXPECT_EQ(Take(0, "x"), Offer::kTaken);
  EXPECT_EQ(held_.Callback(1, kNow), HeldWrites::Called::kFlush);
  EXPECT_EQ(Take(5000, "x"), Offer::kPass);
  held_.EndLock(1);
  // Others wanted it a moment ago.
  EXPECT_FALSE(held_.BeginAsk(LockOf(2), kNow));
  EXPECT_TRUE(held_.BeginAsk(LockOf(3), kNow + HeldWrites::kContended));
}

TEST_F(HeldWritesTest, ALockCalledBackBeforeItsGrantIsNone) {
  held_.EndLock(1);
  EXPECT_TRUE(held_.BeginAsk(LockOf(2), kNow));
  EXPECT_EQ(held_.Callback(2, kNow), HeldWrites::Called::kGone);
  EXPECT_FALSE(held_.EndAsk(2, Extent{0, 100}, kNow));
  EXPECT_EQ(Take(0, "x"), Offer::kPass);
}

TEST_F(HeldWritesTest, AnErrorIsToldOnceAndNothingIsHeldUntilThen) {
  EXPECT_EQ(Take(0, "x"), Offer::kTaken);
  const auto begun = held_.Begin(Nanos::max());
  held_.End(begun[0], Fail(Errc::kIo, "disk"), &budget_);
  EXPECT_EQ(Take(0, "x"), Offer::kPass);
  const auto error = held_.TakeError();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code(), Errc::kIo);
  EXPECT_FALSE(held_.TakeError());
  EXPECT_EQ(Take(0, "x"), Offer::kTaken);
  const auto lost = held_.LoseLock(1, Error(Errc::kLockLost), &budget_, nullptr);
  ASSERT_EQ(lost.size(), 1U);
  EXPECT_EQ(lost[0]->lock, 1U);
  EXPECT_FALSE(held_.any());
  EXPECT_EQ(held_.TakeError()->code(), Errc::kLockLost);
  EXPECT_EQ(budget_.bytes.load(), 0U);
}

TEST_F(HeldWritesTest, AFilesFirstCallAsksForNoLock) {
  HeldWrites fresh;
  fresh.NoteWriteThrough();
  EXPECT_FALSE(fresh.BeginAsk(LockOf(1), kNow));
  fresh.NoteWriteThrough();
  EXPECT_TRUE(fresh.BeginAsk(LockOf(1), kNow));
  EXPECT_FALSE(fresh.BeginAsk(LockOf(2), kNow)) << "one is under way";
}

TEST_F(HeldWritesTest, AFileHoldsSoMuchAndNoMore) {
  const std::string chunk(HeldWrites::kChunkBytes, 'c');
  uint64_t offset = 0;
  while (Take(offset, chunk) == Offer::kTaken) offset += chunk.size();
  EXPECT_EQ(offset, HeldWrites::kFileBytesMax);
  EXPECT_EQ(Take(offset, chunk), Offer::kWait);
  held_.End(full_[0], {}, &budget_);
  EXPECT_EQ(Take(offset, chunk), Offer::kTaken);
}

}  // namespace
}  // namespace sheen::client
