#include "lock/interval_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "unit/lock/seed.h"

namespace sheen::lock {
namespace {

std::vector<uint64_t> Found(const IntervalTree& tree, Extent extent,
                            IntervalTree::NotOf not_of = {}) {
  std::vector<uint64_t> found;
  tree.Visit(extent, not_of, [&found](IntervalItem* item) {
    found.push_back(item->sequence);
    return false;
  });
  return found;
}

TEST(ExtentTest, InclusiveEndsConvertBothWays) {
  EXPECT_EQ(Extent::FromInclusive(0, 9), (Extent{0, 10}));
  EXPECT_EQ(Extent::FromInclusive(5, kLastByteMax), (Extent{5, kEof}));
  EXPECT_EQ(Extent::FromInclusive(5, UINT64_MAX), (Extent{5, kEof}));
  EXPECT_EQ((Extent{0, 10}).LastByte(), 9U);
  EXPECT_EQ(Extent::Whole().LastByte(), kLastByteMax);
}

TEST(ExtentTest, EmptyAndImpossibleRangesAreNotValid) {
  EXPECT_TRUE(Extent::Whole().Valid());
  EXPECT_TRUE((Extent{kLastByteMax, kEof}).Valid());
  EXPECT_TRUE((Extent{0, 1}).Valid());
  EXPECT_FALSE((Extent{1, 1}).Valid());
  EXPECT_FALSE((Extent{2, 1}).Valid());
  EXPECT_FALSE((Extent{kLastByteMax + 1, kEof}).Valid());
  EXPECT_FALSE((Extent{0, kEof - 1}).Valid());
  EXPECT_FALSE((Extent{kEof, kEof}).Valid());
}

TEST(IntervalTreeTest, TouchingIsNotOverlapping) {
  IntervalTree tree;
  IntervalItem item{{10, 20}, 1, 1};
  tree.Insert(&item);
  EXPECT_TRUE(Found(tree, {0, 10}).empty());
  EXPECT_TRUE(Found(tree, {20, kEof}).empty());
  EXPECT_EQ(Found(tree, {19, 20}).size(), 1U);
  EXPECT_EQ(Found(tree, {10, 11}).size(), 1U);
  EXPECT_TRUE(Found(tree, {10, 11}, 1).empty());
  EXPECT_EQ(tree.NextStart(10, {}), 10U);
  EXPECT_EQ(tree.NextStart(11, {}), kEof);
  EXPECT_EQ(tree.NextStart(0, 1), kEof);
}

// The fewest items with which an AVL tree is so high.
size_t FewestItems(int height) {
  return height <= 0 ? 0 : 1 + FewestItems(height - 1) + FewestItems(height - 2);
}

// Everything that the tree answers, against a walk over all items.
void Compare(const IntervalTree& tree, const std::map<uint64_t, IntervalItem>& items,
             Random* random) {
  const uint64_t start = random->Below(100);
  const Extent range{start, random->OneIn(5) ? kEof : start + 1 + random->Below(30)};
  const IntervalTree::NotOf not_of =
      random->OneIn(2) ? IntervalTree::NotOf() : IntervalTree::NotOf(random->Below(3));
  std::map<std::pair<uint64_t, uint64_t>, uint64_t> overlapping;
  std::vector<uint64_t> above;
  uint64_t next = kEof;
  for (const auto& [sequence, item] : items) {
    if (item.extent.end > start) above.push_back(sequence);
    if (not_of == item.owner) continue;
    if (item.extent.start >= start) next = std::min(next, item.extent.start);
    if (item.extent.Overlaps(range)) overlapping[{item.extent.start, sequence}] = sequence;
  }
  std::vector<uint64_t> expected;
  for (const auto& [key, sequence] : overlapping) expected.push_back(sequence);
  ASSERT_EQ(Found(tree, range, not_of), expected);
  ASSERT_EQ(tree.NextStart(start, not_of), next);
  std::vector<uint64_t> down;
  uint64_t last_start = kEof;
  tree.VisitDown(start, [&](IntervalItem* item) {
    EXPECT_LE(item->extent.start, last_start);
    last_start = item->extent.start;
    down.push_back(item->sequence);
    return false;
  });
  std::ranges::sort(down);
  ASSERT_EQ(down, above);
}

TEST(IntervalTreeTest, AnswersAsAListWouldAfterAnyChanges) {
  Random random(TestSeed());
  for (int round = 0; round < 30; ++round) {
    IntervalTree tree;
    std::map<uint64_t, IntervalItem> items;
    for (uint64_t step = 0; step < 300; ++step) {
      if (items.empty() || !random.OneIn(3)) {
        const uint64_t start = random.Below(100);
        const uint64_t end = random.OneIn(8) ? kEof : start + 1 + random.Below(20);
        IntervalItem& item = items[step] = {{start, end}, random.Below(3), step};
        tree.Insert(&item);
      } else {
        auto victim = items.begin();
        std::advance(victim, random.Below(items.size()));
        tree.Erase(victim->second);
        items.erase(victim);
      }
      ASSERT_EQ(tree.size(), items.size());
      ASSERT_LE(FewestItems(tree.height()), tree.size()) << "not balanced";
      Compare(tree, items, &random);
      if (HasFatalFailure()) return;
    }
  }
}

TEST(IntervalTreeTest, VisitStopsWhenTheVisitorSaysSo) {
  IntervalTree tree;
  std::vector<IntervalItem> items;
  for (uint64_t i = 0; i < 100; ++i) items.push_back({{i, i + 10}, 1, i});
  for (IntervalItem& item : items) tree.Insert(&item);
  int calls = 0;
  EXPECT_TRUE(tree.Visit(Extent::Whole(), {}, [&calls](IntervalItem*) { return ++calls == 3; }));
  EXPECT_EQ(calls, 3);
  EXPECT_TRUE(tree.VisitDown(0, [&calls](IntervalItem*) { return ++calls == 5; }));
  EXPECT_EQ(calls, 5);
}

// 1.44 log2(n) is the height of an AVL tree; a search for one that is there, or the next one, looks
// at a path and at the children beside it.
TEST(IntervalTreeTest, SearchesLookAtLogarithmicallyManyNodesInWhateverOrderTheyCame) {
  constexpr uint64_t kCount = 1 << 15;
  const auto levels = static_cast<uint64_t>(1.45 * std::log2(kCount)) + 2;
  using Order = uint64_t (*)(uint64_t);
  const Order rising = [](uint64_t i) { return i; };
  const Order falling = [](uint64_t i) { return kCount - 1 - i; };
  const Order inwards = [](uint64_t i) { return i % 2 == 0 ? i / 2 : kCount - 1 - i / 2; };
  const Order outwards = [](uint64_t i) {
    return i % 2 == 0 ? kCount / 2 + i / 2 : kCount / 2 - 1 - i / 2;
  };
  for (const Order order : {rising, falling, inwards, outwards}) {
    std::vector<IntervalItem> items(kCount);
    IntervalTree tree;
    uint64_t steps = 0;
    const auto count = [&] {
      EXPECT_LE(tree.steps() - steps, 2 * levels);
      steps = tree.steps();
    };
    for (uint64_t i = 0; i < kCount; ++i) {
      const uint64_t start = order(i) * 10;
      items[i] = {{start, start + 10}, i % 2, i};
      tree.Insert(&items[i]);
      count();
    }
    for (uint64_t i = 0; i < kCount; i += 97) {
      const uint64_t start = items[i].extent.start;
      ASSERT_EQ(Found(tree, {start + 3, start + 4}), std::vector<uint64_t>{i});
      count();
      tree.NextStart(start + 1, 0);
      count();
      tree.Erase(items[i]);
      count();
    }
  }
}

TEST(IntervalTreeTest, ManyExtentsOfOneOwnerArePassedOverAtOnce) {
  constexpr uint64_t kCount = 10'000;
  std::vector<IntervalItem> items(kCount);
  IntervalTree tree;
  for (uint64_t i = 0; i < kCount; ++i) items[i] = {{i * 10, i * 10 + 10}, 7, i};
  for (IntervalItem& item : items) tree.Insert(&item);
  IntervalItem other{{70'005, 70'006}, 8, kCount};
  tree.Insert(&other);
  const uint64_t before = tree.steps();
  EXPECT_EQ(Found(tree, Extent::Whole(), 7), std::vector<uint64_t>{kCount});
  EXPECT_LE(tree.steps() - before, 64U);
}

}  // namespace
}  // namespace sheen::lock
