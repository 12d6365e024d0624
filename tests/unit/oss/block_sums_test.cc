#include "oss/block_sums.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/random.h"

namespace sheen::oss {
namespace {

TEST(BlockSumsTest, PiecesAreCutAtBlockBoundariesOfTheObject) {
  const std::string data(10000, 'a');
  BlockSums sums;
  AppendBlockSums(4000, AsBytes(data), 4096, &sums);
  ASSERT_EQ(sums.size(), 4);  // 96, 4096, 4096, 1712
  EXPECT_EQ(sums[0], Crc32c(AsBytes(data).first(96)));
  EXPECT_EQ(sums[1], Crc32c(AsBytes(data).subspan(96, 4096)));
  EXPECT_EQ(sums[3], Crc32c(AsBytes(data).subspan(96 + 2 * 4096)));
}

TEST(BlockSumsTest, WhatWasSummedIsAcceptedAtEveryOffset) {
  Random random(3);
  std::string data(9000, '\0');
  for (char& c : data) c = static_cast<char>(random.Next());
  for (const uint64_t offset : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 9223372036854760000UL}) {
    for (const size_t length : {0UL, 1UL, 4095UL, 4096UL, 4097UL, 9000UL}) {
      const ByteSpan part = AsBytes(data).first(length);
      BlockSums sums;
      AppendBlockSums(offset, part, 4096, &sums);
      EXPECT_TRUE(CheckBlockSums(offset, part, 4096, sums));
    }
  }
}

TEST(BlockSumsTest, OneFlippedBitIsCorruptAndToldWithBothSums) {
  std::string data(9000, 'a');
  BlockSums sums;
  AppendBlockSums(100, AsBytes(data), 4096, &sums);
  data[5000] = static_cast<char>(data[5000] ^ 1);
  const Status checked = CheckBlockSums(100, AsBytes(data), 4096, sums);
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().code(), Errc::kCorrupt);
  EXPECT_NE(checked.error().message().find("at 4096"), std::string::npos);
  EXPECT_NE(checked.error().message().find("expected"), std::string::npos);
}

TEST(BlockSumsTest, WrongCountAndBlockSizeAreRefusedAndNoSumsCheckNothing) {
  const std::string data(5000, 'a');
  BlockSums sums;
  AppendBlockSums(0, AsBytes(data), 4096, &sums);
  BlockSums more = sums;
  more.Add(1);
  EXPECT_EQ(CheckBlockSums(0, AsBytes(data), 4096, more).error().code(), Errc::kInvalid);
  EXPECT_EQ(CheckBlockSums(0, AsBytes(data), 0, sums).error().code(), Errc::kInvalid);
  EXPECT_EQ(CheckBlockSums(0, AsBytes(data), 511, sums).error().code(), Errc::kInvalid);
  EXPECT_TRUE(CheckBlockSums(0, AsBytes(data), 0, {}));
}

}  // namespace
}  // namespace sheen::oss
