#include "apps/lfs/auto_stripe.h"

#include <gtest/gtest.h>

namespace sheen::lfs {
namespace {

constexpr uint64_t kGibibyte = 1ULL << 30;

std::vector<v1::TargetSpace> Osts(std::vector<uint64_t> free_gibibytes) {
  std::vector<v1::TargetSpace> targets(1);
  targets[0].set_is_mdt(true);
  targets[0].set_up(true);
  for (const uint64_t free : free_gibibytes) {
    v1::TargetSpace& target = targets.emplace_back();
    target.set_up(true);
    target.set_bytes_available(free * kGibibyte);
  }
  return targets;
}

TEST(AutoStripe, GrowsWithTheRootOfTheSize) {
  const auto osts = Osts(std::vector<uint64_t>(16, 100'000));
  EXPECT_EQ(AutoStripeCount(0, osts, {}), 1u);
  EXPECT_EQ(AutoStripeCount(kGibibyte - 1, osts, {}), 1u);
  EXPECT_EQ(AutoStripeCount(kGibibyte, osts, {}), 2u);
  EXPECT_EQ(AutoStripeCount(4 * kGibibyte, osts, {}), 3u);
  EXPECT_EQ(AutoStripeCount(100 * kGibibyte, osts, {}), 11u);
  EXPECT_EQ(AutoStripeCount(1'000 * kGibibyte, osts, {}), 16u) << "as many as there are";
}

TEST(AutoStripe, ObjectsAreSmallBesideTheFreeSpaceOfTheFullestOst) {
  EXPECT_EQ(AutoStripeCount(4 * kGibibyte, Osts({1000, 100, 1000, 1000, 1000}), {}), 4u);
  EXPECT_EQ(AutoStripeCount(4 * kGibibyte, Osts({1000, 100, 1000, 1000, 1000}), {.cap = 10}), 3u);
}

TEST(AutoStripe, FullOstsAndThoseThatAreAwayDoNotCount) {
  auto osts = Osts({1000, 1000, 0, 1000});
  EXPECT_EQ(AutoStripeCount(100 * kGibibyte, osts, {}), 3u);
  osts[1].set_up(false);
  EXPECT_EQ(AutoStripeCount(100 * kGibibyte, osts, {}), 2u);
  EXPECT_EQ(AutoStripeCount(100 * kGibibyte, osts, {.free_bytes_min = 2000 * kGibibyte}), 1u);
}

}  // namespace
}  // namespace sheen::lfs
