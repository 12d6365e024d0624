#include "oss/away_sessions.h"

#include <gtest/gtest.h>

namespace sheen::oss {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(AwaySessionsTest, TheOldestAbsenceCountsUntilItsClientHasSentWhatItHad) {
  AwaySessions away;
  EXPECT_EQ(away.OldestNs(500 * kSecond), 500 * kSecond);
  away.Away(1, 100 * kSecond, 100 * kSecond);
  away.Away(2, 200 * kSecond, 200 * kSecond);
  EXPECT_EQ(away.OldestNs(500 * kSecond), 100 * kSecond);
  away.Back(1, 500 * kSecond);
  EXPECT_EQ(away.OldestNs(501 * kSecond), 100 * kSecond) << "it has only just connected";
  EXPECT_EQ(away.OldestNs(561 * kSecond), 200 * kSecond);
  away.Forget(2);
  EXPECT_EQ(away.OldestNs(562 * kSecond), 562 * kSecond);
}

TEST(AwaySessionsTest, WhoGoesAgainBeforeItIsThroughWasAwayAllTheTime) {
  AwaySessions away;
  away.Away(1, 100 * kSecond, 100 * kSecond);
  away.Back(1, 200 * kSecond);
  away.Away(1, 205 * kSecond, 205 * kSecond);
  EXPECT_EQ(away.OldestNs(900 * kSecond), 100 * kSecond);
}

TEST(AwaySessionsTest, NobodyIsWaitedForForEver) {
  AwaySessions away;
  away.Away(1, 0, 100 * kSecond);  // known from before a restart
  EXPECT_EQ(away.OldestNs(3600 * kSecond), 0);
  EXPECT_EQ(away.OldestNs(3700 * kSecond), 3700 * kSecond);
}

}  // namespace
}  // namespace sheen::oss
