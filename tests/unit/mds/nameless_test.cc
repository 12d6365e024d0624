// Files made without a name (O_TMPFILE): linked, or gone with their last handle.
#include <fcntl.h>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

class NamelessTest : public MdsFixture {
 protected:
  v1::CreateRequest NamelessOf(const Fid& directory, uint32_t flags = O_RDWR | O_TMPFILE) {
    v1::CreateRequest request = CreateOf(directory, "", flags);
    request.set_mode(0640);
    return request;
  }
  Fid Make(const v1::CreateRequest& request) {
    const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
    EXPECT_TRUE(made.ok()) << made.message;
    EXPECT_TRUE(made.reply.created());
    return FidOf(made.reply.attr().fid());
  }
  bool Exists(const Fid& fid) {
    v1::GetAttrRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::GetAttrReply>(rpc::Opcode::kMdsGetAttr, request).ok();
  }
  void Sync() {
    ASSERT_TRUE(Call<v1::MdsSyncReply>(rpc::Opcode::kMdsSync, v1::MdsSyncRequest()).ok());
  }
  bool Reopen(const Fid& fid, uint64_t handle) {
    v1::OpenRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_handle(handle);
    request.set_reopen(true);
    return Call<v1::OpenReply>(rpc::Opcode::kMdsOpen, request).ok();
  }
};

TEST_F(NamelessTest, GoesWithItsLastHandle) {
  const Fid directory = MakeDir(kRootFid, "d", 02755);
  const int64_t mtime_ns = Attr(directory).mtime_ns();
  const v1::CreateRequest request = NamelessOf(directory);
  const Fid file = Make(request);
  const v1::Attr attr = Attr(file);
  EXPECT_EQ(attr.nlink(), 0u);
  EXPECT_EQ(attr.mode(), S_IFREG | 0640u);
  EXPECT_EQ(attr.gid(), Attr(directory).gid());
  EXPECT_TRUE(Names(directory).empty());
  EXPECT_EQ(Attr(directory).mtime_ns(), mtime_ns);
  RunFor(std::chrono::seconds(3));
  EXPECT_TRUE(Exists(file));
  EXPECT_TRUE(Close(file, request.handle()).ok());
  EXPECT_FALSE(Exists(file));
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
  CheckStore();
}

TEST_F(NamelessTest, StaysOnceItHasAName) {
  const v1::CreateRequest request = NamelessOf(kRootFid);
  const Fid file = Make(request);
  ASSERT_EQ(LinkTo(file, kRootFid, "f"), Errc::kOk);
  EXPECT_EQ(Find(kRootFid, "f"), file);
  EXPECT_EQ(Attr(file).nlink(), 1u);
  EXPECT_EQ(LinkTo(file, kRootFid, "g"), Errc::kOk);
  EXPECT_EQ(Attr(file).nlink(), 2u);
  EXPECT_TRUE(Close(file, request.handle()).ok());
  Sync();
  CheckStore();
  PowerCutAndStart();
  RunFor(std::chrono::seconds(30));
  EXPECT_TRUE(Exists(file));
  EXPECT_TRUE(objects_.destroyed.empty());
}

TEST_F(NamelessTest, OnceRemovedItComesBackNoMore) {
  const v1::CreateRequest request = NamelessOf(kRootFid);
  const Fid file = Make(request);
  ASSERT_EQ(LinkTo(file, kRootFid, "f"), Errc::kOk);
  ASSERT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  EXPECT_EQ(LinkTo(file, kRootFid, "f"), Errc::kNoEntry);
}

TEST_F(NamelessTest, WithExclIsNeverLinked) {
  const Fid file = Make(NamelessOf(kRootFid, O_RDWR | O_TMPFILE | O_EXCL));
  EXPECT_EQ(LinkTo(file, kRootFid, "f"), Errc::kNoEntry);
  EXPECT_EQ(Attr(file).nlink(), 0u);
}

TEST_F(NamelessTest, IsKeptOverARestartByWhoHasItOpen) {
  const v1::CreateRequest kept = NamelessOf(kRootFid);
  const v1::CreateRequest left = NamelessOf(kRootFid);
  const Fid kept_file = Make(kept);
  const Fid left_file = Make(left);
  Sync();
  PowerCutAndStart();
  ASSERT_TRUE(Reopen(kept_file, kept.handle()));
  RunFor(std::chrono::seconds(30));
  EXPECT_TRUE(Exists(kept_file));
  EXPECT_FALSE(Exists(left_file));
  EXPECT_EQ(LinkTo(kept_file, kRootFid, "kept"), Errc::kOk);
}

TEST_F(NamelessTest, IsRepeatedWithItsName) {
  const v1::CreateRequest request = NamelessOf(kRootFid);
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  const Fid file = FidOf(made.reply.attr().fid());
  v1::LinkRequest link;
  SetFid(file, link.mutable_fid());
  SetFid(kRootFid, link.mutable_parent());
  link.set_name("f");
  const auto linked = Call<v1::LinkReply>(rpc::Opcode::kMdsLink, link);
  ASSERT_TRUE(linked.ok());
  PowerCutAndStart();
  EXPECT_FALSE(Exists(file));
  EXPECT_TRUE(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request,
                                    {.flags = rpc::kReplay, .xid = made.xid})
                  .ok());
  EXPECT_TRUE(Call<v1::LinkReply>(rpc::Opcode::kMdsLink, link,
                                  {.flags = rpc::kReplay, .xid = linked.xid})
                  .ok());
  EXPECT_EQ(Find(kRootFid, "f"), file);
  EXPECT_EQ(Attr(file).nlink(), 1u);
  RunFor(std::chrono::seconds(30));
  CheckStore();
}

}  // namespace
}  // namespace sheen::mds
