#include "fid/fid.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "base/random.h"

namespace sheen {
namespace {

TEST(FidTest, TextIsWhatLustreUsersKnow) {
  EXPECT_EQ((Fid{0x200000402, 0x1f, 0}).ToString(), "[0x200000402:0x1f:0x0]");
  EXPECT_EQ(kRootFid.ToString(), "[0x200000007:0x1:0x0]");
  EXPECT_EQ(Fid{}.ToString(), "[0x0:0x0:0x0]");
}

TEST(FidTest, ParsesWithAndWithoutBrackets) {
  for (const char* text : {"[0x200000402:0x1f:0x0]", "0x200000402:0x1f:0x0", "8589935618:31:0"}) {
    Fid fid;
    ASSERT_TRUE(Fid::Parse(text, &fid)) << text;
    EXPECT_EQ(fid, (Fid{0x200000402, 0x1f, 0}));
  }
}

TEST(FidTest, ParseRefusesWhatIsNoFid) {
  for (const char* text :
       {"", "[]", "[", "]", "0x1", "0x1:0x2", "0x1:0x2:", "[0x1:0x2:0x3", "0x1:0x2:0x3]", "a:b:c",
        "0x1:0x2:0x3:0x4", "0x1:0x2:0x3 ", " 0x1:0x2:0x3", "-1:2:3", "0x1:0x100000000:0x0",
        "0x10000000000000000:0x1:0x0", "0x:0x1:0x0", "/mnt/file"}) {
    Fid fid{7, 7, 7};
    EXPECT_FALSE(Fid::Parse(text, &fid)) << text;
    EXPECT_EQ(fid, (Fid{7, 7, 7})) << "changed by " << text;
  }
}

TEST(FidTest, InodeNumberIsInjectiveWithinTheLimits) {
  const Fid highest{(1ULL << 40) - 1, (1U << 24) - 1, 0};
  for (const Fid& fid :
       {kRootFid, Fid{1, 0, 0}, Fid{1, (1U << 24) - 1, 0}, Fid{2, 0, 0}, highest}) {
    ASSERT_TRUE(fid.Valid());
    EXPECT_EQ(Fid::FromInode(fid.ToInode()), fid);
  }
  EXPECT_FALSE((Fid{1ULL << 40, 1, 0}).Valid());
  EXPECT_FALSE((Fid{1, 1U << 24, 0}).Valid());
  EXPECT_FALSE((Fid{1, 1, 1}).Valid());
  EXPECT_FALSE(Fid{}.Valid());
}

TEST(FidTest, KeysSortAsFidsDo) {
  Random random(42);
  std::vector<Fid> fids;
  for (int i = 0; i < 1000; ++i)
    fids.push_back(
        {1 + (random.Next() >> random.Below(64)), static_cast<uint32_t>(random.Next()), 0});
  std::ranges::sort(fids);
  std::string last;
  for (const Fid& fid : fids) {
    std::string key;
    fid.AppendKey(&key);
    ASSERT_EQ(key.size(), Fid::kKeyBytes);
    EXPECT_EQ(Fid::FromKey(key), fid);
    EXPECT_LE(last, key);
    last = key;
  }
}

}  // namespace
}  // namespace sheen
