// A session that the server ends: nothing that its client may still write to is destroyed before
// every OSS refuses the client, whatever happens in between.
#include "mds/eviction.h"

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class EvictionTest : public MdsFixture {
 protected:
  void SetUp() override {
    MdsFixture::SetUp();
    other_ = Connect();
  }
  void Sync() {
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  }
  Errc OpenAs(const std::shared_ptr<rpc::Session>& session, const Fid& fid, uint32_t flags) {
    v1::OpenRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(next_handle_++);
    request.set_flags(flags);
    return CallAs<v1::OpenReply>(session, rpc::Opcode::kMdsOpen, request).status;
  }
  // A file without a name that `other_` has open for writing.
  Fid OpenAndUnlink(const std::string& name) {
    const Fid file = Create(kRootFid, name);
    EXPECT_EQ(OpenAs(other_, file, O_RDWR), Errc::kOk);
    EXPECT_EQ(Unlink(kRootFid, name), Errc::kOk);
    return file;
  }
  bool Exists(const Fid& fid) {
    v1::GetAttrRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::GetAttrReply>(rpc::Opcode::kMdsGetAttr, request).ok();
  }
  // The eviction of `other_` begins, and what it answers is kept.
  void BeginEviction() {
    shard_.Post([this] { shard_.Spawn(Keep()); });
    RunFor(std::chrono::seconds(3));
  }
  async::Task<void> Keep() { answer_ = co_await service_->EvictSession(other_->id(), "a test"); }
  bool HasRows(uint64_t session) {
    for (const mdt::Family family : {mdt::kClients, mdt::kSlots}) {
      const auto cursor = store_->NewCursor(family, kv::Blocking::kMayBlock);
      cursor->Seek(mdt::SessionKey(session));
      if (cursor->Valid() && cursor->key().starts_with(mdt::SessionKey(session))) return true;
    }
    return false;
  }
  std::string OtherUuid() const {
    const Uuid& uuid = other_->client_uuid();
    return {reinterpret_cast<const char*>(uuid.bytes.data()), uuid.bytes.size()};
  }

  std::shared_ptr<rpc::Session> other_;
  std::optional<Status> answer_;
};

TEST_F(EvictionTest, FencesComeBeforeTheDestroysAndTheAnswerAfterAll) {
  const Fid file = OpenAndUnlink("f");
  const Fid kept = Create(kRootFid, "kept");
  ASSERT_EQ(OpenAs(other_, file, O_RDWR), Errc::kOk);
  RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(objects_.destroyed.empty()) << "it is open";
  ASSERT_TRUE(Run(service_->EvictSession(other_->id(), "a test")).has_value());
  EXPECT_FALSE(Exists(file));
  EXPECT_FALSE(HasRows(other_->id()));
  EXPECT_EQ(service_->session_count(), 1u);
  EXPECT_EQ(evicted_sessions_, std::vector<uint64_t>{other_->id()});
  EXPECT_EQ(OpenAs(other_, kept, O_RDONLY), Errc::kEvicted);
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
  ASSERT_EQ(objects_.fences.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(objects_.fences[i].server, "oss" + std::to_string(i));
    EXPECT_EQ(objects_.fences[i].client, OtherUuid());
    EXPECT_EQ(objects_.fences[i].destroyed_before, 0u);
  }
}

TEST_F(EvictionTest, WhileOneOssDoesNotAnswerFilesStayOpen) {
  const Fid file = OpenAndUnlink("f");
  objects_.unfenceable = {"oss1"};
  BeginEviction();
  EXPECT_EQ(OpenAs(other_, file, O_RDWR), Errc::kEvicted) << "refused at once";
  RunFor(std::chrono::seconds(60));
  EXPECT_FALSE(answer_.has_value());
  EXPECT_TRUE(Exists(file));
  EXPECT_EQ(objects_.fences.size(), 1u) << "oss0 is not asked again";
  EXPECT_TRUE(HasRows(other_->id()));
  const Fid second = Create(kRootFid, "second");
  EXPECT_EQ(Unlink(kRootFid, "second"), Errc::kOk);
  EXPECT_FALSE(Exists(second)) << "of a file that it has not open nothing waits";
  objects_.unfenceable.clear();
  RunFor(std::chrono::seconds(3));
  ASSERT_TRUE(answer_.has_value());
  EXPECT_TRUE(answer_->has_value());
  EXPECT_FALSE(Exists(file));
}

TEST_F(EvictionTest, ASecondEvictionWaitsForTheFirstAndAnUnknownSessionIsNoError) {
  objects_.unfenceable = {"oss0"};
  BeginEviction();
  const std::optional<Status> before = answer_;
  EXPECT_FALSE(before.has_value());
  shard_.Post([this] { shard_.Spawn(Keep()); });
  objects_.unfenceable.clear();
  RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(answer_.has_value() && answer_->has_value());
  EXPECT_EQ(objects_.fences.size(), 2u);
  EXPECT_TRUE(Run(service_->EvictSession(other_->id(), "a test")).has_value());
  EXPECT_TRUE(Run(service_->EvictSession(12345, "a test")).has_value());
  EXPECT_EQ(objects_.fences.size(), 2u);
}

TEST_F(EvictionTest, AGoodbyeNeedsNoFence) {
  const Fid file = OpenAndUnlink("f");
  ASSERT_TRUE(Run(service_->Remove(other_->id())).has_value());
  EXPECT_FALSE(Exists(file));
  EXPECT_TRUE(objects_.fences.empty());
}

TEST_F(EvictionTest, APowerCutInBetweenIsGoneOnFrom) {
  const Fid file = OpenAndUnlink("f");
  const Fid named = Create(kRootFid, "named");
  ASSERT_EQ(OpenAs(other_, named, O_RDWR), Errc::kOk);
  Sync();
  objects_.unfenceable = {"oss0", "oss1"};
  BeginEviction();
  const uint64_t evicted = other_->id();
  PowerCutAndStart();
  EXPECT_TRUE(answer_.has_value() && !answer_->has_value()) << "whoever waited hears of the stop";
  EXPECT_EQ(service_->LoadSessions().size(), 1u) << "it may not come back";
  Attr(kRootFid);  // session_ is back, so nobody else is awaited
  EXPECT_EQ(Unlink(kRootFid, "named"), Errc::kOk);
  RunFor(std::chrono::seconds(60));
  EXPECT_TRUE(Exists(file));
  EXPECT_TRUE(Exists(named)) << "it may have had it open, for all that is known";
  EXPECT_TRUE(objects_.destroyed.empty());
  objects_.unfenceable.clear();
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(objects_.fences.size(), 2u);
  EXPECT_FALSE(Exists(file));
  EXPECT_FALSE(Exists(named));
  EXPECT_FALSE(HasRows(evicted));
  EXPECT_EQ(objects_.destroyed.size(), 2u);
  for (const auto& fence : objects_.fences) EXPECT_EQ(fence.destroyed_before, 0u);
}

TEST_F(EvictionTest, WhoIsSilentAfterARestartIsEvictedWhenAFileWithoutANameWaits) {
  const Fid file = OpenAndUnlink("f");
  Sync();
  PowerCutAndStart();
  Attr(kRootFid);
  RunFor(std::chrono::seconds(15));
  EXPECT_TRUE(objects_.fences.empty()) << "it has 20 s to come back";
  objects_.unfenceable = {"oss1"};
  RunFor(std::chrono::seconds(30));
  EXPECT_TRUE(Exists(file));
  EXPECT_TRUE(objects_.destroyed.empty());
  objects_.unfenceable.clear();
  RunFor(std::chrono::seconds(5));
  EXPECT_FALSE(Exists(file));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
  EXPECT_EQ(service_->session_count(), 1u);
}

TEST_F(EvictionTest, WhoIsSilentAfterARestartStaysWhenNobodyNeedsAnything) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_EQ(OpenAs(other_, file, O_RDWR), Errc::kOk);
  Sync();
  PowerCutAndStart();
  Attr(kRootFid);
  RunFor(std::chrono::seconds(60));
  EXPECT_TRUE(objects_.fences.empty());
  EXPECT_EQ(service_->session_count(), 2u);
  // It may have the file open: it goes after the client.
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  EXPECT_TRUE(Exists(file));
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(objects_.fences.size(), 2u);
  EXPECT_FALSE(Exists(file));
}

TEST_F(EvictionTest, AConnectionIsASignOfLife) {
  const Fid file = OpenAndUnlink("f");
  Sync();
  Kill();
  disk_.PowerCut();
  Start();
  Beat();
  // As the session table would: the client is there, and has nothing to say.
  for (const auto& session : service_->LoadSessions()) session->last_heard_ns.store(1);
  RunFor(std::chrono::seconds(30));
  EXPECT_TRUE(objects_.fences.empty());
  EXPECT_EQ(service_->session_count(), 2u);
  Reconnect();
  EXPECT_FALSE(Exists(file)) << "it has declared nothing, in all that time";
}

}  // namespace
}  // namespace sheen::mds
