#include "ost/object_table.h"

#include <gtest/gtest.h>

namespace sheen::ost {
namespace {

layout::ObjectId Id(uint32_t oid) { return {{1, oid, 0}, 1, 0}; }

TEST(ObjectTableTest, SameIdIsSameObjectUntilRemoved) {
  ObjectTable table(10);
  std::vector<io::FileId> to_close;
  const auto first = table.Acquire(Id(1), &to_close);
  EXPECT_EQ(table.Acquire(Id(1), &to_close), first);
  table.Remove(first.get());
  const auto second = table.Acquire(Id(1), &to_close);
  EXPECT_NE(second, first);
  table.Remove(first.get());  // not the one that is there
  EXPECT_EQ(table.Acquire(Id(1), &to_close), second);
}

TEST(ObjectTableTest, LeastRecentlyUsedGoFirstAndHeldOnesStay) {
  ObjectTable table(3);
  std::vector<io::FileId> to_close;
  const auto held = table.Acquire(Id(1), &to_close);
  for (uint32_t i = 2; i <= 3; ++i) {
    table.Acquire(Id(i), &to_close)->file = static_cast<io::FileId>(i);
  }
  table.Acquire(Id(2), &to_close);
  table.Acquire(Id(4), &to_close);
  EXPECT_EQ(to_close, std::vector<io::FileId>{static_cast<io::FileId>(3)});
  EXPECT_EQ(table.size(), 3U);
  EXPECT_EQ(table.Acquire(Id(1), &to_close), held);
}

TEST(ObjectTableTest, HeldObjectsExceedTheBoundOnlyWhileHeld) {
  ObjectTable table(2);
  std::vector<io::FileId> to_close;
  {
    std::vector<std::shared_ptr<Object>> held;
    for (uint32_t i = 0; i < 6; ++i) held.push_back(table.Acquire(Id(i), &to_close));
    EXPECT_EQ(table.size(), 6U);
  }
  table.Acquire(Id(7), &to_close);
  EXPECT_EQ(table.size(), 2U);
}

}  // namespace
}  // namespace sheen::ost
