#include "apps/common/words.h"

#include <gtest/gtest.h>

namespace sheen::apps {
namespace {

TEST(Words, SizesArePowersOf1024) {
  EXPECT_EQ(ParseSize("0").value(), 0U);
  EXPECT_EQ(ParseSize("4096").value(), 4096U);
  EXPECT_EQ(ParseSize("512M").value(), 512ULL << 20);
  EXPECT_EQ(ParseSize("1g").value(), 1ULL << 30);
  EXPECT_EQ(ParseSize("1GiB").value(), 1ULL << 30);
  EXPECT_EQ(ParseSize("2T").value(), 2ULL << 40);
  EXPECT_EQ(ParseSize("15E").value(), 15ULL << 60);
}

TEST(Words, WhatIsNoSizeIsRefused) {
  for (const char* text :
       {"", "M", "-1", "1.5G", "16E", "1X", "1 G", "1MB2", "99999999999999999999"}) {
    EXPECT_FALSE(ParseSize(text)) << text;
  }
}

TEST(Words, FormatSizeIsReadBackByParseSize) {
  for (const uint64_t bytes : {0ULL, 1ULL, 1023ULL, 1024ULL, 1536ULL, 1ULL << 20, 3ULL << 30}) {
    EXPECT_EQ(ParseSize(FormatSize(bytes)).value(), bytes);
  }
}

TEST(Words, FsnameHasOneToEightCharacters) {
  EXPECT_TRUE(CheckFsname("a"));
  EXPECT_TRUE(CheckFsname("sheen-_8"));
  EXPECT_FALSE(CheckFsname(""));
  EXPECT_FALSE(CheckFsname("ninechars"));
  EXPECT_FALSE(CheckFsname("a/b"));
}

TEST(Words, ListeningBeyondLoopbackNeedsAnAllowList) {
  EXPECT_TRUE(CheckListen("127.0.0.1", {}));
  EXPECT_TRUE(CheckListen("::1", {}));
  EXPECT_TRUE(CheckListen("localhost", {}));
  EXPECT_FALSE(CheckListen("10.0.0.1", {}));
  EXPECT_FALSE(CheckListen("*", {}));
  EXPECT_TRUE(CheckListen("*", {"10.0.0.0/8"}));
}

TEST(Words, SentenceSaysWhatErrnoMeansWhereTheMessageDoesNot) {
  EXPECT_EQ(Sentence(Error(Errc::kReadOnly, "target: open /x")),
            "target: open /x (Read-only file system)");
  EXPECT_EQ(Sentence(Error(Errc::kNoEntry, "open /x")), "open /x (No such file or directory)");
  EXPECT_EQ(Sentence(Error(Errc::kNoEntry, "/x is no target; make one")),
            "/x is no target; make one");
  EXPECT_EQ(Sentence(Error(Errc::kCorrupt, "bad")), "bad");
}

TEST(Words, NormalPathIsAbsoluteWithoutSlashAtTheEnd) {
  EXPECT_EQ(NormalPath("/usr/../usr//include/"), "/usr/include");
  EXPECT_EQ(NormalPath("/"), "/");
  EXPECT_EQ(NormalPath("/nothing/./here"), "/nothing/here");
  EXPECT_TRUE(NormalPath("relative").starts_with("/"));
}

}  // namespace
}  // namespace sheen::apps
