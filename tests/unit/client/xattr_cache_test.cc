#include "client/xattr_cache.h"

#include <gtest/gtest.h>

namespace sheen::client {
namespace {

using Answer = XattrCache::Answer;

class XattrCacheTest : public ::testing::Test {
 protected:
  static Fid File(uint32_t oid) { return {0x200000400, oid, 0}; }
  static XattrCache::Question Asks(uint32_t oid, const std::string& name, CredentialId who = 1) {
    return {who, File(oid), name};
  }
  XattrCache cache_{64U << 10};
};

TEST_F(XattrCacheTest, AValueIsOfOneCtime) {
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a"), 10));
  cache_.Put(Asks(1, "user.a"), 10, "x");
  EXPECT_EQ(cache_.Find(Asks(1, "user.a"), 10), std::optional<Answer>("x"));
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a"), 11)) << "the file has changed";
  EXPECT_FALSE(cache_.Find(Asks(1, "user.b"), 10));
  EXPECT_FALSE(cache_.Find(Asks(2, "user.a"), 10));
}

TEST_F(XattrCacheTest, AChangeDropsAllOfTheInode) {
  cache_.Put(Asks(1, "user.a"), 10, "x");
  cache_.Put(Asks(1, "user.b"), 11, "y");
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a"), 11));
  EXPECT_EQ(cache_.Find(Asks(1, "user.b"), 11), std::optional<Answer>("y"));
  // An answer that was overtaken.
  cache_.Put(Asks(1, "user.a"), 10, "x");
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a"), 10));
  EXPECT_EQ(cache_.Find(Asks(1, "user.b"), 11), std::optional<Answer>("y"));
}

TEST_F(XattrCacheTest, AbsenceIsKnownToo) {
  cache_.Put(Asks(1, "user.a"), 10, Answer());
  EXPECT_EQ(cache_.Find(Asks(1, "user.a"), 10), std::optional<Answer>(Answer()));
  cache_.Put(Asks(1, "user.b"), 10, "");
  EXPECT_EQ(cache_.Find(Asks(1, "user.b"), 10), std::optional<Answer>(""));
}

TEST_F(XattrCacheTest, WhatOneMayReadIsNotTheOthers) {
  cache_.Put(Asks(1, "user.a", 1), 10, "x");
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a", 2), 10));
}

TEST_F(XattrCacheTest, StaysWithinItsBytes) {
  cache_.Put(Asks(1, "user.a"), 10, std::string(5000, 'x'));
  EXPECT_FALSE(cache_.Find(Asks(1, "user.a"), 10)) << "large values are not kept";
  size_t kept = 0;
  for (uint32_t i = 0; i < 10'000; ++i) cache_.Put(Asks(i, "user.a"), 10, std::string(100, 'x'));
  for (uint32_t i = 0; i < 10'000; ++i) kept += cache_.Find(Asks(i, "user.a"), 10) ? 1 : 0;
  EXPECT_GT(kept, 0u);
  EXPECT_LE(kept * 200, 64U << 10);
}

}  // namespace
}  // namespace sheen::client
