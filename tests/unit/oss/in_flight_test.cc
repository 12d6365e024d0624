#include "oss/in_flight.h"

#include <gtest/gtest.h>

#include <memory>

namespace sheen::oss {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(InFlightTest, OldestIsNeverLaterThanTheOldestRequest) {
  InFlight in_flight;
  const int64_t start = 1'700'000'003 * kSecond;
  EXPECT_EQ(in_flight.OldestNs(start), start);
  auto first = std::make_unique<InFlight::Entry>(&in_flight, start);
  auto second = std::make_unique<InFlight::Entry>(&in_flight, start + 100 * kSecond);
  const int64_t now = start + 200 * kSecond;
  EXPECT_LE(in_flight.OldestNs(now), start);
  EXPECT_GT(in_flight.OldestNs(now), start - 5 * kSecond);
  first.reset();
  EXPECT_LE(in_flight.OldestNs(now), start + 100 * kSecond);
  EXPECT_GT(in_flight.OldestNs(now), start + 95 * kSecond);
  second.reset();
  EXPECT_EQ(in_flight.OldestNs(now), now);
}

TEST(InFlightTest, AMomentIsOverWhenWhatBeganBeforeItHasEnded) {
  InFlight in_flight;
  auto before = std::make_unique<InFlight::Entry>(&in_flight, 0);
  const auto first = in_flight.Turn();
  ASSERT_TRUE(first.has_value());
  const InFlight::Entry after(&in_flight, 0);
  EXPECT_FALSE(in_flight.Ended(*first));
  EXPECT_FALSE(in_flight.Turn().has_value()) << "there is no third phase";
  before.reset();
  EXPECT_TRUE(in_flight.Ended(*first)) << "what began later does not count";
  const auto second = in_flight.Turn();
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(in_flight.Ended(*second));
  const InFlight::Entry later(&in_flight, 0);
  EXPECT_TRUE(in_flight.Ended(*first)) << "and stays so";
}

TEST(InFlightTest, WhoWaitsForSomethingElseIsNotWaitedForAndStaysOld) {
  InFlight in_flight;
  const int64_t start = 1'700'000'003 * kSecond;
  InFlight::Entry entry(&in_flight, start);
  const auto first = in_flight.Turn();
  ASSERT_TRUE(first.has_value());
  EXPECT_FALSE(in_flight.Ended(*first));
  entry.Pause();
  EXPECT_TRUE(in_flight.Ended(*first));
  // A tombstone must stay as long as it may still write.
  EXPECT_LE(in_flight.OldestNs(start + 100 * kSecond), start);
  entry.Resume();
  EXPECT_TRUE(in_flight.Ended(*first));
  const auto second = in_flight.Turn();
  ASSERT_TRUE(second.has_value());
  EXPECT_FALSE(in_flight.Ended(*second)) << "it goes on, as begun after the first";
}

}  // namespace
}  // namespace sheen::oss
