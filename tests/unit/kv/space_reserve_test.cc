#include "kv/space_reserve.h"

#include <gtest/gtest.h>

namespace sheen::kv {
namespace {

constexpr uint64_t kMiB = 1 << 20;

TEST(SpaceReserveTest, IsOnePercentWithinItsBoundsAndNeverMoreThanATenth) {
  EXPECT_EQ(SpaceReserve(0), 0u);
  EXPECT_EQ(SpaceReserve(100 * kMiB), 10 * kMiB);
  EXPECT_EQ(SpaceReserve(10'000 * kMiB), 128 * kMiB);
  EXPECT_EQ(SpaceReserve(100'000 * kMiB), 1000 * kMiB);
  EXPECT_EQ(SpaceReserve(10'000'000 * kMiB), 2048 * kMiB);
}

TEST(SpaceReserveTest, ACompactionMayUseFiveEighthsOfItAtLeast) {
  for (const uint64_t disk : {16 * kMiB, 300 * kMiB, 4000 * kMiB, 1'000'000 * kMiB}) {
    const uint64_t reserve = SpaceReserve(disk);
    EXPECT_LE(CompactionFloor(reserve), reserve / 8 * 3);
  }
  EXPECT_EQ(CompactionFloor(2048 * kMiB), 48 * kMiB);
}

}  // namespace
}  // namespace sheen::kv
