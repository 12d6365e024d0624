#include "oss/uncommitted.h"

#include <gtest/gtest.h>

namespace sheen::oss {
namespace {

constexpr uint64_t kAlice = 1;
constexpr uint64_t kBob = 2;
const ObjectKey kObject{0, {Fid{7, 1, 0}, 5, 0}};

class UncommittedTest : public ::testing::Test {
 protected:
  // Who is refused does not wait.
  Uncommitted::Answer Begin(uint64_t session, lock::Extent extent, uint64_t committed = 0) {
    id_ = 0;
    const Uncommitted::Answer answer = ranges_.Begin(kObject, session, extent, committed, &id_);
    if (answer != Uncommitted::Answer::kGoOn) ranges_.End(kObject, id_, 0);
    return answer;
  }
  void Change(uint64_t session, lock::Extent extent, uint64_t transno) {
    ASSERT_EQ(Begin(session, extent), Uncommitted::Answer::kGoOn);
    ranges_.End(kObject, id_, transno);
  }
  Uncommitted ranges_;
  uint64_t id_ = 0;
};

TEST_F(UncommittedTest, OthersBytesAreCommittedFirstOwnOnesAreNot) {
  Change(kAlice, {0, 100}, 5);
  EXPECT_EQ(Begin(kAlice, {50, 60}), Uncommitted::Answer::kGoOn);
  EXPECT_EQ(Begin(kBob, {100, 200}), Uncommitted::Answer::kGoOn);
  EXPECT_EQ(Begin(kBob, {99, 100}, 4), Uncommitted::Answer::kCommit);
}

TEST_F(UncommittedTest, WhatIsCommittedIsInNobodysWay) {
  Change(kAlice, {0, 100}, 5);
  EXPECT_EQ(Begin(kBob, {0, 100}, 5), Uncommitted::Answer::kGoOn);
}

TEST_F(UncommittedTest, AChangeUnderWayIsWaitedFor) {
  EXPECT_EQ(Begin(kAlice, {0, 100}), Uncommitted::Answer::kGoOn);
  const uint64_t running = id_;
  EXPECT_EQ(Begin(kBob, {10, 20}, 1000), Uncommitted::Answer::kWait);
  ranges_.End(kObject, running, 0);  // it was not made after all
  EXPECT_EQ(Begin(kBob, {10, 20}), Uncommitted::Answer::kGoOn);
}

TEST_F(UncommittedTest, AStreamIsOneRangeAndItsEndCounts) {
  for (uint64_t i = 0; i < 100; ++i) Change(kAlice, {i * 10, i * 10 + 10}, i + 1);
  EXPECT_EQ(ranges_.size(), 1U);
  // Of the newest number: the first bytes are taken for uncommitted with the last.
  EXPECT_EQ(Begin(kBob, {0, 1}, 99), Uncommitted::Answer::kCommit);
  ranges_.Committed(0, 100);
  EXPECT_EQ(ranges_.size(), 0U);
}

TEST_F(UncommittedTest, ManyScatteredRangesAreBoundedAndNoneIsForgotten) {
  const uint64_t count = Uncommitted::kRangesMax * 3;
  for (uint64_t i = 0; i < count; ++i) Change(kAlice, {i * 100, i * 100 + 1}, i + 1);
  EXPECT_LE(ranges_.size(), Uncommitted::kRangesMax + 1);
  for (uint64_t i = 0; i < count; i += 17) {
    EXPECT_EQ(Begin(kBob, {i * 100, i * 100 + 1}), Uncommitted::Answer::kCommit) << i;
  }
}

// A change of all of an object takes its turn before writers that come after it.
TEST_F(UncommittedTest, SteadyWritersLetAWaitingChangePass) {
  ASSERT_EQ(Begin(kAlice, {0, 100}), Uncommitted::Answer::kGoOn);
  const uint64_t first = id_;
  uint64_t truncate = 0;
  ASSERT_EQ(ranges_.Begin(kObject, kBob, lock::Extent::Whole(), 0, &truncate),
            Uncommitted::Answer::kWait);
  // Another client's next write waits behind it, and its own writes do as well.
  EXPECT_EQ(Begin(kAlice, {200, 300}), Uncommitted::Answer::kWait);
  ranges_.End(kObject, first, 7);
  EXPECT_EQ(ranges_.Begin(kObject, kBob, lock::Extent::Whole(), 6, &truncate),
            Uncommitted::Answer::kCommit);
  EXPECT_EQ(Begin(kAlice, {0, 100}, 6), Uncommitted::Answer::kWait);
  EXPECT_EQ(ranges_.Begin(kObject, kBob, lock::Extent::Whole(), 7, &truncate),
            Uncommitted::Answer::kGoOn);
  EXPECT_EQ(Begin(kAlice, {0, 100}, 7), Uncommitted::Answer::kWait);
  ranges_.End(kObject, truncate, 8);
  EXPECT_EQ(Begin(kAlice, {0, 100}, 7), Uncommitted::Answer::kCommit);
  EXPECT_EQ(Begin(kAlice, {0, 100}, 8), Uncommitted::Answer::kGoOn);
}

TEST_F(UncommittedTest, WhoGivesUpWaitingIsInNobodysWay) {
  ASSERT_EQ(Begin(kAlice, {0, 100}), Uncommitted::Answer::kGoOn);
  uint64_t waiting = 0;
  ASSERT_EQ(ranges_.Begin(kObject, kBob, lock::Extent::Whole(), 0, &waiting),
            Uncommitted::Answer::kWait);
  ranges_.End(kObject, waiting, 0);
  EXPECT_EQ(Begin(kAlice, {200, 300}), Uncommitted::Answer::kGoOn);
}

}  // namespace
}  // namespace sheen::oss
