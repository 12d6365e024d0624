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

}  // namespace
}  // namespace sheen::oss
