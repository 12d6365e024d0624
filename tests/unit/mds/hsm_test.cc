// Files from S3 in Lustre's words: flags, what may be released, restores that outlive the server.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "mds/hsm_queue.h"
#include "mdt/repository_records.h"
#include "unit/mds/mds_fixture.h"

namespace sheen::mds {
namespace {

using Op = rpc::Opcode;

class HsmTest : public MdsFixture {
 protected:
  void SetUp() override {
    MdsFixture::SetUp();
    v1::AddRepositoryRequest request;
    request.mutable_repository()->set_path("/data");
    request.mutable_repository()->set_bucket("bucket");
    const auto added = Run(service_->repositories()->AddRepository(request));
    ASSERT_TRUE(added) << added.error().ToString();
    link_ = added->repository().id();
  }
  void ImportInto(const std::string& name, uint64_t size = 1000) {
    v1::ImportEntriesRequest request;
    request.set_repository(link_);
    v1::ImportEntry* const entry = request.add_entries();
    entry->set_path(name);
    entry->set_key(name);
    entry->set_size(size);
    entry->set_etag("\"e\"");
    entry->set_mode(S_IFREG | 0644);
    entry->set_uid(1000);
    const auto done = Run(service_->repositories()->ImportEntries(request));
    EXPECT_TRUE(done && done->created() == 1);
  }
  Fid Import(const std::string& name, uint64_t size = 1000) {
    ImportInto(name, size);
    return Find(Find(kRootFid, "data"), name);
  }
  v1::HsmStateReply State(const Fid& fid) {
    v1::HsmStateRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::HsmStateReply>(Op::kMdsHsmState, request).reply;
  }
  Errc Set(const Fid& fid, uint32_t set, uint32_t clear, uint32_t credential = 0) {
    v1::HsmSetRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_set(set);
    request.set_clear(clear);
    return Call<v1::HsmSetReply>(Op::kMdsHsmSet, request, {.credential = credential}).status;
  }
  Errc Release(const Fid& fid, uint32_t credential = 0) {
    v1::HsmReleaseRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::HsmReleaseReply>(Op::kMdsHsmRelease, request, {.credential = credential})
        .status;
  }
  Answered<v1::HsmRequestReply> Request(uint32_t action, const std::vector<Fid>& fids,
                                        uint64_t job = 0, uint32_t credential = 0) {
    v1::HsmRequest request;
    request.set_action(action);
    request.set_job(job);
    for (const Fid& fid : fids) SetFid(fid, request.add_fids());
    return Call<v1::HsmRequestReply>(Op::kMdsHsmRequest, request, {.credential = credential});
  }
  v1::HsmJobReply Job(uint64_t job) {
    v1::HsmJobRequest request;
    request.set_job(job);
    return Call<v1::HsmJobReply>(Op::kMdsHsmJob, request).reply;
  }

  uint32_t link_ = 0;
};

TEST_F(HsmTest, AnImportedFileExistsAndIsArchivedAndAnOpenForWritingMakesItDirty) {
  const Fid file = Import("f");
  const v1::HsmStateReply state = State(file);
  EXPECT_EQ(state.flags(), mdt::kHsmExists | mdt::kHsmArchived);
  EXPECT_EQ(state.archive_id(), link_);
  EXPECT_EQ(state.key(), "f");
  ASSERT_TRUE(Open(file, 900, O_RDWR).ok());
  EXPECT_EQ(State(file).flags(), mdt::kHsmExists | mdt::kHsmArchived | mdt::kHsmDirty);
  ASSERT_TRUE(Close(file, 900).ok());
  EXPECT_EQ(State(Create(kRootFid, "own")).flags(), 0U);
}

TEST_F(HsmTest, TheOwnerSetsSomeFlagsAndRootAll) {
  const Fid file = Import("f");
  EXPECT_EQ(Set(file, mdt::kHsmNoRelease, 0, kUserCredential), Errc::kOk);
  EXPECT_NE(State(file).flags() & mdt::kHsmNoRelease, 0U);
  EXPECT_EQ(Set(file, mdt::kHsmNoArchive, 0, kOtherCredential), Errc::kPerm);
  EXPECT_EQ(Set(file, mdt::kHsmDirty, 0, kUserCredential), Errc::kOk);
  EXPECT_EQ(Set(file, 0, mdt::kHsmDirty, kUserCredential), Errc::kPerm);
  EXPECT_EQ(Set(file, 0, mdt::kHsmDirty), Errc::kOk);
  EXPECT_EQ(Set(file, mdt::kHsmLost, 0, kUserCredential), Errc::kPerm);
  EXPECT_EQ(Set(file, mdt::kHsmLost, 0), Errc::kOk);
  EXPECT_EQ(Set(file, 0x1000, 0), Errc::kInvalid);
  EXPECT_EQ(Set(Create(kRootFid, "own"), mdt::kHsmNoRelease, 0), Errc::kNotSupported);
  PowerCutAndStart();
  Reconnect();
  EXPECT_NE(State(file).flags() & mdt::kHsmLost, 0U);
}

TEST_F(HsmTest, WhatIsChangedKeptOpenOrUnlinkedIsNotReleased) {
  const Fid file = Import("f");
  EXPECT_EQ(Release(file), Errc::kOk);
  EXPECT_EQ(Release(file, kUserCredential), Errc::kOk);
  EXPECT_EQ(Release(file, kOtherCredential), Errc::kPerm);
  ASSERT_EQ(Set(file, mdt::kHsmNoRelease, 0), Errc::kOk);
  EXPECT_EQ(Release(file), Errc::kPerm);
  ASSERT_EQ(Set(file, 0, mdt::kHsmNoRelease), Errc::kOk);
  ASSERT_TRUE(Open(file, 900, O_RDWR).ok());
  EXPECT_EQ(Release(file), Errc::kPerm);
  // Also when somebody has taken the mark away while it is open.
  ASSERT_EQ(Set(file, 0, mdt::kHsmDirty), Errc::kOk);
  EXPECT_EQ(Release(file), Errc::kBusy);
  ASSERT_TRUE(Close(file, 900).ok());
  EXPECT_EQ(Release(Create(kRootFid, "own")), Errc::kNotSupported);
  const Fid other = Import("g");
  v1::RemoveRepositoryRequest remove;
  remove.set_path("/data");
  remove.set_keep_data(true);
  ASSERT_TRUE(Run(service_->repositories()->RemoveRepository(remove)));
  EXPECT_EQ(Release(other), Errc::kPerm);
}

TEST_F(HsmTest, ARestoreAsksTheOstsUntilNothingIsAbsent) {
  const Fid file = Import("f");
  objects_.restore_parts = 3;
  const auto asked = Request(kHsmRestore, {file, Find(kRootFid, "data"), file}, 77);
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked.reply.queued(), 1U);
  EXPECT_EQ(asked.reply.errc(0), 0U);
  EXPECT_EQ(asked.reply.errc(1), static_cast<uint32_t>(Errc::kIsDirectory));
  RunFor(std::chrono::seconds(1));
  EXPECT_EQ(objects_.restored.size(), 3U);
  const v1::HsmJobReply job = Job(77);
  EXPECT_EQ(job.done(), 1U);
  EXPECT_EQ(job.waiting() + job.running(), 0U);
  EXPECT_EQ(job.bytes(), 300U);
  EXPECT_EQ(State(file).action(), kHsmNone);
}

TEST_F(HsmTest, RestoresThatWaitOutliveTheServerAndItsPower) {
  objects_.down = true;
  const Fid a = Import("a");
  const Fid b = Import("b");
  ASSERT_TRUE(Request(kHsmRestore, {a, b}, 5).ok());
  EXPECT_EQ(State(a).action(), kHsmRestore);
  EXPECT_EQ(Request(kHsmRestore, {a}, 6).reply.queued(), 0U);
  PowerCutAndStart();
  Reconnect();
  EXPECT_EQ(Job(5).waiting() + Job(5).running(), 2U);
  objects_.down = false;
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.restored.size(), 2U);
  EXPECT_EQ(Job(5).done(), 2U);
  const size_t before = objects_.restored.size();
  Kill();
  Start();
  RegisterOsts();
  Reconnect();
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(objects_.restored.size(), before);
}

TEST_F(HsmTest, ARestoreThatS3RefusesHasFailedWithItsReason) {
  const Fid file = Import("f");
  objects_.restore_error = "'f' was changed since it was imported";
  ASSERT_TRUE(Request(kHsmRestore, {file}, 5).ok());
  RunFor(std::chrono::seconds(1));
  EXPECT_NE(State(file).failure().find("was changed"), std::string::npos);
  EXPECT_EQ(Job(5).failed(), 1U);
  ASSERT_EQ(Job(5).failures_size(), 1);
  EXPECT_EQ(FidOf(Job(5).failures(0).fid()), file);
  objects_.restore_error.clear();
  ASSERT_TRUE(Request(kHsmRestore, {file}).ok());
  RunFor(std::chrono::seconds(1));
  EXPECT_EQ(objects_.restored.size(), 1U);
  EXPECT_EQ(State(file).failure(), "");
}

TEST_F(HsmTest, WhatIsCancelledIsNotDone) {
  objects_.down = true;
  service_->hsm()->SetRunningMax(1);
  const Fid running = Import("a");
  const Fid waiting = Import("b");
  ASSERT_TRUE(Request(kHsmRestore, {running, waiting}).ok());
  EXPECT_EQ(State(running).action(), kHsmRestore);
  EXPECT_EQ(State(waiting).action(), kHsmRestore);
  EXPECT_EQ(Request(kHsmCancel, {waiting}, 0, kOtherCredential).reply.errc(0),
            static_cast<uint32_t>(Errc::kPerm));
  ASSERT_TRUE(Request(kHsmCancel, {running, waiting}).ok());
  EXPECT_EQ(State(waiting).action(), kHsmNone);
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(State(running).action(), kHsmNone);
  objects_.down = false;
  Kill();
  Start();
  RegisterOsts();
  Reconnect();
  RunFor(std::chrono::seconds(2));
  EXPECT_TRUE(objects_.restored.empty());
}

TEST_F(HsmTest, OneThatCannotBeDoneNowLetsOthersBefore) {
  service_->hsm()->SetRunningMax(1);
  const Fid first = Import("first");
  objects_.unavailable = "first";
  ASSERT_TRUE(Request(kHsmRestore, {first}, 5).ok());
  RunFor(std::chrono::seconds(1));
  EXPECT_EQ(State(first).action(), kHsmRestore);
  EXPECT_EQ(Job(5).waiting() + Job(5).running(), 1U);
  // Of another repository, or its place were taken to be in trouble as well.
  v1::AddRepositoryRequest request;
  request.mutable_repository()->set_path("/other");
  request.mutable_repository()->set_bucket("other");
  const auto added = Run(service_->repositories()->AddRepository(request));
  ASSERT_TRUE(added);
  link_ = added->repository().id();
  ImportInto("second");
  ASSERT_TRUE(Request(kHsmRestore, {Find(Find(kRootFid, "other"), "second")}, 6).ok());
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(Job(6).done(), 1U);
  EXPECT_EQ(Job(5).done(), 0U);
  objects_.unavailable.clear();
  RunFor(std::chrono::seconds(5));
  EXPECT_EQ(Job(5).done(), 1U);
  EXPECT_EQ(State(first).action(), kHsmNone);
}

TEST_F(HsmTest, AskedForAgainAfterACancelItIsDone) {
  const Fid file = Import("f");
  objects_.restore_takes = std::chrono::seconds(2);
  objects_.restore_parts = 2;
  ASSERT_TRUE(Request(kHsmRestore, {file}, 5).ok());
  async::RunFor(&shard_, std::chrono::milliseconds(500));
  ASSERT_TRUE(Request(kHsmCancel, {file}).ok());
  EXPECT_EQ(Request(kHsmRestore, {file}, 6).reply.queued(), 1U);
  RunFor(std::chrono::seconds(10));
  EXPECT_EQ(Job(5).done(), 0U);
  EXPECT_EQ(Job(6).done(), 1U);
}

TEST_F(HsmTest, ManyRestoresRunAFewAtATime) {
  service_->hsm()->SetRunningMax(3);
  objects_.restore_takes = std::chrono::milliseconds(100);
  std::vector<Fid> files;
  for (int i = 0; i < 12; ++i) files.push_back(Import("f" + std::to_string(i)));
  ASSERT_EQ(Request(kHsmRestore, files).reply.queued(), 12U);
  EXPECT_LE(service_->hsm()->counts().running, 3U);
  async::RunFor(&shard_, std::chrono::milliseconds(250));
  EXPECT_LE(objects_.restored.size(), 9U);
  RunFor(std::chrono::seconds(2));
  EXPECT_EQ(objects_.restored.size(), 12U);
}

}  // namespace
}  // namespace sheen::mds
