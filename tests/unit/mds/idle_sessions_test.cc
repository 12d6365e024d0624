#include "mds/idle_sessions.h"

#include <gtest/gtest.h>

namespace sheen::mds {
namespace {

constexpr Nanos kLease = std::chrono::seconds(60);
constexpr Nanos kNow = std::chrono::seconds(1000);

std::shared_ptr<rpc::Session> IdleSince(uint64_t id, Nanos since) {
  auto session = std::make_shared<rpc::Session>(id, Uuid::Random(), std::array<uint8_t, 16>{});
  session->idle_since_ns = since.count();
  return session;
}

TEST(IdleSessionsTest, ASessionExpiresOnceAndNotBeforeItsLease) {
  IdleSessions idle;
  idle.Add(IdleSince(1, kNow));
  idle.Add(IdleSince(2, kNow - kLease));
  EXPECT_EQ(idle.TakeExpired(kNow, kLease), (std::vector<uint64_t>{2}));
  EXPECT_TRUE(idle.TakeExpired(kNow + kLease - Nanos(1), kLease).empty());
  EXPECT_EQ(idle.TakeExpired(kNow + kLease, kLease), (std::vector<uint64_t>{1}));
  EXPECT_TRUE(idle.TakeExpired(kNow + 2 * kLease, kLease).empty());
}

TEST(IdleSessionsTest, WhoIsBackOrHasEndedDoesNot) {
  IdleSessions idle;
  const auto back = IdleSince(1, kNow);
  const auto ended = IdleSince(2, kNow);
  idle.Add(back);
  idle.Add(ended);
  back->link_count = 1;
  ended->ended = true;
  EXPECT_TRUE(idle.TakeExpired(kNow + kLease, kLease).empty());
  back->link_count = 0;
  EXPECT_TRUE(idle.TakeExpired(kNow + kLease, kLease).empty()) << "not added again";
}

}  // namespace
}  // namespace sheen::mds
