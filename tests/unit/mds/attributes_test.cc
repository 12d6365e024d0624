#include "mds/permission.h"
#include "mds_fixture.h"

namespace sheen::mds {
namespace {

using AttributesTest = MdsFixture;

TEST(PermissionTest, TheFirstClassThatFitsDecides) {
  mdt::Inode inode;
  inode.uid = 10;
  inode.gid = 20;
  const rpc::Credential owner{10, 20, {}}, member{11, 1, {5, 20}}, other{12, 1, {}}, root{0, 0, {}};
  for (uint32_t mode = 0; mode < 01000; ++mode) {
    inode.mode = 0100000 | mode;
    for (uint32_t access = 1; access < 8; ++access) {
      EXPECT_EQ(MayAccess(inode, owner, access), (((mode >> 6) & access) == access));
      EXPECT_EQ(MayAccess(inode, member, access), (((mode >> 3) & access) == access));
      EXPECT_EQ(MayAccess(inode, other, access), ((mode & access) == access));
      const bool root_may = (access & kAccessExecute) == 0 || (mode & 0111) != 0;
      EXPECT_EQ(MayAccess(inode, root, access), root_may);
    }
  }
  inode.mode = 0040000;
  EXPECT_TRUE(MayAccess(inode, root, 7)) << "directories are always searched";
}

TEST(PermissionTest, StickyDirectoriesProtectOthersFiles) {
  mdt::Inode directory, child;
  directory.mode = 0041777;
  directory.uid = 1;
  child.uid = 2;
  EXPECT_TRUE(CheckRemove(directory, child, {1, 1, {}}).has_value());
  EXPECT_TRUE(CheckRemove(directory, child, {2, 2, {}}).has_value());
  EXPECT_TRUE(CheckRemove(directory, child, {0, 0, {}}).has_value());
  EXPECT_EQ(CheckRemove(directory, child, {3, 3, {}}).error().code(), Errc::kPerm);
  directory.mode = 0040755;
  EXPECT_EQ(CheckRemove(directory, child, {2, 2, {}}).error().code(), Errc::kAccess);
}

TEST(PermissionTest, OpenFlagsAskForTheirAccess) {
  EXPECT_EQ(AccessOfOpenFlags(O_RDONLY), kAccessRead);
  EXPECT_EQ(AccessOfOpenFlags(O_WRONLY), kAccessWrite);
  EXPECT_EQ(AccessOfOpenFlags(O_RDWR), kAccessRead | kAccessWrite);
  EXPECT_EQ(AccessOfOpenFlags(O_RDONLY | O_TRUNC), kAccessRead | kAccessWrite);
  EXPECT_EQ(AccessOfOpenFlags(0x20), kAccessExecute);
}

TEST_F(AttributesTest, OnlyTheOwnerChangesModes) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_EQ(Chmod(file, 0777, {.credential = kUserCredential}).status, Errc::kPerm);
  ASSERT_TRUE(Chown(file, 1000, 2000).ok());
  const auto changed = Chmod(file, 06755, {.credential = kUserCredential});
  ASSERT_TRUE(changed.ok());
  EXPECT_EQ(changed.reply.attr().mode(), S_IFREG | 04755u) << "not in the group: no set-group-ID";
}

TEST_F(AttributesTest, OwnersAreGivenByRootAndGroupsByMembers) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Chown(file, 1000, 1000).ok());
  EXPECT_EQ(Chown(file, 2000, 1000, {.credential = kUserCredential}).status, Errc::kPerm);
  EXPECT_EQ(Chown(file, 1000, 2000, {.credential = kUserCredential}).status, Errc::kPerm);
  EXPECT_EQ(Chown(file, 1000, 50, {.credential = kUserCredential}).status, Errc::kOk);
  ASSERT_TRUE(Chmod(file, 06777).ok());
  EXPECT_EQ(Chown(file, 1000, 1000).reply.attr().mode() & 07777, 0777u) << "set-id bits go";
}

TEST_F(AttributesTest, ChownTellsTheObjectsOnceItIsDurable) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Chown(file, 1000, 1000).ok());
  EXPECT_TRUE(objects_.owners.empty());
  RunFor(std::chrono::seconds(3));
  ASSERT_EQ(objects_.owners.size(), 1u);
  EXPECT_EQ(objects_.owners[0].owner().uid(), 1000u);
  EXPECT_EQ(FidOf(objects_.owners[0].objects(0).fid()), file);
  EXPECT_GT(objects_.owners[0].owner().layout_generation(), 1u);
}

TEST_F(AttributesTest, TimesAreSetByOwnersAndNowByWriters) {
  const Fid file = Create(kRootFid, "f");
  v1::SetAttrRequest request;
  SetFid(file, request.mutable_fid());
  request.set_valid(v1::SET_ATIME | v1::SET_MTIME);
  request.set_atime_ns(-5);
  request.set_mtime_ns(7);
  const auto set = [&](uint32_t credential) {
    return Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request, {.credential = credential});
  };
  EXPECT_EQ(set(kUserCredential).status, Errc::kPerm);
  const auto done = set(0);
  EXPECT_EQ(done.reply.attr().atime_ns(), -5);
  EXPECT_EQ(done.reply.attr().mtime_ns(), 7);
  request.set_atime_now(true);
  request.set_mtime_now(true);
  EXPECT_EQ(set(kUserCredential).status, Errc::kAccess);
  ASSERT_TRUE(Chmod(file, 0666).ok());
  EXPECT_EQ(set(kUserCredential).status, Errc::kOk);
  request.set_valid(1 << 20);
  EXPECT_EQ(set(0).status, Errc::kInvalid);
}

TEST_F(AttributesTest, ANewCtimeIsLaterThanAnyTheClientHasSeen) {
  const Fid file = Create(kRootFid, "f");
  const int64_t seen = clock_.Wall().count() + 1'000'000;
  v1::SetAttrRequest request;
  SetFid(file, request.mutable_fid());
  request.set_valid(v1::SET_MTIME);
  request.set_mtime_now(true);
  request.set_ctime_seen_ns(seen);
  const auto set = Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request);
  EXPECT_GT(set.reply.attr().ctime_ns(), seen);
  request.set_ctime_seen_ns(INT64_MAX);
  const auto far = Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request);
  EXPECT_LE(far.reply.attr().ctime_ns(),
            clock_.Wall().count() + std::chrono::nanoseconds(std::chrono::hours(1)).count() + 1);
}

TEST_F(AttributesTest, TruncateMarkNeedsWriteAccessAndClearsSetIds) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Chmod(file, 04755).ok());
  v1::SetAttrRequest request;
  SetFid(file, request.mutable_fid());
  request.set_valid(v1::SET_TRUNCATED);
  const auto cut = [&](uint32_t credential) {
    return Call<v1::SetAttrReply>(rpc::Opcode::kMdsSetAttr, request, {.credential = credential});
  };
  EXPECT_EQ(cut(kUserCredential).status, Errc::kAccess);
  ASSERT_TRUE(Chmod(file, 04777).ok());
  const auto done = cut(kUserCredential);
  EXPECT_EQ(done.reply.attr().mode() & 07777, 0777u);
  EXPECT_EQ(done.reply.attr().mtime_ns(), done.reply.attr().ctime_ns());
  SetFid(MakeDir(kRootFid, "d"), request.mutable_fid());
  EXPECT_EQ(cut(0).status, Errc::kIsDirectory);
}

TEST_F(AttributesTest, PermissionsGuardTheNamespace) {
  const Fid closed = MakeDir(kRootFid, "closed", 0700);
  Create(closed, "f");
  const CallOptions user{.credential = kUserCredential};
  EXPECT_EQ(Lookup(closed, "f", user).status, Errc::kAccess);
  EXPECT_EQ(Unlink(closed, "f", user), Errc::kAccess);
  ASSERT_TRUE(Chmod(closed, 0755).ok());
  EXPECT_EQ(Lookup(closed, "f", user).status, Errc::kOk);
  EXPECT_EQ(Unlink(closed, "f", user), Errc::kAccess);
  EXPECT_EQ(Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, CreateOf(closed, "g"), user).status,
            Errc::kAccess);
  const Fid file = Find(closed, "f");
  EXPECT_EQ(Open(file, 1, O_RDWR, user).status, Errc::kAccess);
  EXPECT_TRUE(Open(file, 1, O_RDONLY, user).ok());
  EXPECT_EQ(Open(file, 2, O_RDONLY, {.credential = 99}).status, Errc::kProtocol) << "never set";
  Create(kRootFid, "roots");
  EXPECT_EQ(Unlink(kRootFid, "roots", user), Errc::kPerm) << "the root is sticky here";
}

Errc SetXattr(auto* self, const Fid& fid, const std::string& name, const std::string& value,
              uint32_t flags, CallOptions options = {}) {
  v1::SetXattrRequest request;
  SetFid(fid, request.mutable_fid());
  request.set_name(name);
  request.set_value(value);
  request.set_flags(flags);
  return self->template Call<v1::SetXattrReply>(rpc::Opcode::kMdsSetXattr, request, options).status;
}

class XattrTest : public MdsFixture {
 public:
  using MdsFixture::Call;
  Answered<v1::GetXattrReply> Get(const Fid& fid, const std::string& name,
                                  CallOptions options = {}) {
    v1::GetXattrRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_name(name);
    return Call<v1::GetXattrReply>(rpc::Opcode::kMdsGetXattr, request, options);
  }
  std::vector<std::string> List(const Fid& fid, CallOptions options = {}) {
    v1::ListXattrRequest request;
    SetFid(fid, request.mutable_fid());
    const auto reply = Call<v1::ListXattrReply>(rpc::Opcode::kMdsListXattr, request, options);
    return {reply.reply.names().begin(), reply.reply.names().end()};
  }
  Errc Remove(const Fid& fid, const std::string& name) {
    v1::RemoveXattrRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_name(name);
    return Call<v1::RemoveXattrReply>(rpc::Opcode::kMdsRemoveXattr, request).status;
  }
};

TEST_F(XattrTest, SetGetListRemove) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_EQ(Get(file, "user.a").status, Errc::kNoData);
  EXPECT_EQ(SetXattr(this, file, "user.a", "1", 2), Errc::kNoData) << "XATTR_REPLACE";
  EXPECT_EQ(SetXattr(this, file, "user.a", "1", 1), Errc::kOk) << "XATTR_CREATE";
  EXPECT_EQ(SetXattr(this, file, "user.a", "2", 1), Errc::kExists);
  EXPECT_EQ(SetXattr(this, file, "user.a", "2", 2), Errc::kOk);
  EXPECT_EQ(SetXattr(this, file, "user.b", "", 0), Errc::kOk);
  EXPECT_EQ(Get(file, "user.a").reply.value(), "2");
  EXPECT_EQ(List(file), (std::vector<std::string>{"user.a", "user.b"}));
  EXPECT_EQ(Remove(file, "user.a"), Errc::kOk);
  EXPECT_EQ(Remove(file, "user.a"), Errc::kNoData);
  EXPECT_EQ(List(file), (std::vector<std::string>{"user.b"}));
  EXPECT_EQ(Unlink(kRootFid, "f"), Errc::kOk);
  const auto cursor = store_->NewCursor(mdt::kXattrs, kv::Blocking::kMayBlock);
  cursor->Seek("");
  EXPECT_FALSE(cursor->Valid()) << "xattrs go with their file";
}

TEST_F(XattrTest, LimitsAndNamespaces) {
  const Fid file = Create(kRootFid, "f");
  EXPECT_EQ(SetXattr(this, file, "user.a", std::string(65536, 'x'), 0), Errc::kOk);
  EXPECT_EQ(SetXattr(this, file, "user.a", std::string(65537, 'x'), 0), Errc::kRange);
  EXPECT_EQ(SetXattr(this, file, "user." + std::string(251, 'x'), "", 0), Errc::kRange);
  EXPECT_EQ(SetXattr(this, file, "user.", "", 0), Errc::kInvalid);
  EXPECT_EQ(SetXattr(this, file, "system.posix_acl_access", "", 0), Errc::kInvalid);
  EXPECT_EQ(SetXattr(this, file, "system.other", "", 0), Errc::kNotSupported);
  EXPECT_EQ(SetXattr(this, file, "user.a", "", 8), Errc::kInvalid);
  const CallOptions user{.credential = kUserCredential};
  EXPECT_EQ(SetXattr(this, file, "trusted.t", "1", 0, user), Errc::kPerm);
  EXPECT_EQ(SetXattr(this, file, "security.s", "1", 0, user), Errc::kPerm);
  EXPECT_EQ(SetXattr(this, file, "user.u", "1", 0, user), Errc::kAccess);
  EXPECT_EQ(SetXattr(this, file, "trusted.t", "1", 0), Errc::kOk);
  EXPECT_EQ(SetXattr(this, file, "security.s", "1", 0), Errc::kOk);
  EXPECT_EQ(Get(file, "trusted.t", user).status, Errc::kNoData);
  EXPECT_EQ(Get(file, "security.s", user).reply.value(), "1");
  EXPECT_EQ(List(file, user), (std::vector<std::string>{"security.s", "user.a"}));
  for (int i = 0; i < 300; ++i) {
    const std::string name = "user." + std::to_string(1000 + i) + std::string(240, 'n');
    if (SetXattr(this, file, name, "", 0) != Errc::kOk) {
      EXPECT_EQ(SetXattr(this, file, name, "", 0), Errc::kNoSpace);
      EXPECT_GT(i, 250);
      return;
    }
  }
  ADD_FAILURE() << "64 KiB of names were never full";
}

}  // namespace
}  // namespace sheen::mds
