#include "client/idle_layouts.h"

#include <gtest/gtest.h>

namespace sheen::client {
namespace {

Fid FileOf(uint32_t number) { return {0x400, number, 0}; }

TEST(IdleLayoutsTest, GoInBatchesOfTheirShardsConnection) {
  IdleLayouts idle;
  const auto count = static_cast<uint32_t>(IdleLayouts::kBatch);
  EXPECT_FALSE(idle.Add(1, FileOf(count + 1)));
  for (uint32_t i = 1; i < count; ++i) EXPECT_FALSE(idle.Add(0, FileOf(i)));
  EXPECT_FALSE(idle.Add(0, FileOf(1))) << "the same again";
  EXPECT_TRUE(idle.Add(0, FileOf(count)));
  EXPECT_FALSE(idle.Add(0, FileOf(count + 2))) << "somebody is at it";
  EXPECT_EQ(idle.Take(0).size(), count + 1);
  EXPECT_FALSE(idle.Sent(0));
  EXPECT_EQ(idle.size(), 1U) << "the other shard's";
}

TEST(IdleLayoutsTest, WhatIsOnItsWayBackIsNotTakenAgainBeforeItIsThere) {
  IdleLayouts idle;
  idle.Add(0, FileOf(1));
  idle.Add(0, FileOf(2));
  EXPECT_TRUE(idle.Reclaim(0, FileOf(1))) << "not sent yet: it stays";
  EXPECT_TRUE(idle.Reclaim(0, FileOf(3)));
  EXPECT_EQ(idle.Take(0), std::vector<Fid>{FileOf(2)});
  EXPECT_FALSE(idle.Reclaim(0, FileOf(2)));
  EXPECT_TRUE(idle.Reclaim(0, FileOf(1)));
  EXPECT_FALSE(idle.Sent(0));
  EXPECT_TRUE(idle.Reclaim(0, FileOf(2)));
  EXPECT_EQ(idle.size(), 0U);
}

const Fid kFile = FileOf(2);
const Fid kOther = FileOf(3);

TEST(IdleLayoutsTest, EachConnectionsLockIsALockOfItsOwn) {
  IdleLayouts idle;
  EXPECT_FALSE(idle.Add(1, kFile));
  EXPECT_TRUE(idle.Reclaim(2, kFile)) << "another connection's";
  EXPECT_EQ(idle.size(), 1u) << "the MDS keeps that of the first";
  EXPECT_EQ(idle.Take(1), (std::vector<Fid>{kFile}));
  EXPECT_TRUE(idle.Reclaim(2, kFile)) << "the cancel is for the first one";
  EXPECT_FALSE(idle.Reclaim(1, kFile)) << "it would go with the one before";
  EXPECT_FALSE(idle.Add(1, kFile)) << "so it goes with the next batch";
  EXPECT_FALSE(idle.Sent(1));
  EXPECT_EQ(idle.size(), 1u);
  EXPECT_TRUE(idle.Reclaim(1, kFile));
  EXPECT_EQ(idle.size(), 0u);
}

TEST(IdleLayoutsTest, ABatchFollowsTheOneThatIsOnItsWay) {
  IdleLayouts idle;
  size_t full = 0;
  for (uint32_t i = 0; i < 2 * IdleLayouts::kBatch; ++i) {
    if (idle.Add(3, {7, i + 1, 0})) ++full;
  }
  EXPECT_EQ(full, 1u);
  EXPECT_FALSE(idle.Add(4, kOther));
  EXPECT_EQ(idle.Take(3).size(), 2 * IdleLayouts::kBatch);
  for (uint32_t i = 0; i < IdleLayouts::kBatch; ++i) EXPECT_FALSE(idle.Add(3, {8, i + 1, 0}));
  EXPECT_TRUE(idle.Sent(3)) << "there is another";
  EXPECT_EQ(idle.Take(3).size(), IdleLayouts::kBatch);
  EXPECT_FALSE(idle.Sent(3));
  EXPECT_EQ(idle.size(), 1u);
}

}  // namespace
}  // namespace sheen::client
