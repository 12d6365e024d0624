#include "client/dot_lustre.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace sheen::client {
namespace {

TEST(DotLustreTest, LeadsFromTheRootToAnyFid) {
  EXPECT_EQ(**DotLustreChild(kRootFid, ".lustre"), kDotLustre);
  EXPECT_EQ(**DotLustreChild(kDotLustre, "fid"), kDotLustreFid);
  const Fid fid{0x200000400, 7, 0};
  EXPECT_EQ(**DotLustreChild(kDotLustreFid, "[0x200000400:0x7:0x0]"), fid);
  EXPECT_EQ(**DotLustreChild(kDotLustreFid, "0x200000400:0x7:0x0"), fid);
  EXPECT_EQ(**DotLustreChild(kDotLustreFid, ".."), kDotLustre);
  EXPECT_EQ(**DotLustreChild(kDotLustre, ".."), kRootFid);
}

TEST(DotLustreTest, NothingElseIsThere) {
  EXPECT_FALSE(DotLustreChild(kRootFid, "lustre"));
  EXPECT_FALSE(DotLustreChild(Fid{0x200000400, 7, 0}, ".lustre"));
  for (const char* name : {"x", "[0x1:0x2]", "[0x0:0x0:0x0]", "[0x200000400:0x7:0x1]", ""}) {
    const auto child = DotLustreChild(kDotLustreFid, name);
    ASSERT_TRUE(child.has_value()) << name;
    ASSERT_FALSE(child->has_value()) << name;
    EXPECT_EQ(child->error().code(), Errc::kNoEntry) << name;
  }
  EXPECT_FALSE(DotLustreChild(kDotLustre, "lost")->has_value());
}

TEST(DotLustreTest, OnlyRootWalksIt) {
  EXPECT_EQ(DotLustreAttr(kDotLustre).mode, static_cast<uint32_t>(S_IFDIR | S_IXUSR));
  EXPECT_EQ(DotLustreAttr(kDotLustreFid).uid, 0U);
}

TEST(DotLustreTest, NothingIsChangedThere) {
  EXPECT_FALSE(CheckNotDotLustre(kDotLustreFid, "x"));
  EXPECT_FALSE(CheckNotDotLustre(kDotLustre, "fid"));
  EXPECT_FALSE(CheckNotDotLustre(kRootFid, ".lustre"));
  EXPECT_TRUE(CheckNotDotLustre(kRootFid, "x"));
  EXPECT_TRUE(CheckNotDotLustre(Fid{0x200000400, 7, 0}, ".lustre"));
}

}  // namespace
}  // namespace sheen::client
