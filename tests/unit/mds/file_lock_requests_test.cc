// File locks by way of the service: messages, sessions that end, restarts.
#include "mds/file_lock_requests.h"

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

constexpr uint32_t kPosix = 1;
constexpr uint32_t kWrite = 1;

class FileLockRequestsTest : public MdsFixture {
 protected:
  void SetUp() override {
    MdsFixture::SetUp();
    other_ = Connect();
    for (const auto& session : sessions_) session->link_count = 1;
    file_ = Create(kRootFid, "f");
  }
  static void Fill(v1::FileLock* lock, uint64_t start, uint64_t end, uint32_t type = kWrite) {
    lock->set_kind(kPosix);
    lock->set_type(type);
    lock->set_owner(5);
    lock->set_start(start);
    lock->set_end(end);
    lock->set_pid(99);
  }
  Answered<v1::FileLockSetReply> Set(const std::shared_ptr<rpc::Session>& session, uint64_t start,
                                     uint64_t end, uint64_t wait_id = 0) {
    v1::FileLockSetRequest request;
    SetFid(file_, request.mutable_fid());
    Fill(request.mutable_lock(), start, end);
    request.set_wait(wait_id != 0);
    request.set_id(wait_id);
    return CallAs<v1::FileLockSetReply>(session, rpc::Opcode::kMdsFileLockSet, request);
  }
  Answered<v1::FileLockReclaimReply> Reclaim(const std::shared_ptr<rpc::Session>& session,
                                             uint64_t start, uint64_t end, bool done) {
    v1::FileLockReclaimRequest request;
    request.set_boot(service_->boot());
    if (end != 0) {
      auto* held = request.add_locks();
      SetFid(file_, held->mutable_fid());
      Fill(held->mutable_lock(), start, end);
    }
    request.set_done(done);
    return CallAs<v1::FileLockReclaimReply>(session, rpc::Opcode::kMdsFileLockReclaim, request);
  }
  v1::FileLockGetReply Get(const std::shared_ptr<rpc::Session>& session) {
    v1::FileLockGetRequest request;
    SetFid(file_, request.mutable_fid());
    Fill(request.mutable_lock(), 0, UINT64_MAX);
    const auto got =
        CallAs<v1::FileLockGetReply>(session, rpc::Opcode::kMdsFileLockGet, request);
    EXPECT_TRUE(got.ok()) << got.message;
    return got.reply;
  }

  std::shared_ptr<rpc::Session> other_;
  Fid file_;
};

TEST_F(FileLockRequestsTest, ALockExcludesOthersAndShowsWhoHasIt) {
  EXPECT_EQ(Set(session_, 10, 20).reply.outcome(), v1::FILE_LOCK_GRANTED);
  EXPECT_EQ(Set(other_, 19, 21).reply.outcome(), v1::FILE_LOCK_REFUSED);
  const v1::FileLockGetReply seen = Get(other_);
  ASSERT_TRUE(seen.has_blocker());
  EXPECT_TRUE(seen.other_client());
  EXPECT_EQ(seen.blocker().start(), 10U);
  EXPECT_EQ(seen.blocker().end(), 20U);
  EXPECT_EQ(seen.blocker().pid(), 99U);
  EXPECT_FALSE(Get(session_).has_blocker());
}

TEST_F(FileLockRequestsTest, BadMessagesAreRefused) {
  v1::FileLockSetRequest request;
  EXPECT_EQ(Call<v1::FileLockSetReply>(rpc::Opcode::kMdsFileLockSet, request).status,
            Errc::kInvalid);
  SetFid(file_, request.mutable_fid());
  Fill(request.mutable_lock(), 0, 10);
  request.mutable_lock()->set_kind(256 + 1);
  EXPECT_EQ(Call<v1::FileLockSetReply>(rpc::Opcode::kMdsFileLockSet, request).status,
            Errc::kInvalid);
  Fill(request.mutable_lock(), 10, 10);
  EXPECT_EQ(Call<v1::FileLockSetReply>(rpc::Opcode::kMdsFileLockSet, request).status,
            Errc::kInvalid);
}

TEST_F(FileLockRequestsTest, AGoodbyeDropsThem) {
  EXPECT_EQ(Set(session_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
  EXPECT_TRUE(Run(service_->Remove(session_->id())));
  EXPECT_EQ(Set(other_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
}

TEST_F(FileLockRequestsTest, ADeadClientsLocksGoOnlyWhenEveryOssRefusesIt) {
  EXPECT_EQ(Set(other_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
  EXPECT_EQ(Set(session_, 0, 10, 1).reply.outcome(), v1::FILE_LOCK_WAITING);
  objects_.down = true;
  other_->link_count = 0;
  other_->idle_since_ns = shard_.Now().count();
  RunFor(std::chrono::seconds(3));
  service_->OnSessionIdle(other_);
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(evicted_sessions_, std::vector<uint64_t>{other_->id()});
  EXPECT_EQ(Set(session_, 0, 10).reply.outcome(), v1::FILE_LOCK_REFUSED);
  objects_.down = false;
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(Set(session_, 0, 10, 1).reply.outcome(), v1::FILE_LOCK_GRANTED);
}

TEST_F(FileLockRequestsTest, AClientThatSaysNothingIsNotEvictedWhileNobodyWants) {
  EXPECT_EQ(Set(other_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
  other_->link_count = 0;
  other_->idle_since_ns = shard_.Now().count();
  RunFor(std::chrono::seconds(3));
  service_->OnSessionIdle(other_);
  RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(evicted_sessions_.empty());
  // It is when somebody does, who then gets the lock.
  EXPECT_EQ(Set(session_, 0, 10).status, Errc::kUnavailable);
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(Set(session_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
}

TEST_F(FileLockRequestsTest, AfterARestartTheyAreDeclaredBeforeNewOnesAreGranted) {
  EXPECT_EQ(Set(other_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
  PowerCutAndStart();
  session_ = sessions_[0];
  other_ = sessions_[1];
  EXPECT_TRUE(Reclaim(session_, 0, 0, true).ok());
  EXPECT_EQ(Set(session_, 0, 10).status, Errc::kUnavailable);
  EXPECT_TRUE(Reclaim(other_, 0, 10, true).ok());
  EXPECT_EQ(Set(session_, 0, 10).reply.outcome(), v1::FILE_LOCK_REFUSED);
  EXPECT_EQ(Set(session_, 10, 11).reply.outcome(), v1::FILE_LOCK_GRANTED);
}

TEST_F(FileLockRequestsTest, ADeclarationMeantForAnotherBootIsRefused) {
  v1::FileLockReclaimRequest request;
  request.set_boot(service_->boot() + 1);
  request.set_done(true);
  EXPECT_EQ(Call<v1::FileLockReclaimReply>(rpc::Opcode::kMdsFileLockReclaim, request).status,
            Errc::kInvalid);
}

TEST_F(FileLockRequestsTest, AClientThatKnowsNoFileLocksIsNotWaitedFor) {
  PowerCutAndStart();
  session_ = sessions_[0];
  other_ = sessions_[1];
  EXPECT_TRUE(Reclaim(session_, 0, 0, true).ok());
  EXPECT_EQ(Set(session_, 0, 10).status, Errc::kUnavailable);
  // An ordinary request without the feature: there will be no declaration.
  v1::GetAttrRequest request;
  SetFid(kRootFid, request.mutable_fid());
  EXPECT_TRUE(CallAs<v1::GetAttrReply>(other_, rpc::Opcode::kMdsGetAttr, request).ok());
  EXPECT_EQ(Set(session_, 0, 10).reply.outcome(), v1::FILE_LOCK_GRANTED);
}

}  // namespace
}  // namespace sheen::mds
