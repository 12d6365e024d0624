// A disk that has no room for more rows: who adds is told so, everything else goes on.
#include "mds/own_space.h"

#include <sys/xattr.h>

#include "kv/space_reserve.h"
#include "mds_fixture.h"

namespace sheen::mds {
namespace {

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kDisk = 20'000 * kMiB;
constexpr uint64_t kReserve = kv::SpaceReserve(kDisk);

class OwnSpaceTest : public MdsFixture {
 protected:
  void SetUp() override {
    SetAvailable(kDisk / 2);
    MdsFixture::SetUp();
  }
  void SetAvailable(uint64_t bytes) {
    own_space_.set_bytes_total(kDisk);
    own_space_.set_bytes_available(bytes);
  }
  // And the server has seen it.
  void NowAvailable(uint64_t bytes) {
    SetAvailable(bytes);
    RunFor(std::chrono::seconds(2));
  }
  Answered<v1::CreateReply> TryCreate(const std::string& name, CallOptions options = {}) {
    return Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, name), options);
  }
  Errc MakeNode(const std::string& name, uint32_t mode) {
    v1::MakeNodeRequest request;
    SetFid(kRootFid, request.mutable_parent());
    SetFid(NewFid(), request.mutable_fid());
    request.set_name(name);
    request.set_mode(mode);
    request.set_symlink_target("there");
    return Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request).status;
  }
  Errc SetXattr(const Fid& fid, const std::string& name, size_t bytes) {
    v1::SetXattrRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_name(name);
    request.set_value(std::string(bytes, 'x'));
    return Call<v1::SetXattrReply>(rpc::Opcode::kMdsSetXattr, request).status;
  }
  std::string StateOfMdt() { return service_->TargetStates().front().state(); }
};

TEST_F(OwnSpaceTest, WhatAddsFailsAndWhatChangesOrRemovesGoesOn) {
  const Fid file = Create(kRootFid, "f");
  const Fid directory = MakeDir(kRootFid, "d");
  Create(directory, "old");
  ASSERT_EQ(SetXattr(file, "user.a", 100), Errc::kOk);
  EXPECT_EQ(StateOfMdt(), "");
  NowAvailable(kReserve - 1);
  EXPECT_EQ(StateOfMdt(), "S") << "as lfs df shows it";

  const auto refused = TryCreate("new");
  EXPECT_EQ(refused.status, Errc::kNoSpace);
  EXPECT_TRUE(refused.message.starts_with("the MDT's disk is full: ")) << refused.message;
  EXPECT_EQ(MakeNode("dir", S_IFDIR | 0755), Errc::kNoSpace);
  EXPECT_EQ(MakeNode("symlink", S_IFLNK), Errc::kNoSpace);
  EXPECT_EQ(MakeNode("fifo", S_IFIFO | 0644), Errc::kNoSpace);
  EXPECT_EQ(LinkTo(file, kRootFid, "link"), Errc::kNoSpace);
  EXPECT_EQ(SetXattr(file, "user.a", 101), Errc::kNoSpace);
  EXPECT_EQ(SetXattr(file, "user.b", 1), Errc::kNoSpace);
  EXPECT_EQ(Names(kRootFid).size(), 2u) << "nothing of it happened";

  EXPECT_EQ(SetXattr(file, "user.a", 100), Errc::kOk);
  EXPECT_TRUE(TryCreate("f").ok()) << "it exists: an open";
  EXPECT_TRUE(Open(file, 1, O_RDWR).ok());
  EXPECT_TRUE(Close(file, 1).ok());
  EXPECT_TRUE(Chmod(file, 0600).ok());
  v1::InstantiateRequest grow;
  SetFid(file, grow.mutable_fid());
  grow.set_length(1ULL << 30);
  EXPECT_TRUE(Call<v1::InstantiateReply>(rpc::Opcode::kMdsInstantiate, grow).ok());
  EXPECT_EQ(Rename(kRootFid, "f", directory, "g"), Errc::kOk);
  EXPECT_EQ(Unlink(directory, "g"), Errc::kOk);
  EXPECT_EQ(Unlink(directory, "old"), Errc::kOk);
  EXPECT_EQ(RemoveDir(kRootFid, "d"), Errc::kOk);
  EXPECT_EQ(Connect()->id(), 2u) << "clients come";
  EXPECT_TRUE(service_->StopReason().empty());

  NowAvailable(kReserve + 1);
  EXPECT_EQ(TryCreate("new").status, Errc::kNoSpace) << "a little more than that is asked for";
  NowAvailable(2 * kReserve);
  EXPECT_TRUE(TryCreate("new").ok());
  EXPECT_EQ(StateOfMdt(), "");
}

TEST_F(OwnSpaceTest, WhatWasAnsweredOnceIsReplayedOnAFullDisk) {
  const v1::CreateRequest request = CreateOf(kRootFid, "f");
  const auto created = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  ASSERT_TRUE(created.ok());
  SetAvailable(0);
  PowerCutAndStart();
  EXPECT_EQ(TryCreate("other").status, Errc::kNoSpace) << "known from the start on";
  EXPECT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request,
                                    {.flags = rpc::kReplay, .xid = created.xid})
                  .ok());
}

TEST_F(OwnSpaceTest, WhatIsWrittenBetweenTwoLooksIsCounted) {
  NowAvailable(kReserve + kMiB);
  const Fid file = Create(kRootFid, "f");
  Errc status = Errc::kOk;
  int count = 0;
  while (status == Errc::kOk && count < 1000) {
    status = SetXattr(file, "user." + std::to_string(count++), 60'000);
  }
  EXPECT_EQ(status, Errc::kNoSpace);
  EXPECT_NEAR(count, kMiB / 60'000, 3);
}

TEST_F(OwnSpaceTest, MuchWrittenIsALookAtTheDisk) {
  const Fid file = Create(kRootFid, "f");
  SetAvailable(0);
  int count = 0;
  Errc status = Errc::kOk;
  while (status == Errc::kOk && count < 1000) {
    status = SetXattr(file, "user.a", 1000 + 60 * ++count);
  }
  EXPECT_EQ(status, Errc::kNoSpace) << "no time has passed";
  EXPECT_GT(count, 10);
}

TEST_F(OwnSpaceTest, ADiskThatCannotBeAskedChangesNothing) {
  NowAvailable(kReserve / 2);
  own_space_.set_bytes_total(0);
  own_space_.set_bytes_available(kDisk);
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(TryCreate("f").status, Errc::kNoSpace);
}

TEST_F(OwnSpaceTest, AFullDiskHasItsLogFlushedOnceAndItsTablesRewrittenAfterDeletions) {
  for (int i = 0; i < 400; ++i) Create(kRootFid, "f" + std::to_string(i));
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kLog), 0u);
  NowAvailable(kReserve / 2);
  RunFor(std::chrono::seconds(10));
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kLog), 1u);
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kDeletedRows), 0u) << "nothing was deleted";
  for (int i = 0; i < 400; ++i) EXPECT_EQ(Unlink(kRootFid, "f" + std::to_string(i)), Errc::kOk);
  RunFor(std::chrono::seconds(20));
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kDeletedRows), 7u) << "as many steps as there are levels";
  RunFor(std::chrono::seconds(20));
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kDeletedRows), 7u) << "for these deletions once";
  // But tables may still have them, as a compaction that found no room leaves them.
  disk_.set_deleted_rows(400);
  RunFor(std::chrono::seconds(20));
  EXPECT_GE(disk_.reclaims(kv::Reclaim::kDeletedRows), 10u) << "until they are gone";
  disk_.set_deleted_rows(0);
  RunFor(std::chrono::seconds(4));
  const auto steps = disk_.reclaims(kv::Reclaim::kDeletedRows);
  RunFor(std::chrono::seconds(20));
  EXPECT_EQ(disk_.reclaims(kv::Reclaim::kDeletedRows), steps);
}

TEST_F(OwnSpaceTest, AWriteThatFailsNeverthelessStopsTheServer) {
  const Fid file = Create(kRootFid, "f");
  NowAvailable(kReserve / 2);
  disk_.FailWrites(Errc::kIo);
  EXPECT_EQ(Chmod(file, 0600).status, Errc::kIo);
  disk_.FailWrites(Errc::kOk);
  EXPECT_EQ(Chmod(file, 0600).status, Errc::kIo);
  EXPECT_FALSE(service_->StopReason().empty());
  Kill();
  Start();
}

}  // namespace
}  // namespace sheen::mds
