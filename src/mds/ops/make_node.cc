// make_node: mkdir, symlink, mknod. A directory takes its parent's default layout and default ACL
// with it (the root's layout applies by itself to all below that have none).
//
// Errors: kExists, kTooManyLinks, kNameTooLong, kNoSpace; kPerm (a device by anyone but the
// superuser).
#include <sys/stat.h>

#include "mds/acl_rows.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Status CheckType(const OpContext& context, const v1::MakeNodeRequest& request) {
  switch (request.mode() & S_IFMT) {
    case S_IFDIR:
    case S_IFIFO:
    case S_IFSOCK:
    case S_IFREG:
      return {};
    case S_IFLNK: {
      const std::string& target = request.symlink_target();
      if (target.empty() || target.find('\0') != target.npos) {
        return Fail(Errc::kNoEntry, "a symbolic link needs a target");
      }
      if (target.size() > mdt::kSymlinkBytesMax) return Fail(Errc::kNameTooLong);
      return {};
    }
    case S_IFCHR:
    case S_IFBLK:
      // An overlayfs whiteout (character device 0,0) may be made by anyone, as in Linux.
      if (IsSuperuser(*context.credential) || request.rdev() == 0) return {};
      return Fail(Errc::kPerm);
    default:
      return Fail(Errc::kInvalid, "not a file type");
  }
}

}  // namespace

Status MakeNode(OpContext* context, const v1::MakeNodeRequest& request, v1::MakeNodeReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY(CheckName(request.name()));
  const Fid fid = FidOf(request.fid());
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  SHEEN_TRY_ASSIGN(const mdt::Found place, context->Find(parent, request.name()));
  if (place.entry) return Fail(Errc::kExists);
  if (directory.nlink == 0) return Fail(Errc::kNoEntry, "the directory was removed");
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessWrite));
  SHEEN_TRY(CheckType(*context, request));
  SHEEN_TRY(context->CheckRoom());
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY(CheckNewFid(*context, fid));

  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {&directory});
  const uint32_t mode = request.mode() & (S_IFMT | 07777);
  mdt::Inode inode = MakeInode(*context, directory, {.mode = mode, .time_ns = time_ns});
  SHEEN_TRY(InheritAcl(context,
                       {.directory_fid = parent, .directory = &directory, .umask = request.umask()},
                       fid, &inode));
  if (inode.IsDirectory()) {
    if (directory.nlink >= mdt::kLinkCountMax) return Fail(Errc::kTooManyLinks);
    ++directory.nlink;
    inode.parent = parent;
    if (parent != kRootFid) inode.layout = directory.layout;
  } else if (inode.IsSymlink()) {
    inode.mode = S_IFLNK | 0777;
    inode.target = request.symlink_target();
    inode.size = inode.target.size();
  } else if (!inode.IsRegular()) {
    inode.rdev = request.rdev();
  }
  SHEEN_TRY_ASSIGN(const uint64_t cookie, AddName(context, &directory, place,
                                                  {.parent = parent,
                                                   .name = request.name(),
                                                   .fid = fid,
                                                   .type = inode.DirentType(),
                                                   .decided_cookie = request.decided_cookie()}));
  mdt::PutInode(context->txn, fid, inode);
  Touch(&directory, time_ns);
  mdt::PutInode(context->txn, parent, directory);
  context->txn->NoteParent(parent);
  LogMade(context, parent, request.name(), fid, inode);
  FillAttr(fid, inode, false, reply->mutable_attr());
  FillAttr(parent, directory, false, reply->mutable_parent_attr());
  context->GrantAfter(parent, lock::kAttrBits);
  context->GrantAfter(fid, lock::kLookup | lock::kAttrBits);
  reply->set_cookie(cookie);
  return {};
}

}  // namespace sheen::mds::ops
