#include "oss/object_locks.h"

#include <gtest/gtest.h>

#include "async/sim_poller.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

using lock::Extent;
using lock::Mode;
using std::chrono::seconds;

constexpr uint64_t kAlice = 1;
constexpr uint64_t kBob = 2;

const ObjectKey kObject{3, {{kFirstClientSequence, 7, 0}, 5, 0}};

// Answers a callback when it is told to.
class FakePeer final : public rpc::Peer {
 public:
  explicit FakePeer(uint64_t session) : Peer(session, session, rpc::kExtentLocks) {}
  void Ask(rpc::Opcode opcode, std::string body, rpc::AnswerTime time,
           std::function<void(bool)> answered) override {
    EXPECT_EQ(opcode, rpc::Opcode::kExtentCallback);
    v1::ExtentCallback callback;
    EXPECT_TRUE(callback.ParseFromString(body));
    asked.push_back(callback.lock());
    answer = std::move(answered);
    moving = std::move(time.moving);
  }
  void End() { SetEnded(); }

  std::vector<uint64_t> asked;
  std::function<void(bool)> answer;
  std::function<bool()> moving;
};

class ObjectLocksTest : public ::testing::Test {
 protected:
  ~ObjectLocksTest() override {
    bool stopped = false;
    Spawn([](ObjectLocks* locks, bool* done) -> async::Task<void> {
      co_await locks->Stop();
      *done = true;
    }(&locks, &stopped));
    EXPECT_TRUE(Until(&stopped));
  }
  void Spawn(async::Task<void> task) {
    const auto held = std::make_shared<async::Task<void>>(std::move(task));
    shard.Post([this, held] { shard.Spawn(std::move(*held)); });
    async::RunFor(&shard, std::chrono::milliseconds(1));
  }
  bool Until(const bool* done) {
    return async::RunUntil(&shard, [done] { return *done; }, seconds(60));
  }

  struct Entered {
    bool in = false;
    ObjectLocks::Access access;
  };
  void Enter(Entered* out, uint64_t session, Mode mode, Extent extent, uint64_t keep = 0) {
    Spawn([](ObjectLocks* l, ObjectLocks::Wish wish, Entered* entered) -> async::Task<void> {
      Result<ObjectLocks::Access> access = co_await l->Enter(kObject, wish);
      if (!access) co_return;
      entered->access = std::move(*access);
      entered->in = true;
    }(&locks, {session, mode, extent, keep}, out));
  }
  // On the shard, as everything.
  void Leave(Entered* entered) {
    shard.Post([entered] { entered->access.End(); });
    async::RunFor(&shard, std::chrono::milliseconds(1));
  }
  void Answer(bool yes) {
    shard.Post([this, yes] { alice->answer(yes); });
    async::RunFor(&shard, std::chrono::milliseconds(50));
  }
  // By Alice.
  std::vector<uint64_t> Declare(std::vector<ObjectLocks::Held> held) {
    std::vector<uint64_t> lost;
    shard.Post([&] { lost = locks.Declare(kAlice, held); });
    async::RunFor(&shard, std::chrono::milliseconds(1));
    return lost;
  }
  // Alice keeps lock 9 on all of the object.
  void AliceKeeps() {
    locks.AddPeer(alice);
    Entered entered;
    Enter(&entered, kAlice, Mode::kPw, {0, 100}, 9);
    ASSERT_TRUE(entered.in);
    ASSERT_TRUE(entered.access.kept());
    Leave(&entered);
    ASSERT_TRUE(locks.Holds(kObject, {kAlice, 9}, {0, 1000}));
  }

  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  ObjectLocks locks;
  std::shared_ptr<FakePeer> alice = std::make_shared<FakePeer>(kAlice);
};

TEST_F(ObjectLocksTest, AccessesWithoutLocksDoNotWait) {
  Entered one;
  Entered two;
  Enter(&one, kAlice, Mode::kPw, {0, 100});
  Enter(&two, kBob, Mode::kPw, {0, 100});
  EXPECT_TRUE(one.in && two.in);
  Leave(&one);
  Leave(&two);
}

TEST_F(ObjectLocksTest, NoLockIsKeptWhileOthersAreAtWork) {
  Entered bob;
  Enter(&bob, kBob, Mode::kPr, {0, 100});
  Entered entered;
  Enter(&entered, kAlice, Mode::kPw, {0, 100}, 9);
  EXPECT_TRUE(entered.in);
  EXPECT_FALSE(entered.access.kept());
  Leave(&entered);
  Leave(&bob);
  EXPECT_FALSE(locks.Holds(kObject, {kAlice, 9}, {0, 1}));
}

TEST_F(ObjectLocksTest, WhoNeedsWhatIsLockedWaitsForTheHoldersAnswer) {
  AliceKeeps();
  Entered bob;
  Enter(&bob, kBob, Mode::kPr, {5, 6});
  EXPECT_FALSE(bob.in);
  ASSERT_EQ(alice->asked, std::vector<uint64_t>{9});
  // The holder's own accesses go on, and what it writes under the lock.
  Entered own;
  Enter(&own, kAlice, Mode::kPr, {5, 6});
  EXPECT_TRUE(own.in);
  Leave(&own);
  EXPECT_TRUE(locks.Holds(kObject, {kAlice, 9}, {5, 6}));
  Answer(true);
  EXPECT_TRUE(bob.in);
  EXPECT_FALSE(locks.Holds(kObject, {kAlice, 9}, {5, 6}));
  EXPECT_EQ(locks.kept_count(), 0U);
  Leave(&bob);
}

TEST_F(ObjectLocksTest, ASilentHolderLosesItsLocks) {
  AliceKeeps();
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  // The connection is ended by Ask's own time; this is what it says then.
  async::RunFor(&shard, seconds(20));
  EXPECT_FALSE(bob.in);
  alice->End();
  Answer(false);
  EXPECT_TRUE(bob.in);
  EXPECT_FALSE(locks.Holds(kObject, {kAlice, 9}, {5, 6}));
  Leave(&bob);
}

TEST_F(ObjectLocksTest, AHolderWithoutConnectionHasThreeSecondsToComeBack) {
  AliceKeeps();
  alice->End();
  locks.DropPeer(*alice);
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  async::RunFor(&shard, seconds(2));
  EXPECT_FALSE(bob.in);
  // It comes back, says what it has, and is asked.
  alice = std::make_shared<FakePeer>(kAlice);
  locks.AddPeer(alice);
  async::RunFor(&shard, std::chrono::milliseconds(20));
  EXPECT_EQ(alice->asked.size(), 1U);
  EXPECT_TRUE(Declare({{kObject, 9, Extent::Whole()}}).empty());
  alice->End();
  locks.DropPeer(*alice);
  Answer(false);
  async::RunFor(&shard, seconds(4));
  EXPECT_TRUE(bob.in);
  EXPECT_EQ(Declare({{kObject, 9, Extent::Whole()}}), std::vector<uint64_t>{9});
  Leave(&bob);
}

TEST_F(ObjectLocksTest, AfterARestartKnownHoldersComeFirst) {
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).known, 0u);
  locks.BeginRecovery({kAlice});
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).left, ObjectLocks::kRecoveryMax);
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  async::RunFor(&shard, seconds(10));
  EXPECT_FALSE(bob.in);
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).awaited, 1u);
  EXPECT_LE(locks.LookAtRecovery(shard.Now()).left, seconds(10));
  locks.AddPeer(alice);
  EXPECT_TRUE(Declare({{kObject, 9, {0, 1000}}}).empty());
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).awaited, 0u);
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).lost, 0u);
  EXPECT_TRUE(locks.Holds(kObject, {kAlice, 9}, {5, 6}));
  async::RunFor(&shard, std::chrono::milliseconds(20));
  EXPECT_FALSE(bob.in);
  EXPECT_EQ(alice->asked, std::vector<uint64_t>{9});
  Answer(true);
  EXPECT_TRUE(bob.in);
  Leave(&bob);
}

TEST_F(ObjectLocksTest, ButNotForEver) {
  locks.BeginRecovery({kAlice});
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  async::RunFor(&shard, seconds(21));
  EXPECT_TRUE(bob.in);
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).awaited, 0u);
  EXPECT_EQ(locks.LookAtRecovery(shard.Now()).lost, 1u);
  Leave(&bob);
  EXPECT_EQ(Declare({{kObject, 9, {0, 1000}}}), std::vector<uint64_t>{9});
}

TEST_F(ObjectLocksTest, WhoWritesWhatItHoldsHasMoreTime) {
  AliceKeeps();
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  ASSERT_TRUE(alice->moving);
  EXPECT_FALSE(alice->moving()) << "nothing was written";
  Entered slow;
  Spawn([](ObjectLocks* l, Entered* entered) -> async::Task<void> {
    Result<ObjectLocks::Access> access = co_await l->EnterHeld(kObject, {kAlice, 9}, {0, 4096});
    if (!access) co_return;
    entered->access = std::move(*access);
    entered->in = true;
  }(&locks, &slow));
  ASSERT_TRUE(slow.in);
  EXPECT_TRUE(alice->moving() && alice->moving()) << "a write under way";
  async::RunFor(&shard, seconds(19));
  Leave(&slow);
  EXPECT_TRUE(alice->moving()) << "one that has ended since";
  EXPECT_FALSE(alice->moving());
  // Its connection breaks when the first time is over: it may come back and go on.
  async::RunFor(&shard, seconds(2));
  alice->answer(false);
  async::RunFor(&shard, std::chrono::milliseconds(100));
  EXPECT_FALSE(bob.in);
  EXPECT_TRUE(locks.Holds(kObject, {kAlice, 9}, {5, 6}));
  EXPECT_EQ(alice->asked.size(), 2U);
  Answer(true);
  EXPECT_TRUE(bob.in);
  Leave(&bob);
}

TEST_F(ObjectLocksTest, WhatIsAboutToBeLostIsNotConfirmed) {
  async::OneShot<bool> durable;
  locks.OnLost([&durable](const std::set<uint64_t>&) -> async::Task<void> {
    static_cast<void>(co_await durable);
  });
  AliceKeeps();
  alice->End();
  locks.DropPeer(*alice);
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  async::RunFor(&shard, seconds(4));
  EXPECT_FALSE(bob.in) << "it is not durable yet that Alice has lost her locks";
  EXPECT_EQ(Declare({{kObject, 9, Extent::Whole()}}), std::vector<uint64_t>{9});
  shard.Post([&durable] { durable.Set(true); });
  async::RunFor(&shard, std::chrono::milliseconds(10));
  EXPECT_TRUE(bob.in);
  Leave(&bob);
}

// What is noted of a client that has gone is believed at the next start: nothing is noted that is
// being taken away, or that it has still to declare.
TEST_F(ObjectLocksTest, WhatIsAboutToBeLostIsNotHeld) {
  async::OneShot<bool> durable;
  locks.OnLost([&durable](const std::set<uint64_t>&) -> async::Task<void> {
    static_cast<void>(co_await durable);
  });
  AliceKeeps();
  ASSERT_TRUE(locks.HeldBy(kAlice));
  EXPECT_EQ(locks.HeldBy(kAlice)->size(), 1U);
  alice->End();
  locks.DropPeer(*alice);
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  async::RunFor(&shard, seconds(4));
  ASSERT_FALSE(bob.in) << "it is not durable yet that Alice has lost her locks";
  EXPECT_FALSE(locks.HeldBy(kAlice));
  shard.Post([&durable] { durable.Set(true); });
  async::RunFor(&shard, std::chrono::milliseconds(10));
  ASSERT_TRUE(locks.HeldBy(kAlice));
  EXPECT_TRUE(locks.HeldBy(kAlice)->empty());
  Leave(&bob);
}

TEST_F(ObjectLocksTest, WhatHasStillToBeDeclaredIsNotNothing) {
  locks.BeginRecovery({kAlice});
  EXPECT_FALSE(locks.HeldBy(kAlice));
  EXPECT_TRUE(Declare({{kObject, 9, {0, 1000}}}).empty());
  ASSERT_TRUE(locks.HeldBy(kAlice));
  EXPECT_EQ(locks.HeldBy(kAlice)->size(), 1U);
}

TEST_F(ObjectLocksTest, ASessionsEndFreesWhatItHeld) {
  AliceKeeps();
  shard.Post([this] { locks.DropSession(kAlice); });
  async::RunFor(&shard, std::chrono::milliseconds(1));
  Entered bob;
  Enter(&bob, kBob, Mode::kPw, {5, 6});
  EXPECT_TRUE(bob.in);
  EXPECT_TRUE(alice->asked.empty());
  Leave(&bob);
}

}  // namespace
}  // namespace sheen::oss
