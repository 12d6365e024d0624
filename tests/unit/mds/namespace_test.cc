#include <set>

#include "mds_fixture.h"

namespace sheen::mds {
namespace {

using NamespaceTest = MdsFixture;

TEST_F(NamespaceTest, LookupFindsNamesDotsAndErrors) {
  const Fid directory = MakeDir(kRootFid, "d");
  const Fid file = Create(directory, "f");
  EXPECT_EQ(Find(kRootFid, "d"), directory);
  EXPECT_EQ(Find(directory, "f"), file);
  EXPECT_EQ(Find(directory, "."), directory);
  EXPECT_EQ(Find(directory, ".."), kRootFid);
  EXPECT_EQ(Find(kRootFid, ".."), kRootFid);
  EXPECT_EQ(Lookup(directory, "none").status, Errc::kNoEntry);
  EXPECT_EQ(Lookup(file, "x").status, Errc::kNotDirectory);
  EXPECT_EQ(Lookup(NewFid(), "x").status, Errc::kStale);
  EXPECT_EQ(Lookup(kRootFid, std::string(256, 'n')).status, Errc::kNameTooLong);
  EXPECT_EQ(Lookup(Fid{}, "x").status, Errc::kInvalid);
}

TEST_F(NamespaceTest, CreateMakesAFileWithItsFirstComponent) {
  const v1::CreateRequest request = CreateOf(kRootFid, "f");
  const auto created = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request);
  ASSERT_TRUE(created.ok()) << created.message;
  EXPECT_TRUE(created.reply.created());
  EXPECT_NE(created.transno, 0u);
  const v1::Attr& attr = created.reply.attr();
  EXPECT_EQ(attr.mode(), S_IFREG | 0644u);
  EXPECT_EQ(attr.nlink(), 1u);
  EXPECT_FALSE(attr.size_unsafe()) << "at this moment it is empty";
  EXPECT_GT(attr.size_epoch(), 0u);
  const auto layout = layout::Decode(attr.layout());
  ASSERT_TRUE(layout.has_value());
  ASSERT_FALSE(layout->components.empty());
  EXPECT_EQ(layout->components[0].birth, created.transno);
  EXPECT_EQ(layout->components[0].object_fid, FidOf(request.fid()));
  EXPECT_EQ(layout->components[0].osts.size(), 1u);
  EXPECT_FALSE(layout->components[1].instantiated());
  EXPECT_TRUE(Attr(FidOf(attr.fid())).size_unsafe());
  EXPECT_EQ(created.reply.parent_attr().ctime_ns(), attr.ctime_ns());
}

TEST_F(NamespaceTest, CreateOfAnExistingNameOpensIt) {
  const Fid file = Create(kRootFid, "f");
  const auto opened = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "f"));
  ASSERT_TRUE(opened.ok()) << opened.message;
  EXPECT_FALSE(opened.reply.created());
  EXPECT_EQ(FidOf(opened.reply.attr().fid()), file);
  const auto refused = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate,
                                             CreateOf(kRootFid, "f", O_CREAT | O_EXCL | O_RDWR));
  EXPECT_EQ(refused.status, Errc::kExists);
  MakeDir(kRootFid, "d");
  EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, "d")).status,
            Errc::kIsDirectory);
}

TEST_F(NamespaceTest, FidsAreNeverUsedTwiceOrFromElsewhere) {
  const Fid file = Create(kRootFid, "f");
  for (const Fid& bad : {file, Fid{1, 1, 0}, Fid{sequence_ + 100, 1, 0}, Fid{sequence_, 0, 0}}) {
    v1::CreateRequest request = CreateOf(kRootFid, "g");
    SetFid(bad, request.mutable_fid());
    EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request).status, Errc::kInvalid)
        << bad.ToString();
  }
  EXPECT_EQ(Find(kRootFid, "g"), Fid());
}

TEST_F(NamespaceTest, BadNamesAreRefused) {
  for (const std::string& name : {std::string(), std::string("."), std::string(".."),
                                  std::string("a/b"), std::string("a\0b", 3)}) {
    EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, name)).status,
              Errc::kInvalid);
  }
  EXPECT_EQ(
      Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(kRootFid, std::string(256, 'x')))
          .status,
      Errc::kNameTooLong);
  Create(kRootFid, std::string(255, 'x'));
}

TEST_F(NamespaceTest, NodesOfAllTypes) {
  const auto make = [&](const std::string& name, uint32_t mode, uint32_t credential) {
    v1::MakeNodeRequest request;
    SetFid(kRootFid, request.mutable_parent());
    SetFid(NewFid(), request.mutable_fid());
    request.set_name(name);
    request.set_mode(mode);
    request.set_rdev(259);
    request.set_symlink_target("some/where");
    return Call<v1::MakeNodeReply>(rpc::Opcode::kMdsMakeNode, request, {.credential = credential});
  };
  EXPECT_EQ(make("fifo", S_IFIFO | 0600, kUserCredential).status, Errc::kOk);
  EXPECT_EQ(make("dev", S_IFCHR | 0600, kUserCredential).status, Errc::kPerm);
  EXPECT_EQ(make("dev", S_IFCHR | 0600, 0).reply.attr().rdev(), 259u);
  const auto link = make("link", S_IFLNK, kUserCredential);
  EXPECT_EQ(link.reply.attr().size(), 10u);
  EXPECT_EQ(link.reply.attr().mode(), S_IFLNK | 0777u);
  v1::ReadLinkRequest read;
  *read.mutable_fid() = link.reply.attr().fid();
  EXPECT_EQ(Call<v1::ReadLinkReply>(rpc::Opcode::kMdsReadLink, read).reply.target(), "some/where");
  EXPECT_EQ(make("fifo", S_IFDIR, 0).status, Errc::kExists);
  EXPECT_EQ(make("bad", 0, 0).status, Errc::kInvalid);
  *read.mutable_fid() = make("dir", S_IFDIR | 0755, 0).reply.attr().fid();
  EXPECT_EQ(Call<v1::ReadLinkReply>(rpc::Opcode::kMdsReadLink, read).status, Errc::kInvalid);
}

TEST_F(NamespaceTest, DirectoryLinkCountsFollowTheirChildren) {
  const Fid a = MakeDir(kRootFid, "a");
  EXPECT_EQ(Attr(kRootFid).nlink(), 3u);
  MakeDir(a, "b");
  Create(a, "f");
  EXPECT_EQ(Attr(a).nlink(), 3u);
  EXPECT_EQ(RemoveDir(kRootFid, "a"), Errc::kNotEmpty);
  EXPECT_EQ(RemoveDir(a, "b"), Errc::kOk);
  EXPECT_EQ(RemoveDir(a, "f"), Errc::kNotDirectory);
  EXPECT_EQ(Unlink(kRootFid, "a"), Errc::kIsDirectory);
  EXPECT_EQ(Unlink(a, "f"), Errc::kOk);
  EXPECT_EQ(RemoveDir(kRootFid, "a"), Errc::kOk);
  EXPECT_EQ(RemoveDir(kRootFid, "a"), Errc::kNoEntry);
  EXPECT_EQ(Attr(kRootFid).nlink(), 2u);
}

TEST_F(NamespaceTest, LinksCountAndTheLastUnlinkDestroys) {
  const Fid file = Create(kRootFid, "a");
  const Fid directory = MakeDir(kRootFid, "d");
  EXPECT_EQ(LinkTo(file, directory, "b"), Errc::kOk);
  EXPECT_EQ(LinkTo(file, directory, "b"), Errc::kExists);
  EXPECT_EQ(LinkTo(directory, kRootFid, "x"), Errc::kPerm);
  EXPECT_EQ(Attr(file).nlink(), 2u);
  v1::FidToPathRequest paths;
  SetFid(file, paths.mutable_fid());
  auto named = Call<v1::FidToPathReply>(rpc::Opcode::kMdsFidToPath, paths);
  ASSERT_EQ(named.reply.paths_size(), 2);
  EXPECT_EQ(std::set<std::string>(named.reply.paths().begin(), named.reply.paths().end()),
            (std::set<std::string>{"a", "d/b"}));
  EXPECT_EQ(Unlink(kRootFid, "a"), Errc::kOk);
  EXPECT_EQ(Attr(file).nlink(), 1u);
  EXPECT_EQ(Unlink(directory, "b"), Errc::kOk);
  EXPECT_EQ(Call<v1::FidToPathReply>(rpc::Opcode::kMdsFidToPath, paths).status, Errc::kNoEntry);
  RunFor(std::chrono::seconds(3));
  EXPECT_EQ(objects_.destroyed.size(), 1u);
}

TEST_F(NamespaceTest, MoreThan65000LinksAreAllowed) {
  const Fid file = Create(kRootFid, "f");
  const Fid directory = MakeDir(kRootFid, "d");
  // Each link is one row; the count is a number: a start near the classic limit shows no edge.
  const auto bytes = store_->Get(mdt::kInodes, mdt::InodeKey(file), kv::Blocking::kMayBlock);
  mdt::Inode inode = mdt::DecodeInode(**bytes).value();
  inode.nlink = 65'000;
  kv::Batch batch;
  batch.Put(mdt::kInodes, mdt::InodeKey(file), mdt::Encode(inode));
  ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(LinkTo(file, directory, std::to_string(i)), Errc::kOk);
  EXPECT_EQ(Attr(file).nlink(), 65'003u);
  inode.nlink = 4;
  batch.Clear();
  batch.Put(mdt::kInodes, mdt::InodeKey(file), mdt::Encode(inode));
  ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
}

TEST_F(NamespaceTest, ReadDirGivesEveryNameOnceInPages) {
  const Fid directory = MakeDir(kRootFid, "d");
  std::set<std::string> expected;
  for (int i = 0; i < 100; ++i) {
    expected.insert("name" + std::to_string(i));
    Create(directory, "name" + std::to_string(i));
  }
  for (const uint32_t page : {0u, 1u, 7u, 100u, 101u}) {
    const std::vector<std::string> names = Names(directory, page);
    EXPECT_EQ(names.size(), expected.size()) << page;
    EXPECT_EQ(std::set<std::string>(names.begin(), names.end()), expected) << page;
  }
  v1::ReadDirRequest plus;
  SetFid(directory, plus.mutable_fid());
  plus.set_plus(true);
  plus.set_bytes_max(4096);
  const auto page = Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, plus);
  ASSERT_GT(page.reply.entries_size(), 1);
  EXPECT_FALSE(page.reply.end());
  EXPECT_LE(page.reply.ByteSizeLong(), 4096u);
  EXPECT_EQ(page.reply.entries(0).attr().nlink(), 1u);
  EXPECT_EQ(FidOf(page.reply.parent()), kRootFid);
  plus.set_cookie(UINT64_MAX);
  EXPECT_TRUE(Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, plus).reply.end());
  SetFid(Create(kRootFid, "f"), plus.mutable_fid());
  EXPECT_EQ(Call<v1::ReadDirReply>(rpc::Opcode::kMdsReadDir, plus).status, Errc::kNotDirectory);
}

TEST_F(NamespaceTest, NothingIsMadeInARemovedDirectoryThatIsStillOpen) {
  const Fid directory = MakeDir(kRootFid, "d");
  ASSERT_TRUE(Open(directory, 5, O_RDONLY).ok());
  EXPECT_EQ(RemoveDir(kRootFid, "d"), Errc::kOk);
  EXPECT_EQ(Attr(directory).nlink(), 0u);
  EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(directory, "f")).status,
            Errc::kNoEntry);
  EXPECT_TRUE(Names(directory).empty());
  EXPECT_TRUE(Close(directory, 5).ok());
  EXPECT_EQ(Lookup(directory, "f").status, Errc::kStale);
}

TEST_F(NamespaceTest, TimesOfParentsMoveAndNeverStandStill) {
  const Fid directory = MakeDir(kRootFid, "d");
  int64_t last = Attr(directory).ctime_ns();
  // The clock does not move between these.
  for (int i = 0; i < 5; ++i) {
    Create(directory, "f" + std::to_string(i));
    const v1::Attr attr = Attr(directory);
    EXPECT_GT(attr.ctime_ns(), last);
    EXPECT_EQ(attr.mtime_ns(), attr.ctime_ns());
    last = attr.ctime_ns();
  }
  EXPECT_EQ(Unlink(directory, "f0"), Errc::kOk);
  EXPECT_GT(Attr(directory).mtime_ns(), last);
}

TEST_F(NamespaceTest, SetGroupIdDirectoriesHandTheirGroupDown) {
  const Fid directory = MakeDir(kRootFid, "d", 02777);
  ASSERT_TRUE(Chown(directory, 0, 50).ok());
  ASSERT_TRUE(Chmod(directory, 02777).ok());
  v1::CreateRequest request = CreateOf(directory, "f");
  request.set_mode(02755);
  const auto member =
      Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request, {.credential = kUserCredential});
  EXPECT_EQ(member.reply.attr().gid(), 50u);
  EXPECT_EQ(member.reply.attr().mode() & 07777, 02755u) << "in the group: keeps the bit";
  request = CreateOf(directory, "g");
  request.set_mode(02755);
  const auto stranger =
      Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, request, {.credential = kOtherCredential});
  EXPECT_EQ(stranger.reply.attr().gid(), 50u);
  EXPECT_EQ(stranger.reply.attr().mode() & 07777, 0755u);
  const Fid below = MakeDir(directory, "below", 0755);
  EXPECT_EQ(Attr(below).mode() & 07777, 02755u);
}

}  // namespace
}  // namespace sheen::mds
