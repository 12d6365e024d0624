#include "mds/permission.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "base/open_flags.h"
#include "mds/posix_acl.h"

namespace sheen::mds {
namespace {


}  // namespace

bool IsSuperuser(const rpc::Credential& credential) { return credential.uid == 0; }

bool InGroup(const rpc::Credential& credential, uint32_t gid) {
  return credential.gid == gid ||
         std::ranges::find(credential.groups, gid) != credential.groups.end();
}

bool IsOwner(const mdt::Inode& inode, const rpc::Credential& credential) {
  return IsSuperuser(credential) || credential.uid == inode.uid;
}

bool MayAccess(const mdt::Inode& inode, const rpc::Credential& credential, uint32_t access) {
  if (IsSuperuser(credential)) {
    const bool execute = (access & kAccessExecute) != 0;
    return !execute || inode.IsDirectory() || (inode.mode & 0111) != 0;
  }
  uint32_t granted = inode.mode & 07;
  if (credential.uid == inode.uid) {
    granted = (inode.mode >> 6) & 07;
  } else if (!inode.access_acl.empty() && (inode.mode & 070) != 0) {
    // As acl_permission_check() in Linux: with an empty mask the mode alone decides.
    const Result<PosixAcl> acl = DecodeAcl(inode.access_acl);
    return acl && AclGrants(*acl, inode.uid, inode.gid, credential, access);
  } else if (InGroup(credential, inode.gid)) {
    granted = (inode.mode >> 3) & 07;
  }
  return (access & ~granted) == 0;
}

Status CheckAccess(const mdt::Inode& inode, const rpc::Credential& credential, uint32_t access) {
  if (MayAccess(inode, credential, access)) return {};
  return Fail(Errc::kAccess);
}

Status CheckRemove(const mdt::Inode& directory, const mdt::Inode& child,
                   const rpc::Credential& credential) {
  SHEEN_TRY(CheckAccess(directory, credential, kAccessWrite | kAccessExecute));
  const bool sticky = (directory.mode & S_ISVTX) != 0;
  if (sticky && !IsOwner(directory, credential) && !IsOwner(child, credential)) {
    return Fail(Errc::kPerm);
  }
  return {};
}

uint32_t AccessOfOpenFlags(uint32_t open_flags) {
  if ((open_flags & kOpenForExecution) != 0) return kAccessExecute;
  uint32_t access = 0;
  const uint32_t mode = open_flags & O_ACCMODE;
  if (mode == O_RDONLY || mode == O_RDWR) access |= kAccessRead;
  if (mode == O_WRONLY || mode == O_RDWR || (open_flags & O_TRUNC) != 0) access |= kAccessWrite;
  return access;
}

uint32_t WithoutSetIds(uint32_t mode) {
  mode &= ~static_cast<uint32_t>(S_ISUID);
  if ((mode & S_IXGRP) != 0) mode &= ~static_cast<uint32_t>(S_ISGID);
  return mode;
}

}  // namespace sheen::mds
