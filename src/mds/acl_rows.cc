#include "mds/acl_rows.h"

#include <sys/stat.h>

#include "mds/permission.h"
#include "mds/posix_acl.h"

namespace sheen::mds {
namespace {

uint16_t FlagOf(std::string_view name) {
  return name == kAclAccessName ? mdt::kHasAccessAcl : mdt::kHasDefaultAcl;
}

Status CheckMayChange(const OpContext& context, const mdt::Inode& inode) {
  if (inode.IsSymlink()) return Fail(Errc::kNotSupported, "symbolic links have no ACL");
  return IsOwner(inode, *context.credential) ? Status() : Fail(Errc::kPerm);
}

Status PutRow(OpContext* context, const Fid& fid, std::string_view name, const PosixAcl& acl,
              mdt::Inode* inode) {
  std::string bytes = EncodeAcl(acl);
  SHEEN_TRY(mdt::PutXattr(context->txn, fid, inode, name, bytes));
  inode->flags |= FlagOf(name);
  if (name == kAclAccessName) inode->access_acl = std::move(bytes);
  return {};
}

Status DropRow(OpContext* context, const Fid& fid, std::string_view name, mdt::Inode* inode) {
  if ((inode->flags & FlagOf(name)) == 0) return {};
  SHEEN_TRY(mdt::RemoveXattr(context->txn, fid, inode, name));
  inode->flags &= static_cast<uint16_t>(~FlagOf(name));
  if (name == kAclAccessName) inode->access_acl.clear();
  return {};
}

Result<PosixAcl> ReadRow(const mdt::Txn& txn, const Fid& fid, std::string_view name) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, mdt::FindXattr(txn, fid, name));
  if (!bytes)
    return Fail(Errc::kCorrupt, fid.ToString() + " lacks the ACL that its inode tells of");
  return DecodeAcl(*bytes);
}

}  // namespace

bool IsAclName(std::string_view name) { return name == kAclAccessName || name == kAclDefaultName; }

Status LoadAcl(const mdt::Txn& txn, const Fid& fid, mdt::Inode* inode) {
  if ((inode->flags & mdt::kHasAccessAcl) == 0) return {};
  SHEEN_TRY_ASSIGN(const PosixAcl acl, ReadRow(txn, fid, kAclAccessName));
  inode->access_acl = EncodeAcl(acl);
  return {};
}

Status SetAcl(OpContext* context, const Fid& fid, std::string_view name, std::string_view value,
              mdt::Inode* inode) {
  SHEEN_TRY(CheckMayChange(*context, *inode));
  SHEEN_TRY_ASSIGN(const PosixAcl acl, DecodeAcl(value));
  if (acl.empty()) return DropRow(context, fid, name, inode);
  if (name == kAclDefaultName) {
    if (!inode->IsDirectory()) return Fail(Errc::kAccess, "only directories have a default ACL");
    return PutRow(context, fid, name, acl, inode);
  }
  const rpc::Credential& who = *context->credential;
  inode->mode = (inode->mode & ~uint32_t{0777}) | ModeOfAcl(acl);
  if (!IsSuperuser(who) && !InGroup(who, inode->gid)) inode->mode &= ~uint32_t{S_ISGID};
  return IsOnlyMode(acl) ? DropRow(context, fid, name, inode)
                         : PutRow(context, fid, name, acl, inode);
}

Result<bool> RemoveAcl(OpContext* context, const Fid& fid, std::string_view name,
                       mdt::Inode* inode) {
  SHEEN_TRY(CheckMayChange(*context, *inode));
  const bool there = (inode->flags & FlagOf(name)) != 0;
  SHEEN_TRY(DropRow(context, fid, name, inode));
  return there;
}

Status FollowMode(OpContext* context, const Fid& fid, mdt::Inode* inode) {
  if (inode->access_acl.empty()) return {};
  SHEEN_TRY_ASSIGN(PosixAcl acl, DecodeAcl(inode->access_acl));
  ChangeAclMode(inode->mode, &acl);
  return PutRow(context, fid, kAclAccessName, acl, inode);
}

Status InheritAcl(OpContext* context, const NewAcl& from, const Fid& fid, mdt::Inode* inode) {
  if (inode->IsSymlink()) return {};
  if ((from.directory->flags & mdt::kHasDefaultAcl) == 0) {
    inode->mode &= ~(from.umask & 0777);
    return {};
  }
  SHEEN_TRY_ASSIGN(PosixAcl acl, ReadRow(*context->txn, from.directory_fid, kAclDefaultName));
  if (inode->IsDirectory()) SHEEN_TRY(PutRow(context, fid, kAclDefaultName, acl, inode));
  inode->mode = RestrictAcl(inode->mode, &acl);
  return IsOnlyMode(acl) ? Status() : PutRow(context, fid, kAclAccessName, acl, inode);
}

}  // namespace sheen::mds
