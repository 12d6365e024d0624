#include <optional>
#include <string>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class LayoutSwapTest : public MdsFixture {
 protected:
  static constexpr uint64_t kHandle = 77;
  static constexpr uint64_t kCopyHandle = 78;

  static std::string Plain(uint32_t count) {
    return layout::Encode(layout::PlainTemplate(count, 1 << 20));
  }
  layout::Layout Of(const Fid& fid) {
    v1::GetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    const auto got = Call<v1::GetLayoutReply>(rpc::Opcode::kMdsGetLayout, request);
    held_ = got.reply.held();
    return layout::Decode(got.reply.layout()).value_or(layout::Layout());
  }
  Answered<v1::CreateReply> Copy(const Fid& original, CallOptions options = {}) {
    v1::CreateRequest request;
    copy_ = NewFid();
    SetFid(copy_, request.mutable_fid());
    SetFid(original, request.mutable_copy_of());
    request.set_handle(kCopyHandle);
    request.set_open_flags(O_RDWR | O_CREAT);
    request.set_layout_template(Plain(3));
    return Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request, options);
  }
  Answered<v1::LayoutHoldReply> Hold(const Fid& fid, uint64_t handle, bool release = false,
                                     CallOptions options = {}) {
    v1::LayoutHoldRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(handle);
    request.set_release(release);
    return Call<v1::LayoutHoldReply>(rpc::Opcode::kMdsLayoutHold, request, options);
  }
  v1::SwapLayoutsRequest SwapOf(const Fid& first, const Fid& second, uint64_t second_handle) {
    v1::SwapLayoutsRequest request;
    SetFid(first, request.mutable_first()->mutable_fid());
    request.mutable_first()->set_handle(kHandle);
    SetFid(second, request.mutable_second()->mutable_fid());
    request.mutable_second()->set_handle(second_handle);
    return request;
  }
  Answered<v1::SwapLayoutsReply> Swap(const v1::SwapLayoutsRequest& request) {
    return Call<v1::SwapLayoutsReply>(rpc::Opcode::kMdsSwapLayouts, request);
  }
  // Its answer comes when it can; slot 2.
  template <class Request>
  void Begin(rpc::Opcode opcode, const Request& request, std::optional<rpc::Response>* out) {
    shard_.Post([this, opcode, body = request.SerializeAsString(), out] {
      rpc::Request frame;
      frame.header.opcode = opcode;
      frame.header.xid = next_xid_++;
      frame.header.slot = 2;
      frame.body = body;
      frame.session = session_;
      shard_.Spawn(Serve(service_.get(), std::move(frame), out));
    });
  }
  static async::Task<void> Serve(MdsService* service, rpc::Request request,
                                 std::optional<rpc::Response>* out) {
    rpc::Response response = co_await service->Handle(std::move(request));
    out->emplace(std::move(response));
  }
  v1::InstantiateRequest GrowOf(const Fid& fid) {
    v1::InstantiateRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_offset(0);
    request.set_length(1);
    return request;
  }
  Answered<v1::SetLayoutReply> DeleteLast(const Fid& fid, uint32_t id, CallOptions options) {
    v1::SetLayoutRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_edit(v1::EDIT_DELETE);
    request.set_component_id(id);
    return Call<v1::SetLayoutReply>(rpc::Opcode::kMdsSetLayout, request, options);
  }
  Answered<v1::LayoutHoldReply> Renew(const Fid& fid, uint64_t handle) {
    v1::LayoutHoldRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(handle);
    request.set_renew(true);
    return Call<v1::LayoutHoldReply>(rpc::Opcode::kMdsLayoutHold, request);
  }
  // A file that is open by kHandle, and its open copy.
  Fid FileAndCopy() {
    const Fid file = Create(kRootFid, "f");
    EXPECT_TRUE(Open(file, kHandle, O_RDONLY).ok());
    EXPECT_TRUE(Copy(file).ok());
    return file;
  }

  Fid copy_;
  bool held_ = false;
};

TEST_F(LayoutSwapTest, ACopyHasNoNameAndGoesWithItsHandle) {
  const Fid file = FileAndCopy();
  EXPECT_EQ(Of(copy_).components[0].osts.size(), 3u);
  EXPECT_EQ(Attr(copy_).nlink(), 0u);
  ASSERT_TRUE(Close(copy_, kCopyHandle).ok());
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.destroyed.size(), 3u);
  EXPECT_TRUE(Of(file).components[0].instantiated());
}

TEST_F(LayoutSwapTest, OnlyWhoMayWriteTheFileCopiesIt) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_EQ(Copy(file).status, Errc::kBadHandle) << "not open";
  ASSERT_TRUE(Open(file, kHandle, O_RDONLY).ok());
  EXPECT_EQ(Copy(file, {.credential = kUserCredential}).status, Errc::kAccess);
  EXPECT_EQ(Hold(file, kHandle, false, {.credential = kUserCredential}).status, Errc::kAccess);
  EXPECT_EQ(Hold(file, 4711).status, Errc::kBadHandle);
}

// The same handle had it before, lost it, and others wrote in between.
TEST_F(LayoutSwapTest, ASwapGoesWithTheHoldThatItsObjectsWereFencedUnder) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Hold(file, kHandle).ok());
  const uint32_t fenced = Of(file).generation;
  v1::SwapLayoutsRequest request = SwapOf(file, copy_, kCopyHandle);
  request.set_same_bytes(true);
  request.mutable_first()->set_generation(fenced);
  ASSERT_TRUE(Hold(file, kHandle, true).ok());
  ASSERT_TRUE(Hold(file, kHandle).ok());
  EXPECT_EQ(Swap(request).status, Errc::kAgain);
  EXPECT_NE(Of(file).components[0].object_fid, copy_);
  request.mutable_first()->set_generation(Of(file).generation);
  request.mutable_second()->set_blocks(UINT64_MAX);
  const auto swapped = Swap(request);
  ASSERT_TRUE(swapped.ok()) << swapped.message;
  EXPECT_LE(Attr(file).blocks(), layout::kFileBytesMax / 512) << "as much as a file can have";
}

TEST_F(LayoutSwapTest, LayoutsChangePlacesAndTheOldObjectsGoWithTheCopy) {
  const Fid file = FileAndCopy();
  const layout::Layout before = Of(file);
  const int64_t mtime_ns = Attr(file).mtime_ns();
  v1::SwapLayoutsRequest request = SwapOf(file, copy_, kCopyHandle);
  request.set_same_bytes(true);
  request.mutable_second()->set_blocks(9);
  EXPECT_EQ(Swap(request).status, Errc::kAgain) << "nobody holds it";
  ASSERT_TRUE(Hold(file, kHandle).ok());
  const layout::Layout held = Of(file);
  EXPECT_TRUE(held_);
  EXPECT_EQ(held.generation, before.generation + 1) << "what objects are fenced at";
  const auto swapped = Swap(request);
  ASSERT_TRUE(swapped.ok()) << swapped.message;
  const layout::Layout after = Of(file);
  EXPECT_FALSE(held_) << "it ends with the exchange";
  EXPECT_EQ(after.components[0].osts.size(), 3u);
  EXPECT_EQ(after.components[0].object_fid, copy_);
  EXPECT_GT(after.generation, held.generation);
  EXPECT_GE(Of(copy_).generation, after.generation);
  EXPECT_EQ(Attr(file).mtime_ns(), mtime_ns);
  EXPECT_EQ(Attr(file).blocks(), 9u);
  EXPECT_TRUE(objects_.destroyed.empty());
  ASSERT_TRUE(Close(copy_, kCopyHandle).ok());
  RunFor(std::chrono::seconds(3));
  ASSERT_EQ(objects_.destroyed.size(), before.components[0].osts.size());
  EXPECT_NE(objects_.destroyed[0].find(file.ToString()), std::string::npos);
}

TEST_F(LayoutSwapTest, AHoldIsOneHandlesAndEndsWithIt) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Open(file, kHandle + 10, O_RDONLY).ok());
  ASSERT_TRUE(Hold(file, kHandle).ok());
  EXPECT_TRUE(Hold(file, kHandle).ok()) << "again, of its own";
  EXPECT_EQ(Hold(file, kHandle + 10).status, Errc::kBusy);
  ASSERT_TRUE(Hold(file, kHandle + 10, true).ok());
  EXPECT_EQ(Hold(file, kHandle + 10).status, Errc::kBusy) << "not its own to release";
  ASSERT_TRUE(Close(file, kHandle).ok());
  EXPECT_TRUE(Hold(file, kHandle + 10).ok());
  ASSERT_TRUE(Hold(file, kHandle + 10, true).ok());
  Of(file);
  EXPECT_FALSE(held_);
}

TEST_F(LayoutSwapTest, AnInstantiationThatFindsNothingToDoWaitsForTheHoldAsWell) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Open(file, kHandle + 10, O_RDWR).ok());
  ASSERT_TRUE(Hold(file, kHandle).ok());
  const uint32_t generation = Of(file).generation;
  std::optional<rpc::Response> grown;
  Begin(rpc::Opcode::kMdsInstantiate, GrowOf(file), &grown);
  RunFor(std::chrono::seconds(1));
  // Else somebody writes with the very generation that the old objects are fenced at.
  EXPECT_FALSE(grown.has_value());
  v1::SwapLayoutsRequest request = SwapOf(file, copy_, kCopyHandle);
  request.set_same_bytes(true);
  ASSERT_TRUE(Swap(request).ok());
  RunFor(std::chrono::seconds(1));
  ASSERT_TRUE(grown.has_value());
  v1::InstantiateReply reply;
  ASSERT_TRUE(grown->status == Errc::kOk && reply.ParseFromString(grown->body));
  EXPECT_GT(layout::Decode(reply.layout())->generation, generation);
}

TEST_F(LayoutSwapTest, AHoldEndsWithTheConnectionsOfItsSession) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Hold(file, kHandle).ok());
  service_->OnSessionIdle(session_);
  Of(file);
  EXPECT_FALSE(held_);
  v1::SwapLayoutsRequest request = SwapOf(file, copy_, kCopyHandle);
  request.set_same_bytes(true);
  EXPECT_EQ(Swap(request).status, Errc::kAgain);
  EXPECT_EQ(Renew(file, kHandle).status, Errc::kAgain);
}

TEST_F(LayoutSwapTest, AHoldThatNobodyRenewsEnds) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Hold(file, kHandle).ok());
  const uint32_t generation = Of(file).generation;
  for (int i = 0; i < 3; ++i) {
    RunFor(std::chrono::seconds(5));
    EXPECT_TRUE(Renew(file, kHandle).ok());
  }
  EXPECT_EQ(Of(file).generation, generation) << "renewing changes nothing";
  EXPECT_TRUE(held_);
  RunFor(LockTable::kHoldMax + std::chrono::seconds(2));
  Of(file);
  EXPECT_FALSE(held_);
  EXPECT_EQ(Renew(file, kHandle).status, Errc::kAgain);
}

TEST_F(LayoutSwapTest, AReaderDeletesNoComponentsThoughOthersOfItsMountWrite) {
  layout::Layout two = layout::DefaultTemplate();
  two.components.resize(2);
  two.components[0].end = two.components[1].start = 1 << 20;
  two.components[1].end = layout::kEof;
  v1::CreateRequest create = CreateOf(kRootFid, "db");
  create.set_layout_template(layout::Encode(two));
  create.set_mode(0644);
  ASSERT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, create).ok());
  const Fid file = FidOf(create.fid());
  ASSERT_TRUE(Open(file, kHandle, O_RDWR).ok());
  const uint32_t last = Of(file).components.back().id;
  EXPECT_EQ(DeleteLast(file, last, {.credential = kUserCredential}).status, Errc::kAccess);
  EXPECT_EQ(Of(file).components.size(), 2u);
  EXPECT_TRUE(DeleteLast(file, last, {}).ok());
  EXPECT_EQ(Of(file).components.size(), 1u);
}

TEST_F(LayoutSwapTest, OtherBytesDropSetIdsAndCapabilitiesAsAWriteDoes) {
  const Fid file = FileAndCopy();
  const Fid other = Create(kRootFid, "g");
  for (const Fid& fid : {file, other}) {
    ASSERT_TRUE(Chown(fid, 0, 1000).ok());
    ASSERT_TRUE(Chmod(fid, 04775).ok());
  }
  v1::SetXattrRequest xattr;
  SetFid(file, xattr.mutable_fid());
  xattr.set_name("security.capability");
  xattr.set_value("root");
  ASSERT_TRUE(Call<v1::SetXattrReply>(rpc::Opcode::kMdsSetXattr, xattr).ok());
  ASSERT_TRUE(Open(other, kHandle + 5, O_RDONLY).ok());
  const CallOptions user{.credential = kUserCredential};
  ASSERT_TRUE(Hold(file, kHandle, false, user).ok());
  ASSERT_TRUE(Hold(other, kHandle + 5, false, user).ok());
  const auto swapped = Call<v1::SwapLayoutsReply>(rpc::Opcode::kMdsSwapLayouts,
                                                  SwapOf(file, other, kHandle + 5), user);
  ASSERT_TRUE(swapped.ok()) << swapped.message;
  EXPECT_EQ(Attr(file).mode() & 07777, 0775u);
  EXPECT_EQ(Attr(other).mode() & 07777, 0775u);
  v1::GetXattrRequest look;
  SetFid(file, look.mutable_fid());
  look.set_name("security.capability");
  EXPECT_EQ(Call<v1::GetXattrReply>(rpc::Opcode::kMdsGetXattr, look).status, Errc::kNoData);
  ASSERT_TRUE(Close(copy_, kCopyHandle).ok());
}

TEST_F(LayoutSwapTest, SizesSeenByAnOlderLayoutAreNotBelieved) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Open(file, kHandle, O_RDWR).ok());
  const uint32_t before = Of(file).generation;
  ASSERT_TRUE(Hold(file, kHandle).ok());
  ASSERT_TRUE(Hold(file, kHandle, true).ok());
  v1::CloseRequest request;
  SetFid(file, request.mutable_fid());
  request.set_handle(kHandle);
  request.set_wrote(true);
  request.set_size(12345);
  request.set_layout_generation(before);
  const auto closed = Call<v1::CloseReply>(rpc::Opcode::kMdsClose, request);
  ASSERT_TRUE(closed.ok());
  EXPECT_TRUE(closed.reply.glimpse_wanted());
  EXPECT_EQ(Attr(file).size(), 0u);
  v1::ReportSizeRequest report;
  SetFid(file, report.mutable_fid());
  report.set_size_epoch(closed.reply.size_epoch());
  report.set_size(12345);
  report.set_layout_generation(before);
  EXPECT_FALSE(Call<v1::ReportSizeReply>(rpc::Opcode::kMdsReportSize, report).reply.accepted());
  report.set_size(77);
  report.set_layout_generation(Of(file).generation);
  EXPECT_TRUE(Call<v1::ReportSizeReply>(rpc::Opcode::kMdsReportSize, report).reply.accepted());
  EXPECT_EQ(Attr(file).size(), 77u);
}

TEST_F(LayoutSwapTest, ARestartEndsHoldsAndWhatNobodyDeclaresGoes) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Hold(file, kHandle).ok());
  const uint32_t generation = Of(file).generation;
  PowerCutAndStart();
  Reconnect();
  EXPECT_EQ(Of(file).generation, generation) << "durable before it was answered";
  EXPECT_FALSE(held_);
  RunFor(std::chrono::seconds(30));
  EXPECT_EQ(objects_.destroyed.size(), 3u) << "the copy's, that nobody has declared";
}

TEST_F(LayoutSwapTest, SizesGoWithTheBytes) {
  const Fid file = FileAndCopy();
  const Fid other = Create(kRootFid, "g");
  ASSERT_TRUE(Open(other, kHandle + 5, O_RDONLY).ok());
  ASSERT_TRUE(Hold(file, kHandle).ok());
  ASSERT_TRUE(Hold(other, kHandle + 5).ok());
  v1::SwapLayoutsRequest request = SwapOf(file, other, kHandle + 5);
  request.mutable_first()->set_size(100);
  request.mutable_second()->set_size(7);
  ASSERT_TRUE(Swap(request).ok());
  EXPECT_EQ(Attr(file).size(), 7u);
  EXPECT_EQ(Attr(other).size(), 100u);
  ASSERT_TRUE(Chown(other, 1000, 1000).ok());
  ASSERT_TRUE(Hold(file, kHandle).ok());
  ASSERT_TRUE(Hold(other, kHandle + 5).ok());
  EXPECT_EQ(Swap(request).status, Errc::kPerm) << "of two owners";
  ASSERT_TRUE(Close(copy_, kCopyHandle).ok());
}

TEST_F(LayoutSwapTest, AMigratedFileInstantiatesFurtherComponentsAlsoInAReplay) {
  const Fid file = FileAndCopy();
  ASSERT_TRUE(Hold(file, kHandle).ok());
  v1::SwapLayoutsRequest request = SwapOf(file, copy_, kCopyHandle);
  request.set_same_bytes(true);
  ASSERT_TRUE(Swap(request).ok());
  ASSERT_TRUE(Close(copy_, kCopyHandle).ok());
  v1::InstantiateRequest grow;
  SetFid(file, grow.mutable_fid());
  grow.set_offset(0);
  grow.set_length(1);
  layout::Layout decided = Of(file);
  ++decided.generation;
  grow.set_decided_layout(layout::Encode(decided));
  PowerCutAndStart();
  Reconnect();
  const auto grown = Call<v1::InstantiateReply>(rpc::Opcode::kMdsInstantiate, grow,
                                                {.flags = rpc::kReplay});
  EXPECT_TRUE(grown.ok()) << grown.message;
}

}  // namespace
}  // namespace sheen::mds
