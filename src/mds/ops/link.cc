// link: one more name for a file, or the first of one that was made without (O_TMPFILE).
//
// Errors: kExists, kPerm (of a directory), kNoEntry (the file has no name left), kTooManyLinks,
// kNameTooLong, kNoSpace.
#include <algorithm>

#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {

Status Link(OpContext* context, const v1::LinkRequest& request, v1::LinkReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(CheckName(request.name()));
  SHEEN_TRY(context->Latch(std::min(parent, fid)));
  SHEEN_TRY(context->Latch(std::max(parent, fid)));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  if (inode.IsDirectory()) return Fail(Errc::kPerm, "a directory has one name only");
  SHEEN_TRY_ASSIGN(const mdt::Found place, context->Find(parent, request.name()));
  if (place.entry) return Fail(Errc::kExists);
  const bool first = inode.nlink == 0 && (inode.flags & mdt::kLinkable) != 0;
  if (directory.nlink == 0 || (inode.nlink == 0 && !first)) return Fail(Errc::kNoEntry);
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessWrite));
  if (inode.nlink >= mdt::kLinkCountMax) return Fail(Errc::kTooManyLinks);
  SHEEN_TRY(context->CheckRoom());

  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {&directory, &inode});
  SHEEN_TRY_ASSIGN(const uint64_t cookie, AddName(context, &directory, place,
                                                  {.parent = parent,
                                                   .name = request.name(),
                                                   .fid = fid,
                                                   .type = inode.DirentType(),
                                                   .decided_cookie = request.decided_cookie()}));
  ++inode.nlink;
  if (first) {
    inode.flags &= static_cast<uint16_t>(~mdt::kLinkable);
    mdt::RemoveOrphan(context->txn, fid);
  }
  inode.ctime_ns = std::max(inode.ctime_ns, time_ns);
  mdt::PutInode(context->txn, fid, inode);
  Touch(&directory, time_ns);
  mdt::PutInode(context->txn, parent, directory);
  context->txn->NoteParent(parent);
  if (first) {
    LogMade(context, parent, request.name(), fid, inode);
  } else {
    LogChange(context, {.type = mdt::LogType::kHardLink,
                        .fid = fid,
                        .parent = parent,
                        .name = request.name()});
  }
  FillAttr(fid, inode, false, reply->mutable_attr());
  FillAttr(parent, directory, false, reply->mutable_parent_attr());
  context->GrantAfter(parent, lock::kAttrBits);
  if (!inode.size_unsafe()) context->GrantAfter(fid, lock::kLookup | lock::kAttrBits);
  reply->set_cookie(cookie);
  return {};
}

}  // namespace sheen::mds::ops
