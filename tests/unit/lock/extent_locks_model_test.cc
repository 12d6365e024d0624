// Random requests against the table and against the model of it: the same grants in the same order
// with the same extents, the same callbacks, the same state.
#include <gtest/gtest.h>

#include <algorithm>

#include "unit/lock/extent_model.h"
#include "unit/lock/seed.h"

namespace sheen::lock {
namespace {

struct Shape {
  uint64_t owners = 4;
  uint64_t locks_max = 12;
  uint64_t length_max = 12;
  std::vector<Mode> modes{kModes.begin(), kModes.end()};
  uint64_t exact_one_in = 3;
};

class Rig final {
 public:
  Rig(Random* random, const Shape& shape) : random_(random), shape_(shape) {}

  void Step() {
    now_ += Nanos(1 + random_->Below(random_->OneIn(20) ? 5'000'000'000 : 1000));
    const auto& entries = model_.entries();
    const uint64_t choice = random_->Below(20);
    if (entries.size() < shape_.locks_max && choice < 11) {
      Enqueue();
    } else if (choice < 17 && !entries.empty()) {
      Cancel();
    } else if (choice == 17) {
      Convert();
    } else if (choice == 18) {
      Recall();
    } else if (random_->OneIn(4)) {
      CancelOwner();
    }
    if (!testing::Test::HasFatalFailure()) CompareState();
  }

  size_t granted() const { return granted_; }
  size_t passed_by() const { return recalled_grants_; }

 private:
  Extent RandomExtent() {
    const uint64_t start = random_->Below(ExtentModel::kBytes);
    const uint64_t end = start + 1 + random_->Below(shape_.length_max);
    return {start, end > ExtentModel::kBytes || random_->OneIn(12) ? kEof : end};
  }
  Mode RandomMode() { return shape_.modes[random_->Below(shape_.modes.size())]; }

  void Enqueue() {
    ExtentRequest request{.name = {random_->Below(shape_.owners), next_id_++},
                          .mode = RandomMode(),
                          .extent = RandomExtent(),
                          .exact = random_->OneIn(shape_.exact_one_in),
                          .no_wait = random_->OneIn(8)};
    if (request.mode == Mode::kGroup) request.group_id = 1 + random_->Below(2);
    ExtentChanges expected;
    const bool accepted = model_.Enqueue(request, now_, &expected);
    auto result = locks_.Enqueue(request, now_);
    ASSERT_EQ(result.has_value(), accepted);
    if (!accepted) {
      ASSERT_EQ(result.error().code(), Errc::kAgain);
      return;
    }
    // The model lists the request's own grant among the others, in order: put it back there.
    const auto own = std::ranges::find(expected.granted, request.name, &ExtentGrant::name);
    if (own == expected.granted.end()) {
      ASSERT_FALSE(result->grant);
    } else if (result->grant) {
      ASSERT_EQ(*result->grant, *own);
      expected.granted.erase(own);
    }
    CompareChanges(result->changes, expected);
    if (random_->OneIn(4)) Resend(request);
  }
  void Resend(const ExtentRequest& request) {
    const auto again = locks_.Enqueue(request, now_);
    ASSERT_TRUE(again);
    ASSERT_EQ(again->grant, locks_.Find(request.name));
    ASSERT_TRUE(again->changes.granted.empty() && again->changes.callbacks.empty());
  }
  void Cancel() {
    const size_t index = random_->Below(model_.entries().size());
    const LockName name = model_.entries()[index].request.name;
    ExtentChanges expected;
    model_.Cancel(index, now_, &expected);
    CompareChanges(locks_.Cancel(name, now_).value(), expected);
  }
  void Convert() {
    const Mode mode = RandomMode();
    for (size_t i = 0; i < model_.entries().size(); ++i) {
      const ExtentModel::Entry entry = model_.entries()[i];
      if (!entry.granted || !IsNoStronger(mode, entry.mode) || random_->OneIn(2)) continue;
      Extent extent = RandomExtent();
      extent = {std::max(extent.start, entry.extent.start), std::min(extent.end, entry.extent.end)};
      if (!extent.Valid()) continue;
      ExtentChanges expected;
      model_.Convert(i, mode, extent, now_, &expected);
      const auto changes = locks_.Convert(entry.request.name, mode, extent, now_);
      ASSERT_TRUE(changes) << changes.error().ToString();
      return CompareChanges(*changes, expected);
    }
  }
  void Recall() {
    const uint64_t owner = random_->Below(shape_.owners);
    const Mode mode = random_->OneIn(2) ? Mode::kPw : Mode::kPr;
    const Extent extent = RandomExtent();
    ExtentChanges expected;
    model_.Recall(owner, mode, extent, now_, &expected);
    CompareChanges(locks_.Recall(owner, mode, extent, now_), expected);
  }
  void CancelOwner() {
    const uint64_t owner = random_->Below(shape_.owners);
    ExtentChanges expected;
    model_.CancelOwner(owner, now_, &expected);
    CompareChanges(locks_.CancelOwner(owner, now_), expected);
  }

  void CompareChanges(ExtentChanges actual, ExtentChanges expected) {
    granted_ += actual.granted.size();
    recalled_grants_ += std::ranges::count(actual.granted, true, &ExtentGrant::recalled);
    ASSERT_EQ(actual.granted, expected.granted);
    for (ExtentChanges* changes : {&actual, &expected})
      std::ranges::sort(changes->callbacks, {}, &ExtentCallback::name);
    ASSERT_EQ(actual.callbacks.size(), expected.callbacks.size());
    for (size_t i = 0; i < actual.callbacks.size(); ++i)
      ASSERT_EQ(actual.callbacks[i].name, expected.callbacks[i].name);
  }
  void CompareState() {
    size_t waiting = 0;
    for (const ExtentModel::Entry& entry : model_.entries()) {
      waiting += entry.granted ? 0 : 1;
      ASSERT_EQ(locks_.Waits(entry.request.name), !entry.granted);
      const auto found = locks_.Find(entry.request.name);
      ASSERT_EQ(found.has_value(), entry.granted);
      if (found) ASSERT_EQ(*found, entry.AsGrant());
    }
    ASSERT_EQ(locks_.waiting_count(), waiting);
    ASSERT_EQ(locks_.granted_count(), model_.entries().size() - waiting);
    for (uint64_t i = 0; i <= ExtentModel::kBytes; ++i) CheckByte(i);
  }
  // No byte has two locks of different owners that exclude each other.
  void CheckByte(uint64_t at) {
    std::vector<ExtentGrant> here;
    for (const ExtentModel::Entry& entry : model_.entries()) {
      const auto lock = locks_.Find(entry.request.name);
      if (lock && lock->extent.Overlaps({at, at + 1})) here.push_back(*lock);
    }
    for (const ExtentGrant& a : here) {
      for (const ExtentGrant& b : here) {
        if (a.name.owner == b.name.owner) continue;
        ASSERT_TRUE(Compatible(a.mode, b.mode, a.group_id == b.group_id)) << "byte " << at;
      }
    }
  }

  Random* const random_;
  const Shape shape_;
  ExtentLocks locks_;
  ExtentModel model_;
  Nanos now_{1'000'000'000'000};
  uint64_t next_id_ = 1;
  size_t granted_ = 0;
  size_t recalled_grants_ = 0;
};

void CompareRuns(const Shape& shape, int rounds, int steps) {
  Random random(TestSeed());
  size_t granted = 0;
  size_t recalled = 0;
  for (int round = 0; round < rounds; ++round) {
    Rig rig(&random, shape);
    for (int step = 0; step < steps; ++step) {
      rig.Step();
      ASSERT_FALSE(testing::Test::HasFatalFailure()) << "round " << round << " step " << step;
    }
    granted += rig.granted();
    recalled += rig.passed_by();
  }
  EXPECT_GT(granted, 0U) << "nothing ever waited";
  EXPECT_GT(recalled, 0U) << "no grant was ever in a waiter's way";
}

TEST(ExtentLocksModelTest, AllModesBehaveAsTheModel) { CompareRuns({}, 60, 200); }

TEST(ExtentLocksModelTest, ReadersAndOneKindOfWriterBehaveAsTheModel) {
  CompareRuns({.owners = 3, .length_max = 6, .modes = {Mode::kPr, Mode::kPw}, .exact_one_in = 10},
              60, 200);
}

TEST(ExtentLocksModelTest, ManyReadersOfOneWriterBehaveAsTheModel) {
  CompareRuns({.owners = 40,
               .locks_max = 60,
               .length_max = 3,
               .modes = {Mode::kPr, Mode::kPr, Mode::kPr, Mode::kPr, Mode::kPw},
               .exact_one_in = 2},
              10, 300);
}

TEST(ExtentLocksModelTest, GroupsBehaveAsTheModel) {
  CompareRuns({.owners = 3, .modes = {Mode::kGroup, Mode::kGroup, Mode::kPr, Mode::kPw}}, 60, 200);
}

}  // namespace
}  // namespace sheen::lock
