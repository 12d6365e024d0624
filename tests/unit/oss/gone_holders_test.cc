#include "oss/gone_holders.h"

#include <gtest/gtest.h>

namespace sheen::oss {
namespace {

GoneHolder Sample() {
  GoneHolder holder;
  holder.boot = 7;
  holder.client = Uuid::Random();
  holder.locks.push_back({{3, {{0x400, 7, 0}, 0x10000000005, 2}}, 11, {4096, 8192}});
  holder.locks.push_back({{0, {{0x401, 8, 0}, 0x10000000006, 0}}, 12, lock::Extent::Whole()});
  return holder;
}

TEST(GoneHoldersTest, ARowSaysWhatWasPutIn) {
  const GoneHolder holder = Sample();
  const Result<GoneHolder> read = DecodeGoneHolder(Encode(holder));
  ASSERT_TRUE(read) << read.error().ToString();
  EXPECT_EQ(read->boot, holder.boot);
  EXPECT_EQ(read->client, holder.client);
  ASSERT_EQ(read->locks.size(), 2U);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(read->locks[i].key, holder.locks[i].key);
    EXPECT_EQ(read->locks[i].id, holder.locks[i].id);
    EXPECT_EQ(read->locks[i].extent, holder.locks[i].extent);
  }
}

TEST(GoneHoldersTest, ADamagedRowIsRefused) {
  const std::string row = Encode(Sample());
  for (size_t size = 0; size < row.size(); ++size) {
    EXPECT_FALSE(DecodeGoneHolder(std::string_view(row).substr(0, size))) << size;
  }
  for (size_t at = 0; at < row.size(); ++at) {
    std::string damaged = row;
    damaged[at] = static_cast<char>(damaged[at] ^ 0x40);
    EXPECT_FALSE(DecodeGoneHolder(damaged)) << at;
  }
}

}  // namespace
}  // namespace sheen::oss
