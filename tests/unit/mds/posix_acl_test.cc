#include "mds/posix_acl.h"

#include "mds/acl_rows.h"
#include "mds/permission.h"
#include "mds_fixture.h"

namespace sheen::mds {
namespace {

constexpr uint16_t kR = 4, kW = 2, kX = 1;

PosixAcl Simple(uint16_t owner, uint16_t group, uint16_t other) {
  return {{kAclUserObj, owner}, {kAclGroupObj, group}, {kAclOther, other}};
}

PosixAcl Named(uint16_t mask) {
  return {{kAclUserObj, 7},   {kAclUser, 6, 50}, {kAclGroupObj, 4}, {kAclGroup, 5, 60},
          {kAclGroup, 2, 61}, {kAclMask, mask},  {kAclOther, 1}};
}

TEST(PosixAclTest, WhatIsEncodedIsDecoded) {
  for (const PosixAcl& acl : {Simple(7, 5, 0), Named(7), PosixAcl()}) {
    const auto decoded = DecodeAcl(EncodeAcl(acl));
    ASSERT_TRUE(decoded.has_value());
    EXPECT_EQ(*decoded, acl);
  }
}

TEST(PosixAclTest, MalformedListsAreRefused) {
  const PosixAcl good = Named(7);
  const auto code = [](const PosixAcl& acl) {
    const auto decoded = DecodeAcl(EncodeAcl(acl));
    return decoded ? Errc::kOk : decoded.error().code();
  };
  ASSERT_EQ(code(good), Errc::kOk);
  for (size_t i = 0; i < good.size(); ++i) {
    PosixAcl without = good;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    const bool may_miss = good[i].tag == kAclUser || good[i].tag == kAclGroup;
    EXPECT_EQ(code(without), may_miss ? Errc::kOk : Errc::kInvalid) << i;
    PosixAcl twice = good;
    twice.insert(twice.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    EXPECT_EQ(code(twice), may_miss ? Errc::kOk : Errc::kInvalid) << i;
    PosixAcl odd = good;
    odd[i].permissions = 8;
    EXPECT_EQ(code(odd), Errc::kInvalid) << i;
    odd = good;
    odd[i].tag = 64;
    EXPECT_EQ(code(odd), Errc::kInvalid) << i;
  }
  PosixAcl nobody = good;
  nobody[1].id = UINT32_MAX;
  EXPECT_EQ(code(nobody), Errc::kInvalid);
  std::string bytes = EncodeAcl(good);
  EXPECT_EQ(DecodeAcl(bytes.substr(0, bytes.size() - 1)).error().code(), Errc::kInvalid);
  EXPECT_EQ(DecodeAcl("").error().code(), Errc::kInvalid);
  bytes[0] = 3;
  EXPECT_EQ(DecodeAcl(bytes).error().code(), Errc::kNotSupported);
}

TEST(PosixAclTest, TheFirstClassThatFitsDecidesUnderTheMask) {
  const auto may = [](const rpc::Credential& who, uint16_t mask, uint32_t access) {
    return AclGrants(Named(mask), 10, 20, who, access);
  };
  EXPECT_TRUE(may({10, 1, {}}, 0, 7)) << "the owner is not masked";
  EXPECT_TRUE(may({50, 1, {}}, 7, kR | kW));
  EXPECT_FALSE(may({50, 1, {}}, 4, kW)) << "masked";
  EXPECT_FALSE(may({50, 60, {}}, 7, kX)) << "a named user's groups do not count";
  EXPECT_TRUE(may({9, 60, {}}, 7, kR | kX));
  EXPECT_TRUE(may({9, 20, {61}}, 7, kW)) << "any group may grant";
  EXPECT_FALSE(may({9, 20, {61}}, 7, kR | kW)) << "but not two together";
  EXPECT_FALSE(may({9, 20, {}}, 7, kX)) << "in a group: others' rights do not count";
  EXPECT_TRUE(may({9, 9, {}}, 0, kX)) << "others are not masked";
  EXPECT_FALSE(may({9, 9, {}}, 7, kR));
}

TEST(PosixAclTest, ModeAndListFollowEachOther) {
  EXPECT_EQ(ModeOfAcl(Simple(7, 5, 1)), 0751u);
  EXPECT_TRUE(IsOnlyMode(Simple(7, 5, 1)));
  EXPECT_EQ(ModeOfAcl(Named(3)), 0731u);
  EXPECT_FALSE(IsOnlyMode(Named(3)));
  PosixAcl acl = Named(7);
  ChangeAclMode(0420, &acl);
  EXPECT_EQ(ModeOfAcl(acl), 0420u);
  EXPECT_EQ(acl[2].permissions, 4) << "the owning group keeps its own beside a mask";
  for (uint32_t mode = 0; mode < 01000; ++mode) {
    acl = Simple(6, 5, 3);
    EXPECT_EQ(RestrictAcl(02000 | mode, &acl), 02000 | (mode & 0653));
    EXPECT_EQ(ModeOfAcl(acl), mode & 0653);
  }
}

class AclTest : public MdsFixture {
 protected:
  Errc Set(const Fid& fid, std::string_view name, const PosixAcl& acl, CallOptions options = {}) {
    v1::SetXattrRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_name(std::string(name));
    request.set_value(EncodeAcl(acl));
    return Call<v1::SetXattrReply>(rpc::Opcode::kMdsSetXattr, request, options).status;
  }
  Result<PosixAcl> Get(const Fid& fid, std::string_view name) {
    v1::GetXattrRequest request;
    SetFid(fid, request.mutable_fid());
    request.set_name(std::string(name));
    const auto got = Call<v1::GetXattrReply>(rpc::Opcode::kMdsGetXattr, request);
    if (!got.ok()) return Fail(got.status);
    return DecodeAcl(got.reply.value());
  }
  v1::Attr Attributes(const Fid& fid) {
    v1::GetAttrRequest request;
    SetFid(fid, request.mutable_fid());
    return Call<v1::GetAttrReply>(rpc::Opcode::kMdsGetAttr, request).reply.attr();
  }
  // Reading for the user of kUserCredential.
  static PosixAcl ForUser(uint16_t permissions) {
    return {{kAclUserObj, 6},
            {kAclUser, permissions, 1000},
            {kAclGroupObj, 0},
            {kAclMask, 7},
            {kAclOther, 0}};
  }
};

TEST_F(AclTest, ANamedUserGetsWhatTheListSays) {
  const Fid file = Create(kRootFid, "f");
  ASSERT_TRUE(Chmod(file, 0600).ok());
  const CallOptions user{.credential = kUserCredential};
  EXPECT_EQ(Open(file, 1, O_RDONLY, user).status, Errc::kAccess);
  ASSERT_EQ(Set(file, kAclAccessName, ForUser(kR)), Errc::kOk);
  EXPECT_TRUE(Open(file, 1, O_RDONLY, user).ok());
  EXPECT_EQ(Open(file, 2, O_RDWR, user).status, Errc::kAccess);
  EXPECT_EQ(Attributes(file).mode() & 0777, 0670u);
  EXPECT_TRUE(Attributes(file).has_access_acl());
  ASSERT_TRUE(Chmod(file, 0600).ok());
  EXPECT_EQ((*Get(file, kAclAccessName))[3], (AclEntry{kAclMask, 0})) << "chmod sets the mask";
  EXPECT_EQ(Open(file, 3, O_RDONLY, user).status, Errc::kAccess);
}

TEST_F(AclTest, OnlyTheOwnerSetsAndAPlainListIsNotKept) {
  const Fid file = Create(kRootFid, "f");
  const CallOptions user{.credential = kUserCredential};
  EXPECT_EQ(Set(file, kAclAccessName, ForUser(7), user), Errc::kPerm);
  EXPECT_EQ(Set(file, kAclDefaultName, ForUser(7)), Errc::kAccess) << "no directory";
  ASSERT_TRUE(Chown(file, 1000, 4000).ok());
  ASSERT_TRUE(Chmod(file, 02755).ok());
  ASSERT_EQ(Set(file, kAclAccessName, ForUser(7), user), Errc::kOk);
  EXPECT_EQ(Attributes(file).mode() & 07777, 0670u) << "not in the group: no set-group-ID";
  ASSERT_EQ(Set(file, kAclAccessName, Simple(6, 4, 4), user), Errc::kOk);
  EXPECT_EQ(Attributes(file).mode() & 07777, 0644u);
  EXPECT_FALSE(Attributes(file).has_access_acl());
  EXPECT_EQ(Get(file, kAclAccessName).error().code(), Errc::kNoData);
}

TEST_F(AclTest, NewObjectsInheritAndTheUmaskStaysAway) {
  const Fid directory = MakeDir(kRootFid, "d", 0777);
  ASSERT_EQ(Set(directory, kAclDefaultName, ForUser(6)), Errc::kOk);
  v1::CreateRequest create = CreateOf(directory, "f");
  create.set_mode(0666);
  create.set_umask(0077);
  const auto made = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, create);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made.reply.attr().mode() & 0777, 0660u);
  EXPECT_TRUE(made.reply.attr().has_access_acl());
  const Fid below = MakeDir(directory, "below", 0700);
  EXPECT_TRUE(Attributes(below).has_default_acl());
  EXPECT_EQ(*Get(below, kAclDefaultName), ForUser(6));
  create = CreateOf(kRootFid, "plain");
  create.set_mode(0666);
  create.set_umask(0027);
  const auto plain = Call<v1::CreateReply>(rpc::Opcode::kMdsCreate, create);
  EXPECT_EQ(plain.reply.attr().mode() & 0777, 0640u) << "no default list: the umask";
}

}  // namespace
}  // namespace sheen::mds
