#include "layout/layout.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "support/layout_random.h"

namespace sheen::layout {
namespace {

// Every component and stripe boundary of the first units of each component, and one to each side.
std::vector<uint64_t> Boundaries(const Layout& layout) {
  std::set<uint64_t> out{0, 1, kFileBytesMax - 1};
  const auto add = [&out](uint64_t at) {
    for (const uint64_t value : {at - 1, at, at + 1}) {
      if (value < kFileBytesMax) out.insert(value);
    }
  };
  for (const Component& component : layout.components) {
    add(component.start);
    if (component.end != kEof) add(component.end);
    for (uint64_t unit = 0; unit < 25; ++unit) {
      const uint64_t at =
          (component.start / component.stripe_bytes + unit) * component.stripe_bytes;
      if (component.Covers(at)) add(at);
    }
  }
  return {out.begin(), out.end()};
}

// Where byte `offset` is by the formula of the design, one byte at a time.
Piece PieceOfByte(const Layout& layout, uint64_t offset) {
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const Component& c = layout.components[i];
    if (!c.Covers(offset)) continue;
    if (!c.instantiated()) return {i, kNoStripe, offset, 0, 1};
    const uint64_t width = c.stripe_bytes * c.osts.size();
    const auto stripe = static_cast<uint32_t>(offset % width / c.stripe_bytes);
    return {i, stripe, offset, offset / width * c.stripe_bytes + offset % c.stripe_bytes, 1};
  }
  return {};
}

void CheckRange(const Layout& layout, uint64_t offset, uint64_t length) {
  const std::vector<Piece> pieces = MapRange(layout, offset, length);
  const uint64_t end = std::min(offset + length, LimitOf(layout));
  uint64_t at = offset;
  for (const Piece& piece : pieces) {
    ASSERT_EQ(piece.file_offset, at) << "a hole or an overlap";
    ASSERT_GT(piece.length, 0U);
    for (const uint64_t inside : {uint64_t{0}, piece.length / 2, piece.length - 1}) {
      const Piece expected = PieceOfByte(layout, at + inside);
      ASSERT_EQ(piece.component, expected.component);
      ASSERT_EQ(piece.stripe, expected.stripe);
      if (piece.stripe != kNoStripe) {
        ASSERT_EQ(piece.object_offset + inside, expected.object_offset);
        ASSERT_EQ(StripeAt(layout.components[piece.component], at + inside), piece.stripe);
      }
    }
    at += piece.length;
  }
  ASSERT_EQ(at, std::max(offset, end)) << "range not covered";
  for (size_t i = 1; i < pieces.size(); ++i) {
    ASSERT_FALSE(pieces[i].component == pieces[i - 1].component &&
                 pieces[i].stripe == pieces[i - 1].stripe &&
                 pieces[i].object_offset == pieces[i - 1].object_offset + pieces[i - 1].length &&
                 pieces[i].stripe != kNoStripe)
        << "not merged";
  }
}

TEST(LayoutTest, PiecesCoverARangeExactlyOnceAtEveryBoundary) {
  Random random(TestSeed());
  for (int round = 0; round < 60; ++round) {
    const Layout layout = RandomLayout(&random);
    ASSERT_TRUE(Validate(layout)) << Validate(layout).error().ToString();
    const std::vector<uint64_t> at = Boundaries(layout);
    for (size_t i = 0; i < at.size(); ++i) {
      for (const size_t j : {i, i + 1, i + 2, i + 1 + static_cast<size_t>(random.Below(40))}) {
        if (j >= at.size() || at[j] - at[i] > (1ULL << 32)) continue;
        CheckRange(layout, at[i], at[j] - at[i]);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(LayoutTest, NoTwoBytesShareAPlaceInAnObject) {
  Random random(TestSeed());
  for (int round = 0; round < 200; ++round) {
    const Layout layout = RandomLayout(&random, {.all_instantiated = true});
    const std::vector<Piece> pieces = MapRange(layout, 0, 30 << 20);
    std::vector<std::tuple<uint32_t, uint32_t, uint64_t, uint64_t>> spans;
    for (const Piece& p : pieces)
      spans.emplace_back(p.component, p.stripe, p.object_offset, p.object_offset + p.length);
    std::ranges::sort(spans);
    for (size_t i = 1; i < spans.size(); ++i) {
      const auto& [component, stripe, start, end] = spans[i];
      if (component != std::get<0>(spans[i - 1]) || stripe != std::get<1>(spans[i - 1])) continue;
      ASSERT_LE(std::get<3>(spans[i - 1]), start);
    }
  }
}

TEST(LayoutTest, OneStripeIsOnePieceWithEqualOffsets) {
  Random random(1);
  Layout layout = PlainTemplate(1, 1 << 20);
  InstantiateForTest(&layout.components[0], 1, &random);
  const auto pieces = MapRange(layout, 12345, 1ULL << 40);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].object_offset, 12345U);
  EXPECT_EQ(pieces[0].length, 1ULL << 40);
}

TEST(LayoutTest, LaterComponentsUseAbsoluteOffsets) {
  Random random(1);
  Layout layout = DefaultTemplate();
  for (Component& component : layout.components)
    InstantiateForTest(&component, component.stripe_count, &random);
  // 100 MiB is unit 100: stripe 100 % 8 = 4, object offset 100 / 8 MiB.
  const auto pieces = MapRange(layout, 100 << 20, 1);
  ASSERT_EQ(pieces.size(), 1U);
  EXPECT_EQ(pieces[0].component, 1U);
  EXPECT_EQ(pieces[0].stripe, 4U);
  EXPECT_EQ(pieces[0].object_offset, 12ULL << 20);
}

// The size that the objects of a file of `file_bytes` bytes imply.
uint64_t DerivedSize(const Layout& layout, uint64_t file_bytes) {
  uint64_t size = 0;
  for (const Component& c : layout.components) {
    for (uint32_t stripe = 0; stripe < c.osts.size(); ++stripe)
      size = std::max(size, FileBytesFrom(c, stripe, ObjectBytesFor(c, stripe, file_bytes)));
  }
  return size;
}

TEST(LayoutTest, FileSizeCanBeDerivedFromTheObjects) {
  Random random(TestSeed());
  for (int round = 0; round < 100; ++round) {
    const Layout layout = RandomLayout(&random, {.all_instantiated = true});
    for (const uint64_t size : Boundaries(layout)) {
      if (size > LimitOf(layout)) continue;
      ASSERT_EQ(DerivedSize(layout, size), size);
    }
  }
}

TEST(LayoutTest, ObjectSizesAndFileSizesAreInverse) {
  Random random(TestSeed());
  for (int round = 0; round < 100; ++round) {
    const Layout layout = RandomLayout(&random, {.all_instantiated = true});
    for (const uint64_t size : Boundaries(layout)) {
      for (const Component& c : layout.components) {
        for (uint32_t stripe = 0; stripe < c.osts.size(); ++stripe) {
          const uint64_t object = ObjectBytesFor(c, stripe, size);
          const uint64_t implied = FileBytesFrom(c, stripe, object);
          // It implies no more than there is, and the implied size gives the same object back.
          ASSERT_LE(implied, std::min(size, c.end));
          ASSERT_EQ(ObjectBytesFor(c, stripe, implied), object);
          if (object == 0) continue;
          // Smallest: one byte less and the object is shorter.
          ASSERT_LT(ObjectBytesFor(c, stripe, implied - 1), object);
          ASSERT_GT(implied, c.start);
        }
      }
    }
  }
}

TEST(LayoutTest, ObjectSizeIsTheEndOfItsLastPiece) {
  Random random(TestSeed());
  for (int round = 0; round < 100; ++round) {
    const Layout layout = RandomLayout(&random, {.all_instantiated = true});
    const uint64_t size = random.Below(40 << 20);
    std::map<std::pair<uint32_t, uint32_t>, uint64_t> ends;
    for (const Piece& p : MapRange(layout, 0, size))
      ends[{p.component, p.stripe}] = p.object_offset + p.length;
    for (uint32_t i = 0; i < layout.components.size(); ++i) {
      const Component& c = layout.components[i];
      for (uint32_t stripe = 0; stripe < c.osts.size(); ++stripe) {
        const std::pair<uint32_t, uint32_t> key(i, stripe);
        ASSERT_EQ(ObjectBytesFor(c, stripe, size), ends.contains(key) ? ends[key] : 0);
      }
    }
  }
}

TEST(LayoutTest, ImpossibleObjectSizeFromTheNetworkStaysInRange) {
  Random random(1);
  Layout layout = PlainTemplate(8, 1 << 20);
  InstantiateForTest(&layout.components[0], 8, &random);
  EXPECT_EQ(FileBytesFrom(layout.components[0], 7, UINT64_MAX), kFileBytesMax);
  EXPECT_EQ(FileBytesFrom(layout.components[0], 7, 1ULL << 61), kFileBytesMax);
  EXPECT_EQ(FileBytesFrom(layout.components[0], 0, 0), 0U);
}

TEST(LayoutTest, ComponentAtAndLimitKnowTheEnds) {
  Layout layout = DefaultTemplate();
  EXPECT_EQ(ComponentAt(layout, 0), 0U);
  EXPECT_EQ(ComponentAt(layout, (100 << 20) - 1), 0U);
  EXPECT_EQ(ComponentAt(layout, 100 << 20), 1U);
  EXPECT_EQ(ComponentAt(layout, 1ULL << 62), 3U);
  EXPECT_EQ(LimitOf(layout), kFileBytesMax);
  layout.components.pop_back();
  EXPECT_EQ(LimitOf(layout), 100ULL << 30);
  EXPECT_EQ(ComponentAt(layout, 100ULL << 30), std::nullopt);
  EXPECT_EQ(ComponentAt(Layout(), 0), std::nullopt);
  EXPECT_EQ(LimitOf(Layout()), 0U);
}

TEST(LayoutTest, InstantiationIsNeededOnlyWhereTheRangeReaches) {
  Random random(1);
  Layout layout = DefaultTemplate();
  constexpr uint64_t kFirstEnd = 100 << 20;
  EXPECT_TRUE(NeedsInstantiation(layout, 0, 1));
  EXPECT_FALSE(NeedsInstantiation(layout, 0, 0));
  InstantiateForTest(&layout.components[0], 1, &random);
  EXPECT_FALSE(NeedsInstantiation(layout, 0, kFirstEnd));
  EXPECT_TRUE(NeedsInstantiation(layout, 0, kFirstEnd + 1));
  EXPECT_TRUE(NeedsInstantiation(layout, kFirstEnd, 1));
  EXPECT_TRUE(NeedsInstantiation(layout, UINT64_MAX, 0) == false);
}

TEST(LayoutTest, ObjectNameIsItsFileNameOnAnOst) {
  Random random(1);
  Component component;
  InstantiateForTest(&component, 4, &random);
  component.object_fid = {0x200000400, 0x1f, 0};
  component.birth = 0x10000000007;
  EXPECT_EQ(ObjectOf(component, 2).ToString(), "200000400_1f_10000000007_2");
}

TEST(LayoutTest, DefaultTemplateIsTheDocumentedPfl) {
  const Layout layout = DefaultTemplate();
  ASSERT_TRUE(Validate(layout));
  ASSERT_EQ(layout.components.size(), 4U);
  EXPECT_TRUE(layout.composite);
  const uint64_t ends[] = {100ULL << 20, 10ULL << 30, 100ULL << 30, kEof};
  const uint32_t counts[] = {1, 8, 16, 32};
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(layout.components[i].end, ends[i]);
    EXPECT_EQ(layout.components[i].stripe_count, counts[i]);
    EXPECT_EQ(layout.components[i].stripe_bytes, 1ULL << 20);
    EXPECT_FALSE(layout.components[i].instantiated());
  }
}

TEST(LayoutTest, TemplateOfForgetsObjectsAndKeepsTheShape) {
  Random random(TestSeed());
  for (int round = 0; round < 100; ++round) {
    const Layout layout = RandomLayout(&random);
    const Layout copy = TemplateOf(layout);
    ASSERT_TRUE(Validate(copy)) << Validate(copy).error().ToString();
    EXPECT_EQ(copy.generation, 0U);
    ASSERT_EQ(copy.components.size(), layout.components.size());
    for (size_t i = 0; i < copy.components.size(); ++i) {
      const Component& from = layout.components[i];
      const Component& to = copy.components[i];
      EXPECT_FALSE(to.instantiated());
      EXPECT_TRUE(to.osts.empty());
      EXPECT_EQ(to.end, from.end);
      EXPECT_EQ(to.stripe_count, from.stripe_count);
      EXPECT_EQ(to.wanted_osts.empty(), from.instantiated() || from.wanted_osts.empty());
    }
    EXPECT_EQ(TemplateOf(copy), copy);
  }
}

}  // namespace
}  // namespace sheen::layout
