#include "mds/lock_table.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sheen::mds {
namespace {

constexpr Fid kFile{0x200000400, 7, 0};
constexpr Fid kOther{0x200000400, 8, 0};
constexpr Nanos kNow = std::chrono::seconds(100);

class FakePeer final : public rpc::Peer {
 public:
  FakePeer(uint64_t id, uint64_t session) : Peer(id, session, rpc::kInodeLocks) {}
  void Ask(rpc::Opcode, std::string, rpc::AnswerTime, std::function<void(bool)>) override {}
  void End() { SetEnded(); }
};

std::shared_ptr<FakePeer> PeerOf(uint64_t id, uint64_t session) {
  return std::make_shared<FakePeer>(id, session);
}

struct Fixture : public ::testing::Test {
  bool Announce(LockTable::Owner owner, uint32_t bits, LockTable::SetAside aside = {}) {
    calls.clear();
    return table.Announce(owner, kFile, bits, aside, &calls);
  }
  LockTable table{100};
  std::vector<LockCall> calls;
  std::shared_ptr<FakePeer> a = PeerOf(1, 10);
  std::shared_ptr<FakePeer> b = PeerOf(2, 20);
};
using LockTableTest = Fixture;

TEST_F(LockTableTest, ReadersShareAndAChangeCallsEachOnce) {
  EXPECT_EQ(table.Grant(kFile, lock::kAttrBits, a, 1), lock::kAttrBits);
  EXPECT_EQ(table.Grant(kFile, lock::kLookup, b, 2), lock::kLookup);
  EXPECT_FALSE(Announce(3, lock::kUpdate | lock::kLookup));
  ASSERT_EQ(calls.size(), 2U);
  EXPECT_EQ(calls[0].bits, lock::kUpdate);
  EXPECT_EQ(calls[1].bits, lock::kLookup);
  EXPECT_FALSE(Announce(3, lock::kUpdate | lock::kLookup));
  EXPECT_TRUE(calls.empty()) << "called twice";
  table.Release(1, kFile, lock::kUpdate);
  EXPECT_FALSE(Announce(3, lock::kUpdate | lock::kLookup));
  table.Release(2, kFile, lock::kLookup);
  EXPECT_TRUE(Announce(3, lock::kUpdate | lock::kLookup));
}

TEST_F(LockTableTest, WhoWaitsIsWokenAsTheServerEnds) {
  ASSERT_EQ(table.Grant(kFile, lock::kUpdate, a, 1), lock::kUpdate);
  ASSERT_FALSE(Announce(2, lock::kUpdate));
  int woken = 0;
  ASSERT_TRUE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
  table.EndWaiting();
  EXPECT_EQ(woken, 1);
  EXPECT_FALSE(table.Wait(2, kFile, {}, [&woken] { ++woken; })) << "waits again";
  EXPECT_FALSE(Announce(2, lock::kUpdate)) << "without having the lock";
}

TEST_F(LockTableTest, AHoldIsOneHandlesAndGivesTheLayoutToNobody) {
  const HoldOwner owner{10, 5};
  EXPECT_TRUE(table.Hold(kFile, owner, kNow));
  EXPECT_TRUE(table.Hold(kFile, owner, kNow)) << "again";
  EXPECT_FALSE(table.Hold(kFile, {10, 6}, kNow)) << "of another handle";
  EXPECT_EQ(table.HolderOf(kFile), owner);
  EXPECT_EQ(table.Grant(kFile, lock::kLayout, a, 1), 0U) << "not to its own session either";
  EXPECT_EQ(table.Grant(kFile, lock::kAttrBits, b, 2), lock::kAttrBits);
  EXPECT_EQ(table.Grant(kOther, lock::kLayout, b, 2), lock::kLayout);
  table.EndHold(kFile, {20, 5});
  EXPECT_TRUE(table.IsHeld(kFile)) << "not its own to end";
  table.EndHold(kFile, owner);
  EXPECT_EQ(table.Grant(kFile, lock::kLayout, b, 2), lock::kLayout);
}

TEST_F(LockTableTest, AHoldEndsWithItsSessionOrWhenItIsNotRenewed) {
  const HoldOwner owner{10, 5};
  EXPECT_TRUE(table.Hold(kFile, owner, kNow));
  EXPECT_TRUE(table.Hold(kOther, {20, 5}, kNow));
  EXPECT_EQ(table.EndHoldsOf(20), std::vector<Fid>{kOther});
  EXPECT_TRUE(table.IsHeld(kFile));
  EXPECT_FALSE(table.RenewHold(kFile, {10, 6}, kNow)) << "not its own to renew";
  EXPECT_TRUE(table.RenewHold(kFile, owner, kNow + std::chrono::seconds(9)));
  EXPECT_TRUE(table.EndSilentHolds(kNow + LockTable::kHoldMax).empty());
  EXPECT_EQ(table.EndSilentHolds(kNow + std::chrono::seconds(9) + LockTable::kHoldMax),
            std::vector<Fid>{kFile});
  EXPECT_FALSE(table.RenewHold(kFile, owner, kNow + std::chrono::seconds(20)));
  EXPECT_EQ(table.Grant(kFile, lock::kLayout, b, 2), lock::kLayout);
}

TEST_F(LockTableTest, ASessionGivesBackWhatAllItsConnectionsHave) {
  const auto again = PeerOf(3, 10);
  table.Grant(kFile, lock::kLayout | lock::kUpdate, a, 1);
  table.Grant(kFile, lock::kLayout, again, 1);
  table.Grant(kFile, lock::kLayout, b, 2);
  table.ReleaseSession(10, kFile, lock::kLayout);
  EXPECT_EQ(table.size(), 2U);
  EXPECT_FALSE(Announce(4, lock::kLayout));
  ASSERT_EQ(calls.size(), 1U);
  EXPECT_EQ(calls[0].peer, b);
  EXPECT_FALSE(Announce(4, lock::kUpdate)) << "the rest stays";
  table.ReleaseSession(20, kFile, lock::kLayout);
  EXPECT_FALSE(Announce(4, lock::kLayout)) << "called back: the answer is awaited";
}

TEST_F(LockTableTest, BitsThatAreNotTouchedDoNotConflict) {
  table.Grant(kFile, lock::kLookup, a, 1);
  EXPECT_TRUE(Announce(2, lock::kUpdate));
  EXPECT_TRUE(calls.empty());
}

TEST_F(LockTableTest, NothingIsGrantedFromAnAnnouncementToItsEnd) {
  EXPECT_TRUE(Announce(1, lock::kUpdate));
  EXPECT_EQ(table.Grant(kFile, lock::kAttrBits, a, 2), 0U);
  EXPECT_EQ(table.Grant(kFile, lock::kLookup, a, 2), lock::kLookup) << "another bit";
  EXPECT_EQ(table.Grant(kFile, lock::kAttrBits, b, 1), lock::kAttrBits) << "the change's own";
  table.Finish(1, kFile, false);
  EXPECT_EQ(table.Grant(kFile, lock::kAttrBits, a, 2), lock::kAttrBits);
}

TEST_F(LockTableTest, ALockAskedBackIsNotGrantedAgainBeforeItIsBack) {
  table.Grant(kFile, lock::kUpdate, a, 1);
  EXPECT_FALSE(Announce(2, lock::kUpdate));
  table.Finish(2, kFile, false);
  EXPECT_EQ(table.Grant(kFile, lock::kUpdate, a, 3), 0U);
  table.Release(1, kFile, lock::kUpdate);
  EXPECT_EQ(table.Grant(kFile, lock::kUpdate, a, 3), lock::kUpdate);
}

TEST_F(LockTableTest, WhatAClientHasSetAsideIsInNobodysWayButOthersIs) {
  const std::vector<Fid> aside{kFile};
  table.Grant(kFile, lock::kUpdate, a, 1);
  EXPECT_TRUE(Announce(2, lock::kUpdate, {10, aside}));
  table.Finish(2, kFile, false);
  EXPECT_FALSE(Announce(3, lock::kUpdate, {20, aside}));
  const std::vector<Fid> another{kOther};
  EXPECT_FALSE(Announce(4, lock::kUpdate, {10, another}));
}

TEST_F(LockTableTest, AWaiterIsWokenByTheReleaseAndOnlyWaitsForWhatIsInItsWay) {
  int woken = 0;
  table.Grant(kFile, lock::kUpdate, a, 1);
  EXPECT_FALSE(Announce(2, lock::kUpdate));
  EXPECT_TRUE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
  table.Release(1, kFile, lock::kLookup);
  EXPECT_EQ(woken, 1) << "looks again after every change";
  EXPECT_TRUE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
  table.Release(1, kFile, lock::kUpdate);
  EXPECT_EQ(woken, 2);
  EXPECT_FALSE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
}

TEST_F(LockTableTest, AWaiterIsWokenWhenTheInodeIsGone) {
  int woken = 0;
  table.Grant(kFile, lock::kUpdate, a, 1);
  EXPECT_FALSE(Announce(2, lock::kUpdate));
  EXPECT_TRUE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
  table.Finish(3, kFile, true);
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(Announce(2, lock::kUpdate));
}

TEST_F(LockTableTest, TheLocksOfAnEndedConnectionGoWithItAndNoneIsGrantedToIt) {
  int woken = 0;
  table.Grant(kFile, lock::kUpdate, a, 1);
  table.Grant(kOther, lock::kUpdate, a, 1);
  table.Grant(kOther, lock::kUpdate, b, 1);
  EXPECT_FALSE(Announce(2, lock::kUpdate));
  EXPECT_TRUE(table.Wait(2, kFile, {}, [&woken] { ++woken; }));
  a->End();
  EXPECT_EQ(table.Grant(kFile, lock::kLookup, a, 3), 0U);
  EXPECT_FALSE(Announce(2, lock::kUpdate)) << "its client may not know yet";
  table.DropPeer(1);
  EXPECT_EQ(woken, 1);
  EXPECT_TRUE(Announce(2, lock::kUpdate));
  EXPECT_EQ(table.size(), 1U);
  table.DropSession(20);
  EXPECT_EQ(table.size(), 0U);
}

TEST_F(LockTableTest, ThereIsALimitAndAnInodeThatIsGoneTakesItsLocksAlong) {
  LockTable small(2);
  EXPECT_NE(small.Grant({1, 1, 0}, lock::kUpdate, a, 1), 0U);
  EXPECT_NE(small.Grant({1, 2, 0}, lock::kUpdate, a, 1), 0U);
  EXPECT_EQ(small.Grant({1, 3, 0}, lock::kUpdate, a, 1), 0U);
  EXPECT_NE(small.Grant({1, 2, 0}, lock::kLookup, a, 1), 0U) << "more bits of one held";
  small.Finish(9, {1, 1, 0}, true);
  EXPECT_EQ(small.size(), 1U);
  EXPECT_NE(small.Grant({1, 3, 0}, lock::kUpdate, a, 1), 0U);
}

}  // namespace
}  // namespace sheen::mds
