#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class SizeTest : public MdsFixture {
 protected:
  // Closes a writer that reports.
  Answered<v1::CloseReply> CloseWriter(const std::shared_ptr<rpc::Session>& session, const Fid& fid,
                                       uint64_t handle, uint64_t size) {
    v1::CloseRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(handle);
    request.set_wrote(true);
    request.set_size(size);
    request.set_blocks(size / 512);
    request.set_mtime_ns(clock_.Wall().count() + 500);
    request.set_ctime_ns(clock_.Wall().count() + 500);
    return CallAs<v1::CloseReply>(session, rpc::Opcode::kMdsClose, request);
  }
  Answered<v1::OpenReply> OpenAs(const std::shared_ptr<rpc::Session>& session, const Fid& fid,
                                 uint64_t handle, uint32_t flags) {
    v1::OpenRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_flags(flags);
    request.set_handle(handle);
    return CallAs<v1::OpenReply>(session, rpc::Opcode::kMdsOpen, request);
  }
  bool Report(const Fid& fid, uint64_t epoch, uint64_t size) {
    v1::ReportSizeRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_size_epoch(epoch);
    request.set_size(size);
    return Call<v1::ReportSizeReply>(rpc::Opcode::kMdsReportSize, request).reply.accepted();
  }
};

TEST_F(SizeTest, ASoleWritersCloseMakesTheSizeSafe) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_FALSE(Attr(file).size_unsafe());
  const auto opened = OpenAs(session_, file, 1, O_RDWR);
  EXPECT_FALSE(opened.reply.attr().size_unsafe()) << "as it was before the open";
  EXPECT_TRUE(Attr(file).size_unsafe());
  EXPECT_FALSE(Attr(file).layout().empty()) << "who must glimpse needs the layout";
  EXPECT_FALSE(CloseWriter(session_, file, 1, 5000).reply.glimpse_wanted());
  const v1::Attr attr = Attr(file);
  EXPECT_FALSE(attr.size_unsafe());
  EXPECT_EQ(attr.size(), 5000u);
  EXPECT_EQ(attr.mtime_ns(), clock_.Wall().count() + 500);
}

// The close reports what was written before the mode was changed.
TEST_F(SizeTest, AChangeOfModeAfterAWriteLeavesTheModificationTimeToTheWrite) {
  const Fid file = Create(kRootFid, "f");
  const int64_t written_ns = clock_.Wall().count() + 500;
  clock_.Advance(std::chrono::milliseconds(1));
  v1::SetAttrRequest mode;
  SetFid(file, mode.mutable_fid());
  mode.set_valid(v1::SET_MODE);
  mode.set_mode(0600);
  EXPECT_TRUE(Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, mode).ok());
  const auto report = [&] {
    v1::CloseRequest request;
    SetFid(file, request.mutable_fid());
    request.set_handle(1);
    request.set_wrote(true);
    request.set_size(10);
    request.set_mtime_ns(written_ns);
    request.set_ctime_ns(written_ns);
    return Call<v1::CloseReply>(rpc::Opcode::kMdsClose, request);
  };
  OpenAs(session_, file, 1, O_WRONLY);
  EXPECT_TRUE(report().ok());
  EXPECT_EQ(Attr(file).mtime_ns(), written_ns);
  EXPECT_FALSE(Attr(file).mtime_set());
  // What somebody has set stays.
  v1::SetAttrRequest time;
  SetFid(file, time.mutable_fid());
  time.set_valid(v1::SET_MTIME);
  time.set_mtime_ns(77);
  EXPECT_TRUE(Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, time).ok());
  EXPECT_TRUE(Attr(file).mtime_set());
  OpenAs(session_, file, 1, O_WRONLY);
  EXPECT_TRUE(report().ok());
  EXPECT_EQ(Attr(file).mtime_ns(), 77);
  // Until it is written again.
  OpenAs(session_, file, 1, O_WRONLY);
  EXPECT_TRUE(CloseWriter(session_, file, 1, 20).ok());
  EXPECT_EQ(Attr(file).mtime_ns(), clock_.Wall().count() + 500);
  EXPECT_FALSE(Attr(file).mtime_set());
}

TEST_F(SizeTest, OfTwoHandlesOfOneClientTheLastCloseCounts) {
  const Fid file = Create(kRootFid, "f");
  OpenAs(session_, file, 1, O_WRONLY);
  OpenAs(session_, file, 2, O_WRONLY);
  CloseWriter(session_, file, 1, 100);
  EXPECT_TRUE(Attr(file).size_unsafe());
  EXPECT_TRUE(Close(file, 2).ok()) << "it wrote nothing";
  EXPECT_FALSE(Attr(file).size_unsafe());
  EXPECT_EQ(Attr(file).size(), 100u) << "what the first one wrote is not forgotten";
}

TEST_F(SizeTest, WhenOthersWroteTheLastWriterIsAskedToGlimpse) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  OpenAs(session_, file, 1, O_WRONLY);
  OpenAs(other, file, 1, O_WRONLY);
  EXPECT_FALSE(CloseWriter(session_, file, 1, 100).reply.glimpse_wanted()) << "one is left";
  const auto closed = CloseWriter(other, file, 1, 200);
  ASSERT_TRUE(closed.reply.glimpse_wanted());
  EXPECT_TRUE(Attr(file).size_unsafe());
  EXPECT_FALSE(Report(file, closed.reply.size_epoch() - 1, 300));
  OpenAs(other, file, 2, O_WRONLY);
  EXPECT_FALSE(Report(file, closed.reply.size_epoch(), 300)) << "a writer came since";
  const auto again = CloseWriter(other, file, 2, 400);
  ASSERT_TRUE(again.reply.glimpse_wanted());
  EXPECT_TRUE(Report(file, again.reply.size_epoch(), 400));
  EXPECT_EQ(Attr(file).size(), 400u);
  EXPECT_FALSE(Report(file, again.reply.size_epoch(), 500)) << "it is safe already";
}

TEST_F(SizeTest, TheMarkOutlivesAPowerCutAndItsWriter) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  OpenAs(other, file, 1, O_WRONLY);
  ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  PowerCutAndStart();
  EXPECT_TRUE(Attr(file).size_unsafe());
  ASSERT_TRUE(Run(service_->Remove(other->id())).has_value());
  EXPECT_TRUE(Attr(file).size_unsafe());
  // Another client cannot make it safe by its own knowledge.
  OpenAs(session_, file, 1, O_WRONLY);
  EXPECT_TRUE(CloseWriter(session_, file, 1, 10).reply.glimpse_wanted());
}

TEST_F(SizeTest, WhoFindsAnUnsafeSizeThatNobodyCanChangeIsAskedToReportIt) {
  const auto other = Connect();
  const Fid file = Create(kRootFid, "f");
  OpenAs(other, file, 1, O_WRONLY);
  EXPECT_FALSE(Attr(file).report_wanted()) << "it is being written";
  ASSERT_TRUE(Run(service_->Remove(other->id())).has_value());
  const v1::Attr attr = Attr(file);
  EXPECT_TRUE(attr.size_unsafe());
  ASSERT_TRUE(attr.report_wanted());
  EXPECT_TRUE(Report(file, attr.size_epoch(), 70));
  EXPECT_FALSE(Attr(file).size_unsafe());
  EXPECT_EQ(Attr(file).size(), 70u);
}

TEST_F(SizeTest, ADeclaredHandleClosesAsItWouldHaveBefore) {
  const Fid file = Create(kRootFid, "f");
  OpenAs(session_, file, 1, O_WRONLY);
  const uint64_t epoch = Attr(file).size_epoch();
  ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  PowerCutAndStart();
  v1::OpenRequest request;
  SetFid(file, request.mutable_fid());
  request.set_flags(O_WRONLY);
  request.set_handle(1);
  request.set_reopen(true);
  ASSERT_TRUE(Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, request).ok());
  EXPECT_EQ(Attr(file).size_epoch(), epoch);
  EXPECT_FALSE(CloseWriter(session_, file, 1, 77).reply.glimpse_wanted());
  EXPECT_EQ(Attr(file).size(), 77u);
  EXPECT_FALSE(Attr(file).size_unsafe());
}

TEST_F(SizeTest, ReopenIsCheckedForClientsOfThisBoot) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Chmod(file, 0600).ok());
  v1::OpenRequest request;
  SetFid(file, request.mutable_fid());
  request.set_reopen(true);
  request.set_handle(9);
  EXPECT_EQ(
      Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, request, {.credential = kUserCredential}).status,
      Errc::kAccess);
  ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  PowerCutAndStart();
  EXPECT_TRUE(
      Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, request, {.credential = kUserCredential}).ok());
}

TEST_F(SizeTest, CloseNotesWhichStripesHaveObjects) {
  const auto created = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "f"));
  const Fid file = FidOf(created.reply.attr().fid());
  const auto layout = layout::Decode(created.reply.attr().layout());
  v1::CloseRequest request;
  SetFid(file, request.mutable_fid());
  request.set_handle(next_handle_ - 1);
  request.set_wrote(true);
  request.set_size(1);
  request.add_present_component(layout->components[0].id);
  request.add_present_stripe(0);
  request.add_present_component(12345);
  request.add_present_stripe(99);
  ASSERT_TRUE(Call<v1::CloseReply>(rpc::Opcode::kMdsClose, request).ok());
  v1::GetLayoutRequest get;
  SetFid(file, get.mutable_fid());
  const auto got = Call<v1::GetLayoutReply>(rpc::Opcode::kMdsGetLayout, get);
  const auto after = layout::Decode(got.reply.layout());
  EXPECT_EQ(after->components[0].present, std::vector<bool>{true});
  EXPECT_EQ(after->generation, layout->generation);
}

TEST_F(SizeTest, UnknownHandlesAndImpossibleSizes) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_TRUE(Close(file, 4711).ok()) << "a resend";
  OpenAs(session_, file, 1, O_WRONLY);
  EXPECT_EQ(CloseWriter(session_, file, 1, UINT64_MAX).status, Errc::kInvalid);
  const Fid second = Create(kRootFid, "g");
  EXPECT_EQ(OpenAs(session_, second, 1, O_RDONLY).status, Errc::kInvalid) << "handle in use";
}

TEST_F(SizeTest, NobodyWritesWhatAnotherClientRuns) {
  constexpr uint32_t kExec = 0x20;
  const Fid file = Create(kRootFid, "f");
  const auto other = Connect();
  EXPECT_EQ(Chmod(file, 0755).status, Errc::kOk);
  EXPECT_TRUE(OpenAs(session_, file, 1, O_RDONLY | kExec).ok());
  EXPECT_EQ(OpenAs(other, file, 1, O_WRONLY).status, Errc::kTextBusy);
  EXPECT_EQ(OpenAs(other, file, 1, O_RDONLY | O_TRUNC).status, Errc::kTextBusy);
  EXPECT_TRUE(OpenAs(other, file, 2, O_RDONLY).ok());
  EXPECT_TRUE(OpenAs(other, file, 3, O_RDONLY | kExec).ok());
  EXPECT_FALSE(Attr(file).size_unsafe()) << "a refused open leaves nothing behind";
  EXPECT_TRUE(Close(file, 1).ok());
  EXPECT_TRUE(OpenAs(session_, file, 4, O_RDONLY).ok());
  EXPECT_EQ(OpenAs(session_, file, 5, O_RDWR).status, Errc::kTextBusy);
  v1::CloseRequest close;
  SetFid(file, close.mutable_fid());
  close.set_handle(3);
  EXPECT_TRUE(CallAs<v1::CloseReply>(other, rpc::Opcode::kMdsClose, close).ok());
  EXPECT_TRUE(OpenAs(session_, file, 5, O_RDWR).ok());
  EXPECT_EQ(OpenAs(other, file, 6, O_RDONLY | kExec).status, Errc::kTextBusy);
  EXPECT_TRUE(OpenAs(session_, file, 7, O_RDONLY | kExec).ok()) << "its own kernel decides";
}

}  // namespace
}  // namespace sheen::mds
