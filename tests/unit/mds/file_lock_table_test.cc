#include "mds/file_lock_table.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sheen::mds {
namespace {

using lock::Extent;
using lock::FileLockKind;
using lock::FileLockOutcome;
using lock::FileLockType;

constexpr Fid kFile{0x200000400, 7, 0};
constexpr Fid kOther{0x200000400, 8, 0};
constexpr Nanos kStart = std::chrono::seconds(1000);

// Keeps what it is told.
class FakePeer final : public rpc::Peer {
 public:
  explicit FakePeer(uint64_t session) : Peer(session, session, rpc::kFileLocks) {}
  void Ask(rpc::Opcode opcode, std::string body, rpc::AnswerTime,
           std::function<void(bool)>) override {
    EXPECT_EQ(opcode, rpc::Opcode::kFileLockEvent);
    v1::FileLockEvents message;
    EXPECT_TRUE(message.ParseFromString(body));
    for (const auto& event : message.events()) events.push_back(event);
  }
  std::vector<v1::FileLockEvents::Event> events;
};

struct TestClient {
  explicit TestClient(uint64_t id)
      : session(std::make_shared<rpc::Session>(id, Uuid::Random(), std::array<uint8_t, 16>{})),
        peer(std::make_shared<FakePeer>(id)) {
    session->link_count = 1;
  }
  void Disconnect(Nanos now) {
    session->link_count = 0;
    session->idle_since_ns = now.count();
  }
  std::shared_ptr<rpc::Session> session;
  std::shared_ptr<FakePeer> peer;
  std::atomic<bool> ended{false};
};

class FileLockTableTest : public ::testing::Test {
 protected:
  struct Wish {
    Fid fid = kFile;
    FileLockType type = FileLockType::kWrite;
    Extent extent{0, 10};
    bool wait = false;
    uint64_t id = 0;
    uint64_t owner = 1;
  };
  static lock::FileLockRequest RequestOf(const TestClient& client, const Wish& wish) {
    lock::FileLockRequest request;
    request.owner = {client.session->id(), wish.owner, FileLockKind::kPosix};
    request.id = wish.id;
    request.type = wish.type;
    request.extent = wish.extent;
    request.wait = wish.wait;
    return request;
  }
  Result<FileLockTable::SetAnswer> Ask(TestClient* client, const Wish& wish) {
    return table_.Set(wish.fid, RequestOf(*client, wish),
                      {client->session, client->peer, &client->ended}, now_);
  }
  FileLockOutcome Set(TestClient* client, const Wish& wish) {
    const auto answer = Ask(client, wish);
    EXPECT_TRUE(answer) << answer.error().ToString();
    return answer ? answer->outcome : FileLockOutcome::kRefused;
  }
  Errc Declare(TestClient* client, const Wish& wish, std::vector<uint32_t>* lost = nullptr) {
    const lock::FileLockRequest request = RequestOf(*client, wish);
    const lock::FileLock held{request.owner, request.type, request.extent, 0};
    const auto answer = table_.Reclaim({{wish.fid, held}},
                                       {client->session, client->peer, &client->ended});
    if (answer && lost != nullptr) *lost = *answer;
    return answer ? Errc::kOk : answer.error().code();
  }

  FileLockTable table_;
  TestClient alice_{10};
  TestClient bob_{20};
  TestClient carol_{30};
  Nanos now_ = kStart;
};

TEST_F(FileLockTableTest, AWaitIsAnsweredAtOnceAndEndsByAnEvent) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&bob_, {}), FileLockOutcome::kRefused);
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  EXPECT_TRUE(bob_.peer->events.empty());
  const auto unlocked = Ask(&alice_, {.type = FileLockType::kUnlock, .extent = Extent::Whole()});
  ASSERT_TRUE(unlocked);
  ASSERT_EQ(bob_.peer->events.size(), 1U);
  EXPECT_EQ(bob_.peer->events[0].id(), 7U);
  EXPECT_EQ(bob_.peer->events[0].outcome(), v1::FILE_LOCK_GRANTED);
  EXPECT_GT(bob_.peer->events[0].sequence(), unlocked->sequence);
  EXPECT_EQ(table_.counts().waiting, 0U);
  EXPECT_EQ(table_.counts().held, 1U);
}

TEST_F(FileLockTableTest, AWaitThatIsSentAgainIsOneWaitAndIsToldWhereItCameFromLast) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  const auto old_peer = std::exchange(bob_.peer, std::make_shared<FakePeer>(21));
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  EXPECT_EQ(table_.counts().waiting, 1U);
  EXPECT_EQ(Set(&alice_, {.type = FileLockType::kUnlock}), FileLockOutcome::kGranted);
  EXPECT_TRUE(old_peer->events.empty());
  EXPECT_EQ(bob_.peer->events.size(), 1U);
  // The event was lost: the request comes again and hears that it has been granted.
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kGranted);
  EXPECT_EQ(table_.counts().held, 1U);
}

TEST_F(FileLockTableTest, AWaitThatWasCancelledIsNeverGranted) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  EXPECT_TRUE(table_.Cancel(kFile, {20, 7}));
  EXPECT_FALSE(table_.Cancel(kFile, {20, 7}));
  EXPECT_EQ(Set(&alice_, {.type = FileLockType::kUnlock}), FileLockOutcome::kGranted);
  EXPECT_TRUE(bob_.peer->events.empty());
  EXPECT_EQ(table_.counts().held, 0U);
}

TEST_F(FileLockTableTest, ACircleOverTwoFilesAndTwoClientsIsRefused) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&bob_, {.fid = kOther}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&alice_, {.fid = kOther, .wait = true, .id = 1}), FileLockOutcome::kWaiting);
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 2}), FileLockOutcome::kDeadlock);
}

TEST_F(FileLockTableTest, TheEndOfASessionServesWhoWaits) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&alice_, {.fid = kOther}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&bob_, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  EXPECT_EQ(Set(&alice_, {.wait = true, .id = 8, .owner = 2}), FileLockOutcome::kWaiting);
  alice_.ended = true;
  table_.DropSession(10);
  EXPECT_EQ(bob_.peer->events.size(), 1U);
  EXPECT_EQ(table_.counts().held, 1U);
  EXPECT_EQ(table_.counts().waiting, 0U);
  // A request that was on its way meanwhile leaves nothing behind.
  const auto late = Ask(&alice_, {.fid = kOther});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Errc::kEvicted);
}

TEST_F(FileLockTableTest, AClientThatComesBackInTimeKeepsItsLocks) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  alice_.Disconnect(now_);
  now_ += std::chrono::milliseconds(2900);
  EXPECT_FALSE(table_.Lapse(*alice_.session, now_));
  const auto early = Ask(&bob_, {.wait = true, .id = 1});
  ASSERT_TRUE(early);
  EXPECT_TRUE(early->lapsed.empty());
  alice_.session->link_count = 1;
  now_ += std::chrono::seconds(10);
  EXPECT_FALSE(table_.Lapse(*alice_.session, now_));
  EXPECT_EQ(table_.HeldOn(kFile).size(), 1U);
}

TEST_F(FileLockTableTest, ALapsedClientIsToBeEvictedOnceSomebodyWantsWhatItHolds) {
  EXPECT_EQ(Set(&alice_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&alice_, {.fid = kOther}), FileLockOutcome::kGranted);
  alice_.Disconnect(now_);
  now_ += std::chrono::seconds(4);
  EXPECT_FALSE(table_.Lapse(*alice_.session, now_)) << "nobody waits";
  const auto refused = Ask(&bob_, {});
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->lapsed, std::vector<uint64_t>{10});
  EXPECT_TRUE(refused->soon_free);
  now_ += std::chrono::seconds(3);
  EXPECT_FALSE(Ask(&bob_, {})->soon_free) << "held back for ever";
  EXPECT_EQ(Ask(&bob_, {.wait = true, .id = 3})->lapsed, std::vector<uint64_t>{10});
  EXPECT_TRUE(table_.Lapse(*alice_.session, now_));
}

TEST_F(FileLockTableTest, ALapsedClientIsGrantedNothing) {
  EXPECT_EQ(Set(&bob_, {}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&alice_, {.wait = true, .id = 1}), FileLockOutcome::kWaiting);
  EXPECT_EQ(Set(&carol_, {.wait = true, .id = 1}), FileLockOutcome::kWaiting);
  alice_.Disconnect(now_);
  now_ += std::chrono::seconds(3);
  EXPECT_FALSE(table_.Lapse(*alice_.session, now_));
  EXPECT_EQ(Set(&bob_, {.type = FileLockType::kUnlock}), FileLockOutcome::kGranted);
  EXPECT_EQ(carol_.peer->events.size(), 1U);
  EXPECT_TRUE(alice_.peer->events.empty());
}

TEST_F(FileLockTableTest, AfterARestartNothingNewIsGrantedBeforeAllHaveDeclared) {
  table_.Begin(2, {10, 20}, now_ + std::chrono::seconds(20),
               now_ + std::chrono::minutes(5));
  EXPECT_EQ(Declare(&alice_, {}), Errc::kOk);
  table_.Declared(10);
  const auto early = Ask(&alice_, {.fid = kOther});
  ASSERT_FALSE(early);
  EXPECT_EQ(early.error().code(), Errc::kUnavailable);
  EXPECT_EQ(Set(&alice_, {.type = FileLockType::kUnlock, .extent = {5, 10}}),
            FileLockOutcome::kGranted);
  EXPECT_EQ(Declare(&bob_, {.extent = {20, 30}}), Errc::kOk);
  table_.Declared(20);
  EXPECT_EQ(Set(&alice_, {.fid = kOther}), FileLockOutcome::kGranted);
  EXPECT_EQ(Set(&alice_, {.extent = {29, 31}}), FileLockOutcome::kRefused);
}

TEST_F(FileLockTableTest, WhoDoesNotDeclareInTimeHasLostWhatOthersHaveTaken) {
  table_.Begin(2, {10, 20}, now_ + std::chrono::seconds(20),
               now_ + std::chrono::minutes(5));
  table_.Declared(20);
  now_ += std::chrono::seconds(20);
  EXPECT_EQ(Set(&bob_, {}), FileLockOutcome::kGranted);
  std::vector<uint32_t> lost;
  EXPECT_EQ(Declare(&alice_, {}, &lost), Errc::kOk);
  EXPECT_EQ(lost, std::vector<uint32_t>{0});
  EXPECT_EQ(Declare(&alice_, {.extent = {10, 20}}, &lost), Errc::kOk);
  EXPECT_TRUE(lost.empty());
}

TEST_F(FileLockTableTest, WhatAwaitsADeclarationEndsWithTheSession) {
  table_.Begin(2, {10}, now_ + std::chrono::seconds(20),
               now_ + std::chrono::minutes(5));
  EXPECT_FALSE(Ask(&bob_, {}));
  table_.DropSession(10);
  EXPECT_EQ(Set(&bob_, {}), FileLockOutcome::kGranted);
}

TEST(FileLockTableRoomTest, AFullTableRefusesButLetsGo) {
  FileLockTable table({.ranges_max = 2, .waits_max = 1});
  TestClient alice(10);
  const FileLockTable::Client client{alice.session, alice.peer};
  const auto set = [&](FileLockType type, Extent extent, bool wait, uint64_t owner) {
    lock::FileLockRequest request;
    request.owner = {10, owner, FileLockKind::kPosix};
    request.id = owner;
    request.type = type;
    request.extent = extent;
    request.wait = wait;
    const auto answer = table.Set(kFile, request, client, kStart);
    return answer ? Errc::kOk : answer.error().code();
  };
  EXPECT_EQ(set(FileLockType::kWrite, {0, 10}, false, 1), Errc::kOk);
  EXPECT_EQ(set(FileLockType::kWrite, {0, 10}, true, 2), Errc::kOk);
  EXPECT_EQ(set(FileLockType::kWrite, {0, 10}, true, 3), Errc::kNoLocks);
  EXPECT_EQ(set(FileLockType::kUnlock, {4, 5}, false, 1), Errc::kOk);
  EXPECT_EQ(set(FileLockType::kWrite, {20, 30}, false, 4), Errc::kNoLocks);
  EXPECT_EQ(table.counts().held, 2U);
  table.DropSession(10);
  EXPECT_EQ(table.counts().held, 0U);
  EXPECT_EQ(table.counts().waiting, 0U);
}

// Its connections are closed when it is silent for 20 s, not 60.
TEST_F(FileLockTableTest, ASilentHolderIsWantedWhileOthersWait) {
  TestClient holder(1);
  TestClient other(2);
  TestClient bystander(3);
  ASSERT_EQ(Set(&holder, {}), FileLockOutcome::kGranted);
  ASSERT_EQ(Set(&bystander, {.fid = kOther}), FileLockOutcome::kGranted);
  for (TestClient* one : {&holder, &other, &bystander}) {
    one->session->last_heard_ns = now_.count();
  }
  now_ += std::chrono::seconds(15);
  table_.NoteWanted(now_);
  EXPECT_EQ(holder.session->wanted_until_ns, 0) << "nobody waits";
  ASSERT_EQ(Set(&other, {.wait = true, .id = 7}), FileLockOutcome::kWaiting);
  holder.session->last_heard_ns = now_.count();
  table_.NoteWanted(now_);
  EXPECT_EQ(holder.session->wanted_until_ns, 0) << "it is not silent";
  now_ += std::chrono::seconds(15);
  table_.NoteWanted(now_);
  EXPECT_GT(holder.session->wanted_until_ns, now_.count());
  EXPECT_EQ(other.session->wanted_until_ns, 0);
  EXPECT_EQ(bystander.session->wanted_until_ns, 0);
}

}  // namespace
}  // namespace sheen::mds
