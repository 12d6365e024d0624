// What an OSS notes of a client that has gone, and what its next start makes of it.
#include <gtest/gtest.h>

#include "oss/service.h"
#include "sheen/v1/oss.pb.h"
#include "support/ost_world.h"

namespace sheen::oss {
namespace {

using std::chrono::seconds;

constexpr uint32_t kTarget = 3;
constexpr uint64_t kAlice = 7;
constexpr uint64_t kBob = 8;

class Connection final : public rpc::Peer {
 public:
  explicit Connection(uint64_t session) : Peer(session, session, rpc::kExtentLocks) {}
  void Ask(rpc::Opcode, std::string, rpc::AnswerTime, std::function<void(bool)> answered) override {
    answered(false);
  }
};

class GoneSessionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Start();
    ASSERT_TRUE(world.Run(service->Save(kAlice, alice_->client_uuid(), {1})));
    ASSERT_TRUE(world.Run(service->Save(kBob, bob_->client_uuid(), {2})));
  }
  void TearDown() override { Stop(); }

  void Start() {
    world.Start();
    service = std::make_unique<OssService>();
    service->AddTarget(kTarget, world.target.get());
    service->RegisterShard(&world.shard, world.io.get());
  }
  void Stop() {
    const Status stopped = world.Run(service->Stop());
    static_cast<void>(stopped);
  }
  void PowerCut() {
    Stop();
    service.reset();
    world.PowerCut();
    Start();
  }
  void Load() {
    const auto loaded = world.Run(service->LoadSessions());
    ASSERT_TRUE(loaded) << loaded.error().ToString();
  }
  void Restart() {
    PowerCut();
    Load();
  }

  // `keep`: a lock stays; nobody can be asked for it.
  Errc Write(const std::shared_ptr<rpc::Session>& session, uint32_t oid, uint64_t keep = 0) {
    v1::OstWriteRequest body;
    body.mutable_object()->mutable_fid()->set_seq(kFirstClientSequence);
    body.mutable_object()->mutable_fid()->set_oid(oid);
    body.mutable_object()->set_birth(0x10000000007);
    body.set_handle(1);
    body.set_keep_lock(keep);
    rpc::Request request;
    request.header.opcode = rpc::Opcode::kOstWrite;
    request.header.target = kTarget;
    request.header.xid = next_xid_;
    request.header.slot = next_xid_++;
    request.body = body.SerializeAsString();
    request.session = session;
    request.peer = std::make_shared<Connection>(session->id());
    request.bulk = io::Buffer::Allocate(4);
    std::memcpy(request.bulk.data(), "data", 4);
    return world.Run(service->Handle(std::move(request))).status;
  }
  Nanos TimeOfWrite(const std::shared_ptr<rpc::Session>& session, uint32_t oid) {
    const Nanos begun = world.shard.Now();
    EXPECT_EQ(Write(session, oid), Errc::kOk);
    return world.shard.Now() - begun;
  }
  // Its last connection ended a while ago.
  void Leave(const std::shared_ptr<rpc::Session>& session) {
    world.shard.Post([this, session] { service->OnSessionIdle(session); });
    async::RunFor(&world.shard, seconds(3));
  }
  size_t GoneRows() {
    const auto rows = world.Run(world.target->ReadMetaRows("gone/"));
    EXPECT_TRUE(rows);
    return rows ? rows->size() : 0;
  }

  test::OstWorld world;
  std::unique_ptr<OssService> service;
  const std::shared_ptr<rpc::Session> alice_ = std::make_shared<rpc::Session>(
      kAlice, Uuid::Random(), std::array<uint8_t, 16>{1});
  const std::shared_ptr<rpc::Session> bob_ = std::make_shared<rpc::Session>(
      kBob, Uuid::Random(), std::array<uint8_t, 16>{2});
  uint32_t next_xid_ = 1;
};

TEST_F(GoneSessionsTest, WhatWasNotedStandsAgainOverAnyNumberOfRestarts) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  ASSERT_EQ(service->lock_count(), 1U);
  Leave(alice_);
  EXPECT_EQ(GoneRows(), 1U);
  for (int i = 0; i < 3; ++i) {
    Restart();
    EXPECT_EQ(service->lock_count(), 1U);
    EXPECT_LT(TimeOfWrite(bob_, 2), seconds(1)) << "alice has nothing of it";
  }
  // She has three seconds to come back when somebody wants what she holds.
  EXPECT_GT(TimeOfWrite(bob_, 1), seconds(2));
  EXPECT_EQ(service->lock_count(), 0U);
  EXPECT_EQ(GoneRows(), 0U);
}

// A network that failed: all go and come back at once. What is written for each would take as long
// as they are many.
TEST_F(GoneSessionsTest, ManyThatGoAndComeBackTogetherAreNotedTogether) {
  constexpr uint64_t kCount = 100;
  std::vector<std::shared_ptr<rpc::Session>> all;
  for (uint64_t i = 0; i < kCount; ++i) {
    const std::array<uint8_t, 16> secret{static_cast<uint8_t>(i)};
    all.push_back(std::make_shared<rpc::Session>(100 + i, Uuid::Random(), secret));
    ASSERT_TRUE(world.Run(service->Save(all[i]->id(), all[i]->client_uuid(), secret)));
    ASSERT_EQ(Write(all[i], static_cast<uint32_t>(10 + i), 9), Errc::kOk);
  }
  // Of whom one has nothing any more.
  ASSERT_TRUE(world.Run(service->Remove(all.back()->id())));
  all.pop_back();
  ASSERT_TRUE(world.Commit());
  uint64_t before = world.fuse->used();
  for (const auto& session : all) {
    world.shard.Post([this, session] { service->OnSessionIdle(session); });
  }
  async::RunFor(&world.shard, seconds(3));
  EXPECT_EQ(GoneRows(), all.size());
  EXPECT_LT(world.fuse->used() - before, 20U) << "writes and syncs";
  before = world.fuse->used();
  std::vector<std::optional<Status>> resumed(all.size());
  for (size_t i = 0; i < all.size(); ++i) world.Start(service->Resumed(all[i]->id()), &resumed[i]);
  async::RunFor(&world.shard, seconds(3));
  for (const auto& status : resumed) EXPECT_TRUE(status && *status);
  EXPECT_EQ(GoneRows(), 0U);
  EXPECT_LT(world.fuse->used() - before, 10U);
  // And each is waited for after a restart.
  Restart();
  EXPECT_GT(TimeOfWrite(bob_, 2), seconds(15));
}

// A program that does not know these rows reads no others than before, and waits for the client.
TEST_F(GoneSessionsTest, AnOlderProgramFindsWhatItKnows) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  Leave(alice_);
  const auto rows = world.Run(world.target->ReadSessionRows());
  ASSERT_TRUE(rows);
  size_t holders = 0;
  for (const auto& [key, value] : *rows) {
    ASSERT_EQ(key.size(), 9U);
    EXPECT_TRUE(key[0] == 's' || key[0] == 'f' || key[0] == 'l') << key[0];
    EXPECT_EQ(value.size(), key[0] == 's' ? 37U : 21U);
    holders += key[0] == 'l' ? 1 : 0;
  }
  EXPECT_EQ(holders, 1U);
}

// And while it runs the client may come back and go on: what was noted before is not believed.
TEST_F(GoneSessionsTest, WhatAnEarlierBootNotedIsNotBelieved) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  Leave(alice_);
  PowerCut();  // a boot that does not look at it
  Restart();
  EXPECT_EQ(service->lock_count(), 0U);
  EXPECT_EQ(GoneRows(), 0U);
  EXPECT_GT(TimeOfWrite(bob_, 2), seconds(15)) << "alice may hold locks";
}

TEST_F(GoneSessionsTest, NothingIsLeftOfWhoEndsOrIsFencedOff) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  ASSERT_EQ(Write(bob_, 2, 9), Errc::kOk);
  Leave(alice_);
  Leave(bob_);
  EXPECT_EQ(GoneRows(), 2U);
  ASSERT_TRUE(world.Run(service->Remove(kAlice)));
  EXPECT_EQ(GoneRows(), 1U);
  v1::FenceSessionRequest fence;
  const Uuid client = bob_->client_uuid();
  fence.set_client_uuid(client.bytes.data(), client.bytes.size());
  ASSERT_TRUE(world.Run(service->FenceSession(fence)));
  EXPECT_EQ(GoneRows(), 0U);
  // Too late to be noted again.
  Leave(alice_);
  Leave(bob_);
  EXPECT_EQ(GoneRows(), 0U);
  Restart();
  EXPECT_EQ(service->lock_count(), 0U);
}

TEST_F(GoneSessionsTest, BackItIsAwaitedAgain) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  Leave(alice_);
  ASSERT_TRUE(world.Run(service->Resumed(kAlice)));
  EXPECT_EQ(GoneRows(), 0U);
  Restart();
  EXPECT_GT(TimeOfWrite(bob_, 2), seconds(15)) << "alice may hold locks";
}

// It comes back after a restart and goes before it has said what it holds.
TEST_F(GoneSessionsTest, WhoHasNotDeclaredIsStillAHolder) {
  ASSERT_EQ(Write(alice_, 1, 9), Errc::kOk);
  Restart();
  Leave(alice_);
  Restart();
  EXPECT_GT(TimeOfWrite(bob_, 2), seconds(15)) << "alice may hold locks";
}

}  // namespace
}  // namespace sheen::oss
