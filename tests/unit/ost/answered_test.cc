#include "ost/answered.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr uint64_t kSession = 77;

Result<ChangeResult> WriteAs(OstWorld* world, RequestName name, const std::string& data) {
  return world->Run(world->target->Write(
      world->io.get(), {.id = ObjectNumber(1), .request = name, .data = AsBytes(data)}));
}

TEST(AnsweredTest, WhatIsCommittedIsKnownAfterAPowerCutAndWhatIsNotIsNot) {
  OstWorld world;
  world.Start();
  const auto first = WriteAs(&world, {kSession, 3, 10}, "abc");
  ASSERT_TRUE(first);
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(WriteAs(&world, {kSession, 4, 11}, "xyz"));
  EXPECT_FALSE(world.target->FindAnswered(kSession, 3)) << "only of earlier lives";
  world.PowerCut();
  world.Start();
  const auto known = world.target->FindAnswered(kSession, 3);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->xid, 10U);
  EXPECT_EQ(known->transno, first->transno);
  EXPECT_TRUE(known->attr.exists);
  EXPECT_EQ(known->attr.size, 3U);
  EXPECT_EQ(known->attr.ctime_ns, first->attr.ctime_ns);
  EXPECT_FALSE(world.target->FindAnswered(kSession, 4));
  EXPECT_FALSE(world.target->FindAnswered(kSession + 1, 3));
}

TEST(AnsweredTest, ASlotKnowsItsLastRequest) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(WriteAs(&world, {kSession, 3, 10}, "abc"));
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(WriteAs(&world, {kSession, 3, 12}, "abcdef"));
  ASSERT_TRUE(world.Commit());
  world.PowerCut();
  world.Start();
  const auto known = world.target->FindAnswered(kSession, 3);
  ASSERT_TRUE(known);
  EXPECT_EQ(known->xid, 12U);
  EXPECT_EQ(known->attr.size, 6U);
}

TEST(AnsweredTest, WhatFoundNothingToChangeIsKnownToo) {
  OstWorld world;
  world.Start();
  const auto cut = world.Run(world.target->Truncate(
      world.io.get(), {.id = ObjectNumber(1), .request = {kSession, 1, 5}, .size = 0}));
  ASSERT_TRUE(cut);
  EXPECT_NE(cut->transno, 0U);
  const auto punched = world.Run(world.target->Allocate(
      world.io.get(), {.id = ObjectNumber(1),
                       .request = {kSession, 2, 6},
                       .length = 10,
                       .mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE}));
  ASSERT_TRUE(punched);
  ASSERT_TRUE(world.Commit());
  EXPECT_EQ(world.target->last_committed(), punched->transno);
  world.PowerCut();
  world.Start();
  for (const uint32_t slot : {1U, 2U}) {
    const auto known = world.target->FindAnswered(kSession, slot);
    ASSERT_TRUE(known) << slot;
    EXPECT_FALSE(known->attr.exists);
  }
}

TEST(AnsweredTest, ARequestWithoutASlotLeavesNothing) {
  OstWorld world;
  world.Start();
  ASSERT_TRUE(WriteAs(&world, {kSession, 0, 10}, "abc"));
  const auto cut = world.Truncate(ObjectNumber(2), 0);
  ASSERT_TRUE(cut);
  EXPECT_EQ(cut->transno, 0U) << "nothing was changed";
  ASSERT_TRUE(world.Commit());
  world.PowerCut();
  world.Start();
  EXPECT_FALSE(world.target->FindAnswered(kSession, 0));
}

TEST(AnsweredTest, OfSessionsThatHaveEndedNothingStays) {
  OstWorld world;
  world.Start();
  for (const uint64_t session : {kSession, kSession + 1, kSession + 2}) {
    ASSERT_TRUE(WriteAs(&world, {session, 3, session}, "abc"));
  }
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Run(world.target->ForgetAnswered(kSession)));
  world.Close();
  world.Start();
  EXPECT_FALSE(world.target->FindAnswered(kSession, 3));
  ASSERT_TRUE(world.Run(world.target->KeepAnsweredOf({kSession + 2})));
  world.Close();
  world.Start();
  EXPECT_FALSE(world.target->FindAnswered(kSession + 1, 3));
  EXPECT_TRUE(world.target->FindAnswered(kSession + 2, 3));
}

TEST(AnsweredTest, DamagedRowsAreRefused) {
  Answered answered;
  kv::Batch batch;
  Answered::AppendRows({{{kSession, 3}, {10, 11, {}}}}, &batch);
  ASSERT_EQ(batch.operations().size(), 1U);
  const std::string key = batch.operations()[0].key;
  const std::string row = batch.operations()[0].value;
  ASSERT_TRUE(answered.Load(key, row));
  EXPECT_EQ(answered.Find(kSession, 3)->xid, 10U);
  for (size_t i = 0; i < row.size(); ++i) {
    std::string damaged = row;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    EXPECT_FALSE(answered.Load(key, damaged)) << i;
  }
  EXPECT_FALSE(answered.Load(key, row.substr(1)));
  EXPECT_FALSE(answered.Load(key.substr(1), row));
}

}  // namespace
}  // namespace sheen::ost
