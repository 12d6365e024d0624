// Random calls on some files against the model of them: the same outcomes, grants and deadlocks in
// the same order, the same bytes held, and never a circle of waits.
#include <gtest/gtest.h>

#include <memory>

#include "lock/deadlock.h"
#include "unit/lock/file_model.h"
#include "unit/lock/seed.h"

namespace sheen::lock {
namespace {

constexpr size_t kFileCount = 3;

struct Counts {
  size_t granted = 0;
  size_t refused = 0;
  size_t deadlocks = 0;
  size_t broken = 0;  // circles that a grant closed
};

class Rig final {
 public:
  Rig(Random* random, std::vector<FileLockOwner> owners, Counts* counts)
      : random_(random), owners_(std::move(owners)), counts_(counts), model_(kFileCount) {
    for (size_t i = 0; i < kFileCount; ++i) files_.push_back(std::make_unique<FileLocks>(&graph_));
  }

  void Step() {
    file_ = random_->Below(kFileCount);
    const uint64_t choice = random_->Below(20);
    if (choice < 17) {
      Set();
    } else if (choice == 17) {
      Abandon();
    } else if (choice == 18) {
      const FileLockOwner owner = RandomOwner();
      Compare(files_[file_]->ReleaseOwner(owner), model_.ReleaseOwner(file_, owner));
    } else if (random_->OneIn(3)) {
      const uint64_t client = RandomOwner().client;
      Compare(files_[file_]->ReleaseClient(client), model_.ReleaseClient(file_, client));
    }
    if (!testing::Test::HasFatalFailure()) CompareState();
    if (!testing::Test::HasFatalFailure()) CompareTest();
  }

 private:
  FileLockOwner RandomOwner() { return owners_[random_->Below(owners_.size())]; }
  Extent RandomExtent() {
    const uint64_t start = random_->Below(FileModel::kBytes);
    const uint64_t end = start + 1 + random_->Below(8);
    return {start, end > FileModel::kBytes || random_->OneIn(10) ? kEof : end};
  }
  void Set() {
    // Sometimes an owner that waits already asks again, as another thread.
    const FileLockRequest request{.owner = RandomOwner(),
                                  .id = next_id_++,
                                  .type = static_cast<FileLockType>(random_->Below(3)),
                                  .extent = RandomExtent(),
                                  .wait = !random_->OneIn(4) && model_.waiters().size() < 12};
    const FileLockAnswer expected = model_.Set(file_, request);
    const FileLockAnswer actual = files_[file_]->Set(request).value();
    ASSERT_EQ(actual.outcome, expected.outcome);
    counts_->refused += actual.outcome == FileLockOutcome::kRefused;
    counts_->deadlocks += actual.outcome == FileLockOutcome::kDeadlock;
    Compare(actual.changes, expected.changes);
    if (actual.outcome == FileLockOutcome::kWaiting && random_->OneIn(4))
      ASSERT_EQ(files_[file_]->Set(request)->outcome, FileLockOutcome::kWaiting);
  }
  void Abandon() {
    if (model_.waiters().empty()) return;
    const auto& waiters = model_.waiters();
    const FileModel::Waiter waiter = waiters[random_->Below(waiters.size())];
    model_.Abandon(waiter.request.name());
    ASSERT_TRUE(files_[waiter.file]->Abandon(waiter.request.name()));
  }
  void Compare(const FileLockChanges& actual, const FileLockChanges& expected) {
    counts_->granted += actual.granted.size();
    counts_->broken += actual.deadlocked.size();
    ASSERT_EQ(actual.granted, expected.granted);
    ASSERT_EQ(actual.deadlocked, expected.deadlocked);
  }
  void CompareState() {
    size_t waiting = 0;
    for (size_t i = 0; i < kFileCount; ++i) {
      ASSERT_EQ(files_[i]->Held(), model_.Held(i));
      waiting += files_[i]->waiting_count();
    }
    ASSERT_EQ(waiting, model_.waiters().size());
    ASSERT_FALSE(model_.HasCircle());
  }
  void CompareTest() {
    const FileLockOwner owner = RandomOwner();
    const auto type = static_cast<FileLockType>(random_->Below(2));
    Extent extent = RandomExtent();
    const bool flock = owner.kind == FileLockKind::kFlock;
    if (flock) extent = Extent::Whole();
    uint64_t lowest = kEof;
    const std::vector<FileLock> held = model_.Held(file_);
    for (const FileLock& lock : held) {
      if (lock.owner == owner || (lock.owner.kind == FileLockKind::kFlock) != flock) continue;
      if (type == FileLockType::kRead && lock.type == FileLockType::kRead) continue;
      if (lock.extent.Overlaps(extent)) lowest = std::min(lowest, lock.extent.start);
    }
    const auto found = files_[file_]->Test(owner, type, extent).value();
    ASSERT_EQ(found ? found->extent.start : kEof, lowest);
    if (found) ASSERT_TRUE(std::ranges::count(held, *found) == 1) << "not a lock that is held";
  }

  Random* const random_;
  const std::vector<FileLockOwner> owners_;
  Counts* const counts_;
  DeadlockGraph graph_;
  std::vector<std::unique_ptr<FileLocks>> files_;
  FileModel model_;
  size_t file_ = 0;
  uint64_t next_id_ = 1;
};

Counts CompareRuns(const std::vector<FileLockOwner>& owners) {
  Random random(TestSeed());
  Counts counts;
  for (int round = 0; round < 60; ++round) {
    Rig rig(&random, owners, &counts);
    for (int step = 0; step < 200; ++step) {
      rig.Step();
      if (!testing::Test::HasFatalFailure()) continue;
      ADD_FAILURE() << "round " << round << " step " << step;
      return counts;
    }
  }
  EXPECT_GT(counts.granted, 0U);
  EXPECT_GT(counts.refused, 0U);
  return counts;
}

TEST(FileLocksModelTest, ProcessesAndTheirThreadsBehaveAsTheModel) {
  const FileLockKind posix = FileLockKind::kPosix;
  const Counts counts =
      CompareRuns({{1, 10, posix}, {1, 11, posix}, {2, 10, posix}, {3, 10, posix}});
  EXPECT_GT(counts.deadlocks, 0U);
  EXPECT_GT(counts.broken, 0U) << "no grant ever closed a circle";
}

TEST(FileLocksModelTest, AllKindsBehaveAsTheModel) {
  const Counts counts = CompareRuns({{1, 10, FileLockKind::kPosix},
                                     {2, 10, FileLockKind::kPosix},
                                     {1, 10, FileLockKind::kOfd},
                                     {2, 12, FileLockKind::kOfd},
                                     {1, 10, FileLockKind::kFlock},
                                     {2, 10, FileLockKind::kFlock},
                                     {2, 11, FileLockKind::kFlock}});
  EXPECT_GT(counts.deadlocks, 0U);
}

}  // namespace
}  // namespace sheen::lock
