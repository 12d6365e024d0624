// How long others wait for clients that come back after a restart, and what gives these more time.
#include "mds/coming_back.h"

#include <optional>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

using std::chrono::seconds;

std::shared_ptr<ClientSession> HeardOf(uint64_t id) {
  auto session = std::make_shared<ClientSession>(id, Uuid::Random());
  session->NoteHeard();
  return session;
}

TEST(RecoveryTimeTest, WhoComesBackHasMoreTimeButNotForEver) {
  Recovery recovery;
  Recovery::Known known;
  const auto silent = std::make_shared<ClientSession>(2, Uuid::Random());
  known.awaited = {HeardOf(1), silent};
  const Nanos begun = seconds(1000);
  recovery.Begin(known, begun, seconds(20));
  Nanos now = begun;
  for (; now < begun + Recovery::kLongest; now += seconds(4)) {
    ASSERT_TRUE(recovery.Active(now)) << (now - begun).count();
    recovery.Extend(now + seconds(5));
  }
  EXPECT_TRUE(recovery.TakeOverdue().empty());
  EXPECT_FALSE(recovery.Active(begun + Recovery::kLongest));
  EXPECT_EQ(recovery.TakeOverdue(), std::vector<uint64_t>{1});
  EXPECT_TRUE(recovery.TakeOverdue().empty()) << "told twice";
  EXPECT_EQ(recovery.Silent(), std::vector<uint64_t>{2});
}

// Who does not come at all, or is quiet for a while, is not evicted for that.
TEST(RecoveryTimeTest, WhoIsLateIsNotOverdue) {
  Recovery recovery;
  Recovery::Known known;
  known.awaited = {HeardOf(1)};
  recovery.Begin(known, Nanos(0), seconds(20));
  recovery.Extend(seconds(23));
  EXPECT_TRUE(recovery.Active(seconds(22)));
  EXPECT_FALSE(recovery.Active(seconds(23)));
  EXPECT_TRUE(recovery.TakeOverdue().empty());
}

class ComingBackTest : public MdsFixture {
 protected:
  // The server has restarted, and waits for Alice; Bob wants to change something.
  void SetUp() override {
    MdsFixture::SetUp();
    alice_ = Connect();
    Create(kRootFid, "f");
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
    const uint64_t id = alice_->id();
    PowerCutAndStart();
    for (const auto& session : sessions_) {
      if (session->id() == id) alice_ = session;
    }
    begun_ = shard_.Now();
    BobRemoves();
  }
  void BobRemoves() {
    v1::UnlinkRequest request;
    SetFid(kRootFid, request.mutable_parent());
    request.set_name("f");
    rpc::Request frame;
    frame.header.opcode = rpc::Opcode::kMdsUnlink;
    frame.header.xid = next_xid_++;
    frame.body = request.SerializeAsString();
    frame.session = session_;
    shard_.Post([this, task = std::make_shared<rpc::Request>(std::move(frame))] {
      shard_.Spawn(Answer(std::move(*task)));
    });
  }
  async::Task<void> Answer(rpc::Request request) {
    const rpc::Response response = co_await service_->Handle(std::move(request));
    removed_ = response.status;
  }
  // Every two seconds, until Bob's change is made. How long that took.
  Nanos While(const std::function<void()>& ask) {
    while (!removed_ && shard_.Now() - begun_ < seconds(1000)) {
      ask();
      RunFor(seconds(2));
    }
    EXPECT_EQ(removed_, Errc::kOk);
    return shard_.Now() - begun_;
  }
  void Replay(uint64_t xid) {
    v1::MakeNodeRequest request;  // of nothing: it is refused
    CallAs<v1::MakeNodeReply>(alice_, rpc::Opcode::kMdsMakeNode, request,
                              {.flags = rpc::kReplay, .xid = xid, .slot = 2});
  }

  std::shared_ptr<rpc::Session> alice_;
  Nanos begun_{0};
  std::optional<Errc> removed_;
};

TEST_F(ComingBackTest, NobodyHoldsUpTheOthersForEver) {
  const Nanos took = While([this] { Replay(next_xid_++); });
  EXPECT_GT(took, Recovery::kLongest - seconds(5));
  EXPECT_LT(took, Recovery::kLongest + seconds(10));
  RunFor(seconds(5));
  EXPECT_EQ(evicted_sessions_, std::vector<uint64_t>{alice_->id()})
      << "what she would repeat now might undo what others have done";
}

// The server does not answer it, and the client begins again with it.
TEST_F(ComingBackTest, TheSameReplayGivesTimeOnce) {
  EXPECT_LT(While([this] { Replay(7777); }), seconds(30));
}

// After the replays there is more to be said: what is open.
TEST_F(ComingBackTest, WhatIsDeclaredGivesTimeToo) {
  uint64_t handle = 1 << 20;
  const Fid file = Find(kRootFid, "f");
  int left = 40;
  const Nanos took = While([&] {
    if (left-- <= 0) return;
    v1::OpenRequest request;
    SetFid(file, request.mutable_fid());
    request.set_handle(++handle);
    request.set_reopen(true);
    EXPECT_TRUE(CallAs<v1::OpenReply>(alice_, rpc::Opcode::kMdsOpen, request).ok());
  });
  EXPECT_GT(took, seconds(80));
  EXPECT_LT(took, seconds(100));
}

TEST_F(ComingBackTest, AnOrdinaryRequestEndsIt) {
  EXPECT_LT(While([this] {
              v1::GetAttrRequest request;
              SetFid(kRootFid, request.mutable_fid());
              CallAs<v1::GetAttrReply>(alice_, rpc::Opcode::kMdsGetAttr, request);
            }),
            seconds(5));
}

// He asks again when the server is back.
TEST_F(ComingBackTest, AServerThatStopsKeepsNobodyWaiting) {
  RunFor(seconds(1));
  ASSERT_FALSE(removed_) << "he does not wait";
  service_->BeginStop();
  RunFor(seconds(1));
  EXPECT_EQ(removed_, Errc::kUnavailable);
}

}  // namespace
}  // namespace sheen::mds
