#include "ost/index_record.h"

#include <fmt/core.h>
#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "ost/index_meta.h"
#include "ost/superblock.h"

namespace sheen::ost {
namespace {

const layout::ObjectId kId{{0x200000400, 0x1f, 0}, 0x10000000007, 2};

IndexRecord Example() {
  IndexRecord out;
  out.block_bytes = 4096;
  out.size = 1048576;
  out.allocated_bytes = 1048576;
  out.last_transno = 0x10000000009;
  out.mtime_ns = 1'700'000'000'000'000'001;
  out.ctime_ns = 1'700'000'000'000'000'002;
  out.uid = 1000;
  out.gid = 100;
  out.project_id = 7;
  out.layout_generation = 3;
  out.pending = {PendingKind::kTruncate, 4096, 0};
  out.parent = kRootFid;
  out.created_ns = 1'700'000'000'000'000'000;
  out.committed_boot = 5;
  out.sections = {{static_cast<uint16_t>(SectionTag::kName), 0, "f"}};
  return out;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += fmt::format("{:02x}", static_cast<uint8_t>(c));
  return out;
}

std::string Reseal(std::string bytes) {
  const size_t at = bytes.size() - 4;
  StoreLittle<uint32_t>(bytes.data() + at, Crc32c(AsBytes(std::string_view(bytes).substr(0, at))));
  return bytes;
}

TEST(IndexRecordTest, DecodeGivesBackWhatWasEncoded) {
  IndexRecord record = Example();
  record.created_uncommitted = record.pending_done = true;
  record.fence_generation = 9;
  record.preallocated_end = 2 << 20;
  const auto decoded = DecodeRecord(EncodeRecord(record));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(*decoded, record);
}

// The worked example of docs/formats/ost.md. When this fails, the format changed: raise the
// version and keep reading the old one.
TEST(IndexRecordTest, BytesAreThoseOfTheDocument) {
  EXPECT_EQ(Hex(ObjectKey(kId)),
            "00000002000004000000001f0000010000000007"
            "00000002");
  EXPECT_EQ(Hex(EncodeRecord(Example())),
            "01008000001000000000100000000000000010000000000000000000000000000900000000010000"
            "01002a36fe9c971702002a36fe9c9717e80300006400000007000000030000000000000001000000"
            "001000000000000000000000000000000700000002000000010000000100000000002a36fe9c9717"
            "05000000000000000400000001000000661f5633a9");
  EXPECT_EQ(Hex(EncodeTombstone(1'700'000'000'000'000'000)),
            "010000000000000000002a36fe9c97177c3f5c58");
  EXPECT_EQ(ObjectPath("/ost", kId), "/ost/objects/1b/2f/200000400_1f_10000000007_2");
  Superblock superblock;
  superblock.ost_index = 3;
  superblock.generation = 2;
  superblock.size_limit_bytes = 1 << 30;
  superblock.created_ns = 1'700'000'000'000'000'000;
  superblock.fsname = "sheen";
  for (uint8_t i = 0; i < 16; ++i) superblock.uuid.bytes[i] = i;
  EXPECT_EQ(
      Hex(EncodeSuperblock(superblock)),
      "534845454e4f5354010080000300000000000000000000000000000000000000000102030405060708090a0b"
      "0c0d0e0f0200000000000000000000400000000000002a36fe9c9717736865656e0000000000000000000000"
      "00000000000000000000000000000000000000000000000000000000000000000000000035293bfa");
  EXPECT_EQ(Hex(EncodeIdentity(superblock)),
            "0100000000000000000102030405060708090a0b0c0d0e0f02000000000000004321526f");
  EXPECT_EQ(Hex(EncodeBoot({5, true, "b"})),
            "01000000000000000500000000000000010000000100000062bef5cc5a");
  EXPECT_EQ(Hex(EncodeCommitted({0x10000000009, 1'700'000'000'000'000'000})),
            "0100000000000000090000000001000000002a36fe9c971710530c3a");
}

TEST(IndexRecordTest, EveryFlippedBitIsNoticed) {
  const std::string good = EncodeRecord(Example());
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << i % 8));
    EXPECT_FALSE(DecodeRecord(bad)) << i;
  }
}

TEST(IndexRecordTest, RandomBytesWithARightChecksumNeverCrash) {
  Random random(7);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes = EncodeRecord(Example());
    for (int i = 0; i < 4; ++i)
      bytes[random.Below(bytes.size() - 4)] = static_cast<char>(random.Next());
    if (random.OneIn(3)) bytes.resize(4 + random.Below(bytes.size()));
    const auto decoded = DecodeRecord(Reseal(bytes));
    if (decoded) {
      EXPECT_LE(decoded->size, uint64_t{INT64_MAX});
    }
  }
}

TEST(IndexRecordTest, UnknownSectionIsKeptAndUnknownCriticalSectionRefused) {
  IndexRecord record = Example();
  record.sections.push_back({99, 0, "later"});
  const auto decoded = DecodeRecord(EncodeRecord(record));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->sections, record.sections);
  record.sections.back().flags = kSectionCritical;
  EXPECT_EQ(DecodeRecord(EncodeRecord(record)).error().code(), Errc::kBadVersion);
}

TEST(IndexRecordTest, UnknownVersionIsRefused) {
  std::string bytes = EncodeRecord(Example());
  bytes[0] = 2;
  EXPECT_EQ(DecodeRecord(Reseal(bytes)).error().code(), Errc::kBadVersion);
}

TEST(IndexRecordTest, KeysOrderAsIdsDoAndDecode) {
  const layout::ObjectId ids[] = {{{1, 2, 0}, 3, 4},
                                  {{1, 2, 0}, 3, 5},
                                  {{1, 2, 0}, 256, 0},
                                  {{1, 300, 0}, 1, 0},
                                  {{2, 1, 0}, 1, 0}};
  for (size_t i = 0; i < std::size(ids); ++i) {
    EXPECT_EQ(*DecodeObjectKey(ObjectKey(ids[i])), ids[i]);
    if (i > 0) {
      EXPECT_LT(ObjectKey(ids[i - 1]), ObjectKey(ids[i]));
    }
  }
  EXPECT_FALSE(DecodeObjectKey("short"));
}

TEST(IndexRecordTest, IdentityOfAnotherTargetIsRefused) {
  Superblock mine;
  mine.uuid = Uuid::Random();
  Superblock other = mine;
  EXPECT_TRUE(CheckIdentity(EncodeIdentity(mine), other));
  other.generation = 2;
  EXPECT_EQ(CheckIdentity(EncodeIdentity(mine), other).error().code(), Errc::kCorrupt);
  other = mine;
  other.uuid = Uuid::Random();
  EXPECT_EQ(CheckIdentity(EncodeIdentity(mine), other).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace sheen::ost
