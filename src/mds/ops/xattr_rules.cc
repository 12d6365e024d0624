// Who may see and change which extended attribute (xattr(7)):
//   user.      regular files and directories, by their mode bits; in a sticky directory its owner's
//   trusted.   the superuser only; for others they are not there
//   security.  everyone reads, the superuser changes
//   system.posix_acl_*  everyone reads; changes are acl_rows.h's
// Others are not kept here: lustre.* is made by the client.
#include <sys/stat.h>

#include "mds/acl_rows.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

// Only the prefix: xattr_resolve_name() in Linux.
bool Nameless(std::string_view name) {
  return name == "user." || name == "trusted." || name == "security.";
}

}  // namespace

Status CheckXattr(const OpContext& context, const mdt::Inode& inode, std::string_view name,
                  bool write) {
  const rpc::Credential& who = *context.credential;
  if (name.size() > mdt::kXattrNameBytesMax) return Fail(Errc::kRange);
  if (name.find('\0') != name.npos) return Fail(Errc::kInvalid, "not a valid attribute name");
  if (Nameless(name)) return Fail(Errc::kInvalid, "an attribute needs a name");
  if (name.starts_with("trusted.")) {
    if (IsSuperuser(who)) return {};
    return Fail(write ? Errc::kPerm : Errc::kNoData);
  }
  if (name.starts_with("security.")) {
    return !write || IsSuperuser(who) ? Status() : Fail(Errc::kPerm);
  }
  if (IsAclName(name) && !write) {
    return inode.IsSymlink() ? Fail(Errc::kNotSupported) : Status();
  }
  if (!name.starts_with("user.")) return Fail(Errc::kNotSupported);
  if (!inode.IsRegular() && !inode.IsDirectory()) {
    return Fail(write ? Errc::kPerm : Errc::kNoData);
  }
  const bool sticky = inode.IsDirectory() && (inode.mode & S_ISVTX) != 0;
  if (write && sticky && !IsOwner(inode, who)) return Fail(Errc::kPerm);
  return CheckAccess(inode, who, write ? kAccessWrite : kAccessRead);
}

}  // namespace sheen::mds::ops
