// Circles of waits, over files, clients and threads.
#include "lock/deadlock.h"

#include <gtest/gtest.h>

#include <memory>

namespace sheen::lock {
namespace {

using Outcome = FileLockOutcome;
using Names = std::vector<FileLockRequestName>;

class DeadlockTest : public testing::Test {
 protected:
  // Processes of different clients.
  static FileLockOwner Process(uint64_t number, FileLockKind kind = FileLockKind::kPosix) {
    return {number, 1000 + number, kind};
  }
  FileLockAnswer Ask(FileLocks* file, FileLockOwner owner, FileLockType type, Extent extent = {}) {
    return file->Set({owner, next_id_++, type, extent, 1, true}).value();
  }
  Outcome Write(FileLocks* file, uint64_t process, Extent extent = {}) {
    return Ask(file, Process(process), FileLockType::kWrite, extent).outcome;
  }

  DeadlockGraph graph_;
  FileLocks a_{&graph_};
  FileLocks b_{&graph_};
  FileLocks c_{&graph_};
  uint64_t next_id_ = 1;
};

TEST_F(DeadlockTest, TwoProcessesAndTwoFiles) {
  Write(&a_, 1);
  Write(&b_, 2);
  EXPECT_EQ(Write(&b_, 1), Outcome::kWaiting);
  EXPECT_EQ(Write(&a_, 2), Outcome::kDeadlock);
  EXPECT_EQ(a_.waiting_count(), 0U);
  EXPECT_EQ(a_.Held().size(), 1U) << "what was held stays";
  EXPECT_EQ(Ask(&b_, Process(2), FileLockType::kUnlock).changes.granted.size(), 1U);
}

TEST_F(DeadlockTest, TwoRangesOfOneFile) {
  Write(&a_, 1, {0, 10});
  Write(&a_, 2, {10, 20});
  EXPECT_EQ(Write(&a_, 1, {10, 11}), Outcome::kWaiting);
  EXPECT_EQ(Write(&a_, 2, {9, 10}), Outcome::kDeadlock);
}

TEST_F(DeadlockTest, TwoReadersThatBothWantToWrite) {
  Ask(&a_, Process(1), FileLockType::kRead);
  Ask(&a_, Process(2), FileLockType::kRead);
  EXPECT_EQ(Write(&a_, 1), Outcome::kWaiting);
  EXPECT_EQ(Write(&a_, 2), Outcome::kDeadlock);
}

TEST_F(DeadlockTest, ThreeInACircle) {
  Write(&a_, 1);
  Write(&b_, 2);
  Write(&c_, 3);
  EXPECT_EQ(Write(&b_, 1), Outcome::kWaiting);
  EXPECT_EQ(Write(&c_, 2), Outcome::kWaiting);
  EXPECT_EQ(Write(&a_, 3), Outcome::kDeadlock);
}

TEST_F(DeadlockTest, OneOfSeveralHoldersIsEnough) {
  Ask(&a_, Process(1), FileLockType::kRead);
  Ask(&a_, Process(2), FileLockType::kRead);
  Write(&b_, 3);
  EXPECT_EQ(Write(&b_, 2), Outcome::kWaiting);
  EXPECT_EQ(Write(&a_, 3), Outcome::kDeadlock);
}

TEST_F(DeadlockTest, AChainIsNoCircle) {
  Write(&a_, 1);
  for (uint64_t process = 2; process < 100; ++process)
    EXPECT_EQ(Write(&a_, process), Outcome::kWaiting);
  EXPECT_EQ(Write(&b_, 50), Outcome::kGranted);
  EXPECT_EQ(Write(&b_, 1), Outcome::kDeadlock) << "50 waits for 1";
}

TEST_F(DeadlockTest, AWaitThatEndedIsNoEdge) {
  Write(&a_, 1);
  Write(&b_, 2);
  const uint64_t id = next_id_;
  EXPECT_EQ(Write(&b_, 1), Outcome::kWaiting);
  EXPECT_TRUE(b_.Abandon({1, id}));
  EXPECT_EQ(Write(&a_, 2), Outcome::kWaiting);
  EXPECT_EQ(Write(&b_, 1), Outcome::kDeadlock);
}

TEST_F(DeadlockTest, FlockIsNotLookedAt) {
  const auto write = [this](FileLocks* file, uint64_t process) {
    return Ask(file, Process(process, FileLockKind::kFlock), FileLockType::kWrite).outcome;
  };
  write(&a_, 1);
  write(&b_, 2);
  EXPECT_EQ(write(&b_, 1), Outcome::kWaiting);
  EXPECT_EQ(write(&a_, 2), Outcome::kWaiting);
  EXPECT_TRUE(graph_.empty());
}

TEST_F(DeadlockTest, OfdLocksAreNotLookedAt) {
  const auto write = [this](FileLocks* file, uint64_t process, FileLockKind kind) {
    return Ask(file, Process(process, kind), FileLockType::kWrite).outcome;
  };
  write(&a_, 1, FileLockKind::kOfd);
  write(&b_, 2, FileLockKind::kPosix);
  EXPECT_EQ(write(&b_, 1, FileLockKind::kOfd), Outcome::kWaiting);
  EXPECT_EQ(write(&a_, 2, FileLockKind::kPosix), Outcome::kWaiting);
}

TEST_F(DeadlockTest, ALockOfAnotherThreadCanCloseACircle) {
  Ask(&a_, Process(1), FileLockType::kRead);
  Write(&b_, 2);
  EXPECT_EQ(Write(&b_, 3), Outcome::kWaiting);  // 3, one thread: for 2
  const uint64_t id = next_id_;
  EXPECT_EQ(Write(&a_, 2), Outcome::kWaiting);  // 2: for 1
  // 3, another thread, gets what 2 has to wait for from now on: 2 -> 3 -> 2.
  const FileLockAnswer answer = Ask(&a_, Process(3), FileLockType::kRead);
  EXPECT_EQ(answer.outcome, Outcome::kGranted);
  EXPECT_EQ(answer.changes.deadlocked, (Names{{2, id}}));
  EXPECT_EQ(a_.waiting_count(), 0U);
}

TEST_F(DeadlockTest, AFileThatGoesLeavesNoWaits) {
  auto file = std::make_unique<FileLocks>(&graph_);
  Write(file.get(), 1);
  Write(file.get(), 2);
  EXPECT_TRUE(graph_.IsWaiting(Process(2)));
  file.reset();
  EXPECT_TRUE(graph_.empty());
}

TEST_F(DeadlockTest, TheEndOfAClientBreaksItsChains) {
  Write(&a_, 1);
  Write(&b_, 2);
  EXPECT_EQ(Write(&b_, 1), Outcome::kWaiting);
  a_.ReleaseClient(1);
  b_.ReleaseClient(1);
  EXPECT_EQ(Write(&a_, 2), Outcome::kGranted);
  EXPECT_TRUE(graph_.empty());
}

}  // namespace
}  // namespace sheen::lock
