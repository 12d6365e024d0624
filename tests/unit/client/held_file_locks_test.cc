#include "client/held_file_locks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>

#include "base/random.h"

namespace sheen::client {
namespace {

using lock::Extent;
using lock::FileLock;
using lock::FileLockKind;
using lock::FileLockOwner;
using lock::FileLockType;

constexpr FileLockOwner kOwner{0, 1, FileLockKind::kPosix};
constexpr FileLockOwner kFlockOwner{0, 1, FileLockKind::kFlock};

std::string Text(const std::vector<FileLock>& locks) {
  std::string text;
  for (const FileLock& lock : locks) {
    text += std::string(1, "rwu"[static_cast<int>(lock.type)]) + "[" +
            std::to_string(lock.extent.start) + "," +
            (lock.extent.end == lock::kEof ? "eof" : std::to_string(lock.extent.end)) + ") ";
  }
  return text;
}

void Apply(HeldFileLocks* held, FileLockType type, Extent extent, uint64_t sequence) {
  held->Apply({{kOwner, type, extent, 0}, sequence});
}

TEST(HeldFileLocksTest, SplitsAndMergesLikeFcntl) {
  HeldFileLocks held;
  Apply(&held, FileLockType::kWrite, Extent::Whole(), 1);
  Apply(&held, FileLockType::kUnlock, {10, 20}, 2);
  Apply(&held, FileLockType::kRead, {30, 40}, 3);
  EXPECT_EQ(Text(held.All()), "w[0,10) w[20,30) r[30,40) w[40,eof) ");
  EXPECT_EQ(Text(held.PiecesIn(kOwner, {5, 35})), "w[5,10) u[10,20) w[20,30) r[30,35) ");
  Apply(&held, FileLockType::kWrite, {10, 20}, 4);
  held.Settle(kOwner);
  EXPECT_EQ(Text(held.All()), "w[0,30) r[30,40) w[40,eof) ");
  Apply(&held, FileLockType::kUnlock, Extent::Whole(), 5);
  EXPECT_FALSE(held.Holds(kOwner));
  held.Settle(kOwner);
  EXPECT_TRUE(held.empty());
}

TEST(HeldFileLocksTest, AnAnswerThatWasOvertakenByALaterUnlockBringsNothingBack) {
  HeldFileLocks held;
  Apply(&held, FileLockType::kUnlock, {0, 10}, 7);
  Apply(&held, FileLockType::kWrite, {0, 20}, 6);
  EXPECT_EQ(Text(held.All()), "w[10,20) ");
  held.Settle(kOwner);
  EXPECT_EQ(Text(held.All()), "w[10,20) ");
}

TEST(HeldFileLocksTest, WhatARequestMayTakeAwayIsNotHeldFromItsLeavingOn) {
  HeldFileLocks held;
  Apply(&held, FileLockType::kWrite, {0, 30}, 1);
  held.Weaken({kOwner, FileLockType::kUnlock, {10, 20}});
  EXPECT_EQ(Text(held.All()), "w[0,10) w[20,30) ");
  held.Weaken({kOwner, FileLockType::kRead, {5, 40}});
  EXPECT_EQ(Text(held.All()), "w[0,5) r[5,10) r[20,30) ");
  held.Weaken({kOwner, FileLockType::kWrite, {5, 40}});
  EXPECT_EQ(Text(held.All()), "w[0,5) r[5,10) r[20,30) ") << "a refusal would leave it";
}

TEST(HeldFileLocksTest, FlockLetsGoOfAReadLockForAWriteLockAndOtherwiseNot) {
  HeldFileLocks held;
  held.Apply({{kFlockOwner, FileLockType::kWrite, Extent::Whole(), 0}, 1});
  held.Weaken({kFlockOwner, FileLockType::kWrite, Extent::Whole()});
  EXPECT_EQ(Text(held.All()), "w[0,eof) ");
  held.Weaken({kFlockOwner, FileLockType::kRead, Extent::Whole()});
  EXPECT_EQ(Text(held.All()), "r[0,eof) ");
  held.Weaken({kFlockOwner, FileLockType::kWrite, Extent::Whole()});
  EXPECT_EQ(Text(held.All()), "");
}

TEST(HeldFileLocksTest, OwnersAreApart) {
  HeldFileLocks held;
  Apply(&held, FileLockType::kWrite, {0, 10}, 1);
  held.Apply({{kFlockOwner, FileLockType::kRead, Extent::Whole(), 0}, 2});
  held.Lose({kFlockOwner, FileLockType::kRead, Extent::Whole()});
  EXPECT_TRUE(held.Holds(kOwner));
  EXPECT_FALSE(held.Holds(kFlockOwner));
}

// In whatever order answers come, what is held is what the changes in their order make.
TEST(HeldFileLocksTest, RandomChangesInAnyOrderAgainstBytes) {
  constexpr uint64_t kBytes = 24;
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64() >> 16;
  std::printf("SHEEN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  Random random(seed);
  for (int round = 0; round < 2000; ++round) {
    std::vector<HeldFileLocks::Change> changes;
    std::vector<FileLockType> bytes(kBytes, FileLockType::kUnlock);
    for (uint64_t sequence = 1; sequence <= 1 + random.Below(12); ++sequence) {
      const uint64_t start = random.Below(kBytes);
      const Extent extent{start, start + 1 + random.Below(kBytes - start)};
      const auto type = static_cast<FileLockType>(random.Below(3));
      changes.push_back({{kOwner, type, extent, 0}, sequence});
      for (uint64_t i = extent.start; i < extent.end; ++i) bytes[i] = type;
    }
    for (size_t i = changes.size(); i > 1; --i) std::swap(changes[i - 1], changes[random.Below(i)]);
    HeldFileLocks held;
    for (const auto& change : changes) held.Apply(change);
    if (random.Below(2) == 0) held.Settle(kOwner);
    uint64_t covered = 0;
    for (const FileLock& piece : held.PiecesIn(kOwner, {0, kBytes})) {
      ASSERT_EQ(piece.extent.start, covered);
      covered = piece.extent.end;
      for (uint64_t i = piece.extent.start; i < piece.extent.end; ++i)
        ASSERT_EQ(piece.type, bytes[i]) << "byte " << i << ", round " << round;
    }
    ASSERT_EQ(covered, kBytes);
  }
}

}  // namespace
}  // namespace sheen::client
