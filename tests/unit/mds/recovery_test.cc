// What outlives what: open-unlinked files, outbox rows, sessions; and the store after power cuts.
#include <cstdlib>
#include <optional>

#include "base/random.h"
#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class RecoveryTest : public MdsFixture {
 protected:
  void Sync() {
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  }
  bool Exists(const Fid& fid) {
    v1::GetAttrRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::GetAttrReply>(rpc::Opcode::kMdsGetAttr, request).ok();
  }
  // Returns at once; `*out` is set when it is answered.
  void BeginUnlink(const std::string& name, std::optional<Errc>* out) {
    v1::UnlinkRequest request;
    SetFid(kRootFid, request.mutable_parent());
    request.set_name(name);
    rpc::Request frame;
    frame.header.opcode = rpc::Opcode::kMdsUnlink;
    frame.header.xid = next_xid_++;
    frame.body = request.SerializeAsString();
    frame.session = session_;
    shard_.Post([this, out, task = std::make_shared<rpc::Request>(std::move(frame))] {
      shard_.Spawn(Answer(service_.get(), std::move(*task), out));
    });
  }
  static async::Task<void> Answer(MdsService* service, rpc::Request request,
                                  std::optional<Errc>* out) {
    const rpc::Response response = co_await service->Handle(std::move(request));
    *out = response.status;
  }
  bool Reopen(const std::shared_ptr<rpc::Session>& session, const Fid& fid, uint64_t handle) {
    v1::OpenRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(handle);
    request.set_reopen(true);
    return CallAs<v1::OpenReply>(session, rpc::Opcode::kMdsOpen, request).ok();
  }
};

TEST_F(RecoveryTest, DestroysLeaveOnlyWhenTheUnlinkIsDurable) {
  const Fid file = Create(kRootFid, "f");
  Sync();
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  EXPECT_TRUE(objects_.destroyed.empty());
  PowerCutAndStart();
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(Find(kRootFid, "f"), file) << "the unlink was lost";
  EXPECT_TRUE(objects_.destroyed.empty()) << "so its objects must be there";
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
}

TEST_F(RecoveryTest, OrdersStayUntilTheOssHasThemAndSurviveARestart) {
  Create(kRootFid, "f");
  objects_.down = true;
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  RunFor(std::chrono::seconds(5));
  EXPECT_TRUE(objects_.destroyed.empty());
  PowerCutAndStart();
  objects_.down = false;
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(objects_.destroyed.size(), 1u) << "sent once";
  const auto cursor = store_->NewCursor(mdt::kOutbox, kv::Blocking::kMayBlock);
  cursor->Seek("");
  EXPECT_FALSE(cursor->Valid());
}

TEST_F(RecoveryTest, AFileOpenAtItsLastUnlinkGoesWithItsLastClose) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Open(file, 1, O_RDONLY).ok());
  ASSERT_TRUE(Open(file, 2, O_RDONLY).ok());
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  EXPECT_EQ(Attr(file).nlink(), 0u);
  EXPECT_EQ(LinkTo(file, kRootFid, "back"), Errc::kNoEntry);
  EXPECT_TRUE(Close(file, 1).ok());
  EXPECT_TRUE(Exists(file));
  RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(objects_.destroyed.empty());
  EXPECT_TRUE(Close(file, 2).ok());
  EXPECT_FALSE(Exists(file));
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
}

TEST_F(RecoveryTest, OrphansWaitForClientsToDeclareThem) {
  const auto other = Connect();
  const Fid kept = Create(kRootFid, "kept");
  const Fid left = Create(kRootFid, "left");
  ASSERT_TRUE(Open(kept, 1, O_RDONLY).ok());
  ASSERT_TRUE(Open(left, 2, O_RDONLY).ok());
  EXPECT_EQ(Unlink(kRootFid, "kept"), Errc::kOk);
  EXPECT_EQ(Unlink(kRootFid, "left"), Errc::kOk);
  Sync();
  PowerCutAndStart();
  ASSERT_TRUE(Reopen(session_, kept, 1));
  RunFor(std::chrono::seconds(10));
  EXPECT_TRUE(objects_.destroyed.empty()) << "the other client may still come";
  RunFor(std::chrono::seconds(15));
  EXPECT_TRUE(Exists(kept));
  EXPECT_FALSE(Exists(left));
  EXPECT_TRUE(Close(kept, 1).ok());
  EXPECT_FALSE(Exists(kept));
}

TEST_F(RecoveryTest, WhenAllClientsAreBackOrphansNeedNotWait) {
  const Fid left = Create(kRootFid, "left");
  ASSERT_TRUE(Open(left, 2, O_RDONLY).ok());
  EXPECT_EQ(Unlink(kRootFid, "left"), Errc::kOk);
  Sync();
  PowerCutAndStart();
  Attr(kRootFid);  // an ordinary request: back
  RunFor(std::chrono::seconds(3));
  EXPECT_FALSE(Exists(left));
}

TEST_F(RecoveryTest, ChangesWaitForTheClientsThatAreAwaited) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  Sync();
  PowerCutAndStart();
  std::optional<Errc> unlinked;
  BeginUnlink("f", &unlinked);
  RunFor(std::chrono::seconds(10));
  EXPECT_FALSE(unlinked) << "the other client may still show the name";
  EXPECT_EQ(Find(kRootFid, "f"), file) << "reading goes on";
  ASSERT_TRUE(Reopen(sessions_[1], file, 5));
  RunFor(std::chrono::seconds(1));
  EXPECT_FALSE(unlinked) << "it is still coming back";
  ASSERT_TRUE(CallAs<v1::StatFsReply>(sessions_[1], rpc::Opcode::kMdsStatFs, v1::StatFsRequest())
                  .ok());
  RunFor(std::chrono::seconds(1));
  EXPECT_EQ(unlinked, Errc::kOk);
  EXPECT_TRUE(Exists(file)) << "the other client has it open";
}

TEST_F(RecoveryTest, AndForThoseWhoDoNotComeNotForEver) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  Sync();
  PowerCutAndStart();
  std::optional<Errc> unlinked;
  BeginUnlink("f", &unlinked);
  RunFor(std::chrono::seconds(18));
  EXPECT_FALSE(unlinked);
  ASSERT_TRUE(Reopen(sessions_[1], file, 5));
  RunFor(std::chrono::seconds(4));
  EXPECT_FALSE(unlinked) << "it is coming back";
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(unlinked, Errc::kOk);
  EXPECT_TRUE(Exists(file)) << "open, though its client has done nothing else since";
}

TEST_F(RecoveryTest, ASessionsEndClosesItsHandles) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  v1::OpenRequest open;
  SetFid(file, open.mutable_fid());
  open.set_handle(1);
  open.set_flags(O_RDWR);
  ASSERT_TRUE(CallAs<v1::OpenReply>(other, rpc::Opcode::kMdsOpen, open).ok());
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  EXPECT_TRUE(Exists(file));
  EXPECT_EQ(service_->session_count(), 2u);
  ASSERT_TRUE(Run(service_->Remove(other->id())).has_value());
  EXPECT_FALSE(Exists(file));
  EXPECT_EQ(service_->session_count(), 1u);
  EXPECT_EQ(CallAs<v1::OpenReply>(other, rpc::Opcode::kMdsOpen, open).status, Errc::kEvicted);
  for (const mdt::Family family : {mdt::kClients, mdt::kSlots}) {
    const auto cursor = store_->NewCursor(family, kv::Blocking::kMayBlock);
    cursor->Seek(mdt::SessionKey(other->id()));
    EXPECT_FALSE(cursor->Valid() && cursor->key().starts_with(mdt::SessionKey(other->id())));
  }
}

TEST_F(RecoveryTest, SavedSessionsSurviveAPowerCut) {
  const auto other = Connect();
  PowerCutAndStart();
  EXPECT_EQ(service_->LoadSessions().size(), 2u);
  EXPECT_EQ(service_->Identity().boot, 2u);
  EXPECT_EQ(service_->Identity().server_name, "mds0");
  EXPECT_GT(service_->recovered_transno(), 0u);
  EXPECT_EQ(Names(kRootFid).size(), 0u);
  EXPECT_EQ(
      CallAs<v1::LookupReply>(sessions_[1], rpc::Opcode::kMdsLookup, v1::LookupRequest()).status,
      Errc::kInvalid);
}

// Random operations with power cuts that keep a random part of what was not synced. TearDown's and
// each round's CheckStore find any half of an operation; what was synced is there.
TEST_F(RecoveryTest, PowerCutsNeverLeaveHalfAnOperation) {
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  SCOPED_TRACE("SHEEN_SEED=" + std::to_string(seed));
  Random random(seed);
  uint64_t handle = 1'000'000;
  for (int round = 0; round < 30; ++round) {
    std::vector<Fid> directories = {kRootFid};
    for (int step = 0; step < 60; ++step) {
      const auto any = [&] { return directories[random.Below(directories.size())]; };
      const auto name = [&] { return "n" + std::to_string(random.Below(12)); };
      const Fid parent = any();
      const std::string which = name();
      switch (random.Below(8)) {
        case 0: {
          v1::MakeNodeRequest request;
          SetFid(parent, request.mutable_parent());
          SetFid(NewFid(), request.mutable_fid());
          request.set_name(which);
          request.set_mode(S_IFDIR | 0755);
          const auto made = Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request);
          if (made.ok()) directories.push_back(FidOf(request.fid()));
          break;
        }
        case 1:
        case 2:
          (void)Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(parent, which));
          break;
        case 3:
          (void)Unlink(parent, which);
          break;
        case 4:
          (void)RemoveDir(parent, which);
          break;
        case 5:
          (void)Rename(parent, which, any(), name(), static_cast<uint32_t>(random.Below(3)));
          break;
        case 6: {
          const Fid found = Find(parent, which);
          if (!found.empty()) (void)Open(found, handle++, O_RDONLY);
          break;
        }
        default: {
          const Fid found = Find(parent, which);
          if (!found.empty()) (void)LinkTo(found, any(), name());
        }
      }
      if (random.OneIn(20)) Sync();
    }
    Sync();
    const Fid marker = Create(kRootFid, "marker" + std::to_string(round));
    Sync();
    const std::string lost = "lost" + std::to_string(round);
    Create(kRootFid, lost);
    PowerCutAndStart(random.Below(disk_.unsynced_batches() + 1));
    CheckStore();
    ASSERT_EQ(Find(kRootFid, "marker" + std::to_string(round)), marker) << "it was synced";
  }
  RunFor(std::chrono::seconds(30));
  const auto cursor = store_->NewCursor(mdt::kOrphans, kv::Blocking::kMayBlock);
  cursor->Seek("");
  EXPECT_FALSE(cursor->Valid()) << "nobody declared anything: no file without a name is left";
}

}  // namespace
}  // namespace sheen::mds
