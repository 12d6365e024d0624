#include "apps/lctl/pool_names.h"

#include <gtest/gtest.h>

namespace sheen::lctl {
namespace {

std::vector<uint32_t> Osts(const std::string& text) {
  const auto osts = ParseOstNames("sheen", text);
  EXPECT_TRUE(osts.has_value()) << text;
  return osts.value_or(std::vector<uint32_t>{});
}

TEST(PoolNames, AFilesystemAndAPool) {
  EXPECT_EQ(ParsePoolName("sheen.flash").fsname, "sheen");
  EXPECT_EQ(ParsePoolName("sheen.flash").pool, "flash");
  EXPECT_EQ(ParsePoolName("sheen").pool, "");
}

TEST(OstNames, IndexesAreHexadecimalAsInTheTargetsNames) {
  using List = std::vector<uint32_t>;
  EXPECT_EQ(Osts("OST0001"), (List{1}));
  EXPECT_EQ(Osts("OST0010"), (List{16}));
  EXPECT_EQ(Osts("sheen-OST000a_UUID"), (List{10}));
  EXPECT_EQ(Osts("OST[0-3]"), (List{0, 1, 2, 3}));
  EXPECT_EQ(Osts("sheen-OST[0-1,a,0001]_UUID"), (List{0, 1, 10}));
  EXPECT_EQ(Osts("OST[0-9/4]"), (List{0, 4, 8}));
  EXPECT_EQ(Osts("OST[000e-0011]"), (List{14, 15, 16, 17}));
}

TEST(OstNames, WhatNamesNoneIsRefused) {
  for (const char* text : {"", "OST", "OST[]", "OST[0", "OST0]", "OST[0-]", "OST[3-1]", "OST0-1",
                           "OST[0,]", "OST[0/2]", "OST[0-4/0]", "OSTx", "other-OST0000", "0001",
                           "sheen-MDT0000", "OST[0-10000]", "OST 1", "OST[-1]"}) {
    EXPECT_FALSE(ParseOstNames("sheen", text).has_value()) << text;
  }
}

}  // namespace
}  // namespace sheen::lctl
