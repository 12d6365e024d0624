#include "ost/superblock.h"

#include <gtest/gtest.h>

#include "base/bytes.h"
#include "base/crc32c.h"

namespace sheen::ost {
namespace {

Superblock Example() {
  Superblock out;
  out.ost_index = 3;
  out.generation = 2;
  out.size_limit_bytes = 1 << 30;
  out.created_ns = 1'700'000'000'000'000'000;
  out.fsname = "sheen";
  for (uint8_t i = 0; i < 16; ++i) out.uuid.bytes[i] = i;
  return out;
}

std::string Reseal(std::string bytes) {
  StoreLittle<uint32_t>(bytes.data() + 124,
                        Crc32c(AsBytes(std::string_view(bytes).substr(0, 124))));
  return bytes;
}

TEST(SuperblockTest, DecodeGivesBackWhatWasEncoded) {
  const auto decoded = DecodeSuperblock(EncodeSuperblock(Example()));
  ASSERT_TRUE(decoded) << decoded.error().ToString();
  EXPECT_EQ(*decoded, Example());
  EXPECT_EQ(decoded->TargetName(), "sheen-OST0003");
}

TEST(SuperblockTest, EveryFlippedBitIsNoticed) {
  const std::string good = EncodeSuperblock(Example());
  for (size_t i = 0; i < good.size() * 8; ++i) {
    std::string bad = good;
    bad[i / 8] = static_cast<char>(bad[i / 8] ^ (1 << i % 8));
    const auto decoded = DecodeSuperblock(bad);
    ASSERT_FALSE(decoded) << i;
    EXPECT_EQ(decoded.error().code(), Errc::kCorrupt) << i;
  }
}

TEST(SuperblockTest, UnknownVersionIsRefusedByNumber) {
  Superblock later = Example();
  later.version = 2;
  const auto decoded = DecodeSuperblock(EncodeSuperblock(later));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), Errc::kBadVersion);
  EXPECT_NE(decoded.error().message().find("version 2"), std::string::npos);
}

TEST(SuperblockTest, UnknownIncompatBitIsRefusedAndCompatBitIsNot) {
  Superblock superblock = Example();
  superblock.compat = 1ULL << 40;
  EXPECT_TRUE(DecodeSuperblock(EncodeSuperblock(superblock)));
  superblock.incompat = 1ULL << 7;
  const auto decoded = DecodeSuperblock(EncodeSuperblock(superblock));
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code(), Errc::kBadVersion);
  EXPECT_NE(decoded.error().message().find("0x80"), std::string::npos);
}

TEST(SuperblockTest, WrongLengthAndReservedBytesAreRefused) {
  const std::string good = EncodeSuperblock(Example());
  EXPECT_FALSE(DecodeSuperblock(good.substr(1)));
  EXPECT_FALSE(DecodeSuperblock(good + "x"));
  std::string reserved = good;
  reserved[100] = 1;
  EXPECT_EQ(DecodeSuperblock(Reseal(reserved)).error().code(), Errc::kCorrupt);
}

}  // namespace
}  // namespace sheen::ost
