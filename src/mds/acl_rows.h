// ACLs where they are kept: rows of the xattrs table, with a flag in the inode that says that there
// is one. An operation sees an inode with its access list in Inode::access_acl (OpContext::Inode
// puts it there), which `permission` obeys.
//
// As OpContext: the caller holds the latch of what it changes, and writes the inode back.
#pragma once

#include <string_view>

#include "mds/op_context.h"

namespace sheen::mds {

bool IsAclName(std::string_view name);

// Reads the access list of `inode`, if it has one.
Status LoadAcl(const mdt::Txn& txn, const Fid& fid, mdt::Inode* inode);

// setxattr of an ACL: the mode follows an access list, and one that says no more than the mode is
// not kept; set-group-ID goes when the caller is not in the group. No entries: as RemoveAcl.
// Errors: kNotSupported (a symbolic link), kPerm (not the owner), kAccess (a default list of what
// is no directory), kInvalid (malformed), kNoSpace.
Status SetAcl(OpContext* context, const Fid& fid, std::string_view name, std::string_view value,
              mdt::Inode* inode);
// False: there was none, which is no error. Errors: kNotSupported, kPerm.
Result<bool> RemoveAcl(OpContext* context, const Fid& fid, std::string_view name,
                       mdt::Inode* inode);
// inode->mode has changed.
Status FollowMode(OpContext* context, const Fid& fid, mdt::Inode* inode);
// A new inode, with the mode that its maker asked for: by the directory's default list, without one
// by the umask.
struct NewAcl {
  Fid directory_fid;
  const mdt::Inode* directory = nullptr;
  uint32_t umask = 0;
};
Status InheritAcl(OpContext* context, const NewAcl& from, const Fid& fid, mdt::Inode* inode);

}  // namespace sheen::mds
