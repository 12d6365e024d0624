#include <gtest/gtest.h>

#include "ost/index_record.h"
#include "ost/tombstones.h"
#include "support/ost_world.h"

namespace sheen::ost {
namespace {

using test::ObjectNumber;
using test::OstWorld;

class DestroyTest : public ::testing::Test {
 protected:
  void SetUp() override { world.Start(); }
  OstWorld world;
  const layout::ObjectId id = ObjectNumber(1);
};

TEST_F(DestroyTest, DestroyedObjectIsGoneWithItsFile) {
  ASSERT_TRUE(world.Write(id, 0, "a"));
  ASSERT_TRUE(world.Destroy({id, id, ObjectNumber(2)}));  // twice, and one that never was
  // Not a hole: who asks has an old layout.
  EXPECT_EQ(world.GetAttr(id).error().code(), Errc::kStale);
  EXPECT_EQ(world.Read(id, 0, 1).error().code(), Errc::kStale);
  EXPECT_FALSE(world.Run(world.io->StatPath(ObjectPath("/ost", id))));
  EXPECT_TRUE(world.Destroy({id}));
  EXPECT_TRUE(world.Commit());
}

TEST_F(DestroyTest, LateWritesDoNotBringAnObjectBack) {
  ASSERT_TRUE(world.Write(id, 0, "a"));
  ASSERT_TRUE(world.Destroy({id, ObjectNumber(2)}));
  for (const layout::ObjectId& late : {id, ObjectNumber(2)}) {
    EXPECT_EQ(world.Write(late, 0, "late").error().code(), Errc::kStale);
    EXPECT_EQ(world.Truncate(late, 5, true).error().code(), Errc::kStale);
    EXPECT_EQ(world.Allocate(late, 0, 0, 5).error().code(), Errc::kStale);
  }
  world.PowerCut();
  world.Start();
  EXPECT_EQ(world.Write(id, 0, "late").error().code(), Errc::kStale);
  layout::ObjectId other_birth = id;
  ++other_birth.birth;
  EXPECT_TRUE(world.Write(other_birth, 0, "a new layout's object"));
}

TEST_F(DestroyTest, TombstonesGoAfterTheirTimeAndNotBeforeOldRequestsEnd) {
  ASSERT_TRUE(world.Destroy({id}));
  const int64_t destroyed_ns = world.clock.Wall().count();
  world.clock.Advance(std::chrono::seconds(59));
  world.Tick();
  EXPECT_EQ(world.Write(id, 0, "late").error().code(), Errc::kStale);
  world.clock.Advance(std::chrono::seconds(10));
  world.Tick(destroyed_ns - 1);  // a request from before is still in flight
  EXPECT_EQ(world.Write(id, 0, "late").error().code(), Errc::kStale);
  world.Tick();
  EXPECT_TRUE(world.Write(id, 0, "forgotten"));
  const auto row = world.store->Get(kTombstoneFamily, ObjectKey(id), kv::Blocking::kMayBlock);
  ASSERT_TRUE(row);
  EXPECT_FALSE(row->has_value());
}

TEST_F(DestroyTest, ManyAtOnceAreOneSyncOfTheIndex) {
  std::vector<layout::ObjectId> ids;
  for (uint32_t i = 0; i < 700; ++i) {
    ids.push_back(ObjectNumber(i));
    ASSERT_TRUE(world.Write(ids.back(), 0, "a"));
  }
  ASSERT_TRUE(world.Commit());
  ASSERT_TRUE(world.Destroy(ids));
  world.PowerCut();
  world.Start();
  for (const layout::ObjectId& gone : ids) {
    ASSERT_EQ(world.GetAttr(gone).error().code(), Errc::kStale);
  }
}

TEST_F(DestroyTest, SetOwnerLeavesAbsentObjectsAbsent) {
  EXPECT_TRUE(world.Run(
      world.target->SetOwner(world.io.get(), {id}, {.uid = 5, .layout_generation = 2})));
  EXPECT_FALSE(world.GetAttr(id)->exists);
}

TEST_F(DestroyTest, ALateFenceLeavesNoRowOfADestroyedObject) {
  ASSERT_TRUE(world.Destroy({id}));
  const Status late = world.Run(world.target->Fence(world.io.get(), {id}, 4));
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Errc::kStale);
  const auto row = world.store->Get(kObjectFamily, ObjectKey(id), kv::Blocking::kMayBlock);
  ASSERT_TRUE(row);
  EXPECT_FALSE(row->has_value());
}

TEST(TombstonesTest, ALaterDestroyOfTheSameObjectCounts) {
  Tombstones tombstones;
  tombstones.Add(ObjectNumber(1), 100);
  tombstones.Add(ObjectNumber(1), 200);
  EXPECT_TRUE(tombstones.Expire(150).empty());
  EXPECT_TRUE(tombstones.Contains(ObjectNumber(1)));
  EXPECT_EQ(tombstones.Expire(201).size(), 1U);
  EXPECT_EQ(tombstones.size(), 0U);
}

}  // namespace
}  // namespace sheen::ost
