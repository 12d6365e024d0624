#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"
#include "client/attr_merge.h"
#include "client/block_sums.h"
#include "client/credentials.h"
#include "client/lov_xattr.h"
#include "client/object_ranges.h"
#include "client/read_plan.h"
#include "client/space_sum.h"

namespace sheen::client {
namespace {

layout::Layout Striped(uint32_t count, uint64_t stripe_bytes) {
  layout::Layout out = layout::PlainTemplate(count, stripe_bytes);
  layout::Component& component = out.components.front();
  component.object_fid = Fid{kFirstClientSequence, 5, 0};
  component.birth = 1ULL << 40;
  for (uint32_t i = 0; i < count; ++i) component.osts.push_back(i);
  component.present.resize(count);
  return out;
}

TEST(ModeAllowsTest, TheFirstClassThatFitsDecides) {
  CredentialCache credentials;
  const CredentialId owner = credentials.IdFor({.uid = 7, .gid = 8});
  const CredentialId member = credentials.IdFor({.uid = 9, .gid = 1, .groups = {3, 8}});
  const CredentialId other = credentials.IdFor({.uid = 9, .gid = 1});
  const CredentialId root = credentials.IdFor({.uid = 0, .gid = 1});
  Attr attr;
  attr.uid = 7;
  attr.gid = 8;
  attr.mode = 040615;
  EXPECT_EQ(ModeAllows(credentials, owner, attr, 1), false);
  EXPECT_EQ(ModeAllows(credentials, owner, attr, 6), true);
  EXPECT_EQ(ModeAllows(credentials, member, attr, 1), true);
  EXPECT_EQ(ModeAllows(credentials, member, attr, 4), false);
  EXPECT_EQ(ModeAllows(credentials, other, attr, 5), true);
  EXPECT_EQ(ModeAllows(credentials, other, attr, 2), false);
  attr.has_access_acl = true;
  EXPECT_EQ(ModeAllows(credentials, owner, attr, 1), std::nullopt);
  EXPECT_EQ(ModeAllows(credentials, root, attr, 7), true);
  EXPECT_EQ(ModeAllows(credentials, 0, attr, 7), true);
}

TEST(AttrMergeTest, SizeIsTheFarthestEndAndBlocksAreSummed) {
  const layout::Layout layout = Striped(3, 1 << 20);
  ObjectStates states = ShapeOf(layout);
  states[0][0] = {.known = true, .exists = true, .size = 10, .blocks = 8, .ctime_ns = 5};
  states[0][1] = {
      .known = true, .exists = true, .size = 7, .blocks = 8, .mtime_ns = 9, .ctime_ns = 9};
  states[0][2].known = true;
  EXPECT_TRUE(AllKnown(states));
  Attr mds;
  mds.ctime_ns = 7;
  mds.mtime_ns = 1;
  mds.size = 12345;
  const Attr merged = MergeGlimpse(mds, layout, states);
  EXPECT_EQ(merged.size, (1U << 20) + 7);
  EXPECT_EQ(merged.blocks, 16U);
  EXPECT_EQ(merged.mtime_ns, 9);
  EXPECT_EQ(merged.ctime_ns, 9);
}

TEST(AttrMergeTest, WhereSomebodyHasSetItTheNewestChangeTimeDecidesTheModificationTime) {
  const layout::Layout layout = Striped(1, 1 << 20);
  ObjectStates states = ShapeOf(layout);
  states[0][0] = {
      .known = true, .exists = true, .size = 1, .blocks = 8, .mtime_ns = 100, .ctime_ns = 100};
  Attr mds;
  mds.ctime_ns = 101;  // utimens after the write
  mds.mtime_ns = 3;
  mds.mtime_set = true;
  EXPECT_EQ(MergeGlimpse(mds, layout, states).mtime_ns, 3);
  mds.ctime_ns = 99;  // before it
  EXPECT_EQ(MergeGlimpse(mds, layout, states).mtime_ns, 100);
  mds.mtime_ns = 5000;  // in the future
  EXPECT_EQ(MergeGlimpse(mds, layout, states).mtime_ns, 100);
}

TEST(AttrMergeTest, AChangeOfModeAfterAWriteLeavesTheModificationTimeToTheWrite) {
  const layout::Layout layout = Striped(2, 1 << 20);
  ObjectStates states = ShapeOf(layout);
  states[0][0] = {
      .known = true, .exists = true, .size = 1, .blocks = 8, .mtime_ns = 100, .ctime_ns = 100};
  states[0][1] = {
      .known = true, .exists = true, .size = 1, .blocks = 8, .mtime_ns = 90, .ctime_ns = 90};
  Attr mds;
  mds.ctime_ns = 101;
  mds.mtime_ns = 3;
  const Attr merged = MergeGlimpse(mds, layout, states);
  EXPECT_EQ(merged.mtime_ns, 100);
  EXPECT_EQ(merged.ctime_ns, 101);
}

TEST(AttrMergeTest, AnOlderAnswerDoesNotReplaceANewerOne) {
  ObjectState state{.known = true, .exists = true, .size = 10, .ctime_ns = 9};
  MergeObject({.known = true, .exists = true, .size = 5, .ctime_ns = 8}, &state);
  EXPECT_EQ(state.size, 10U);
  MergeObject({.known = true, .exists = true, .size = 5, .ctime_ns = 10}, &state);
  EXPECT_EQ(state.size, 5U);
}

TEST(ReadPlanTest, PiecesCoverTheRangeAndStayWithinOneRequest) {
  const layout::Layout layout = Striped(2, 64 << 10);
  uint64_t at = 1000;
  for (const IoPiece& io : PlanIo(layout, 1000, 1 << 20, 32 << 10)) {
    EXPECT_EQ(io.piece.file_offset, at);
    EXPECT_LE(io.piece.length, 32U << 10);
    at += io.piece.length;
  }
  EXPECT_EQ(at, 1000U + (1 << 20));
}

TEST(ReadPlanTest, GapsBelowTheSizeAreZerosAndNothingIsReadBeyondIt) {
  const layout::Layout layout = Striped(2, 64 << 10);
  std::vector<IoPiece> pieces = PlanIo(layout, 0, 192 << 10, 1 << 20);
  ASSERT_EQ(pieces.size(), 3U);
  pieces[0].received = 100;  // the object ended early: a hole
  pieces[1].received = 64 << 10;
  std::vector<std::byte> out(192 << 10, std::byte{0xEE});
  EXPECT_EQ(FillGaps(pieces, 0, (128 << 10) + 5, out), (128U << 10) + 5);
  EXPECT_EQ(out[99], std::byte{0xEE});
  EXPECT_EQ(out[100], std::byte{0});
  EXPECT_EQ(out[(64 << 10) - 1], std::byte{0});
  EXPECT_EQ(out[64 << 10], std::byte{0xEE});
  EXPECT_EQ(out[(128 << 10) + 4], std::byte{0});
  EXPECT_EQ(FillGaps(pieces, 0, 0, out), 0U);
}

TEST(ObjectRangesTest, FileAndObjectOffsetsAreInverse) {
  const layout::Layout layout = Striped(5, 128 << 10);
  const layout::Component& component = layout.components.front();
  Random random(3);
  for (int i = 0; i < 10000; ++i) {
    const uint64_t offset = random.Below(1ULL << 40);
    const uint32_t stripe = layout::StripeAt(component, offset);
    const uint64_t object = ObjectOffsetAtOrAfter(component, stripe, offset);
    EXPECT_EQ(FileOffsetOf(component, stripe, object), offset);
  }
}

TEST(ObjectRangesTest, RangesOfAllStripesAddUpToTheFileRange) {
  const layout::Layout layout = Striped(3, 64 << 10);
  Random random(4);
  for (int i = 0; i < 1000; ++i) {
    const uint64_t length = 1 + random.Below(2 << 20);
    uint64_t sum = 0;
    for (const ObjectRange& range : ObjectRangesOf(layout, random.Below(1 << 30), length)) {
      sum += range.end - range.begin;
    }
    EXPECT_EQ(sum, length);
  }
}

TEST(BlockSumsTest, BlocksAreCutAtObjectOffsets) {
  const std::string data(10000, 'x');
  std::vector<size_t> sizes;
  ForEachBlock(4000, AsBytes(data), 4096, [&](ByteSpan block) { sizes.push_back(block.size()); });
  EXPECT_EQ(sizes, (std::vector<size_t>{96, 4096, 4096, 1712}));
  EXPECT_EQ(BlockCount(4000, data.size(), 4096), sizes.size());
  EXPECT_EQ(BlockCount(0, 0, 4096), 0U);
}

TEST(LovXattrTest, ALayoutComesBackAsATemplate) {
  const layout::Layout layout = Striped(4, 256 << 10);
  const std::string value = EncodeLov(layout, Fid{kFirstClientSequence, 5, 0});
  EXPECT_EQ(LoadLittle<uint32_t>(value.data()), 0x0BD10BD0U);
  EXPECT_EQ(value.size(), 32U + 4 * 24);
  const Result<layout::Layout> back = DecodeLov(value);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->components.front().stripe_count, 4U);
  EXPECT_EQ(back->components.front().stripe_bytes, 256U << 10);
  EXPECT_FALSE(back->components.front().instantiated());
}

TEST(LovXattrTest, DamagedValuesAreRefused) {
  layout::Layout layout = layout::DefaultTemplate();
  const std::string value = EncodeLov(layout, Fid{kFirstClientSequence, 5, 0});
  EXPECT_EQ(LoadLittle<uint32_t>(value.data()), 0x0BD60BD0U);
  EXPECT_TRUE(DecodeLov(value));
  for (size_t size = 0; size < value.size(); ++size) {
    EXPECT_FALSE(DecodeLov(std::string_view(value).substr(0, size))) << size;
  }
}

TEST(SpaceSumTest, OstsThatShareADiskCountItOnce) {
  std::vector<TargetSpace> targets(3);
  for (uint32_t i = 0; i < 3; ++i) {
    targets[i].up = true;
    targets[i].index = i;
    targets[i].server = "oss0";
    targets[i].device = i == 2 ? 9 : 8;
    targets[i].bytes_total = 100;
    targets[i].bytes_free = 50;
    targets[i].bytes_available = 40;
  }
  EXPECT_EQ(SumSpace(targets).bytes_total, 200U);
  EXPECT_EQ(SumSpace(targets).bytes_available, 80U);
  targets[0].limited = targets[1].limited = true;  // sizes of their own
  EXPECT_EQ(SumSpace(targets).bytes_total, 300U);
}

}  // namespace
}  // namespace sheen::client
