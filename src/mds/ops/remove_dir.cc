// remove_dir: takes an empty directory away.
//
// Errors: kNoEntry, kNotDirectory, kNotEmpty, kNameTooLong.
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {

Status RemoveDir(OpContext* context, const v1::RemoveDirRequest& request,
                 v1::RemoveDirReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid parent, ValidFid(request.parent()));
  SHEEN_TRY(CheckName(request.name()));
  SHEEN_TRY(context->Latch(parent));
  SHEEN_TRY_ASSIGN(mdt::Inode directory, context->Directory(parent));
  SHEEN_TRY(CheckAccess(directory, *context->credential, kAccessExecute));
  SHEEN_TRY_ASSIGN(const mdt::Found found, context->Find(parent, request.name()));
  if (!found.entry) return Fail(Errc::kNoEntry);
  const Fid fid = found.entry->fid;
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  SHEEN_TRY(CheckRemove(directory, inode, *context->credential));
  if (!inode.IsDirectory()) return Fail(Errc::kNotDirectory);
  context->txn->NoteReadChildren(fid);
  if (inode.entry_count > 0) return Fail(Errc::kNotEmpty);

  const int64_t time_ns = context->TimeFor(request.decided_time_ns(), {&directory, &inode});
  SHEEN_TRY(mdt::RemoveEntry(context->txn, parent, &directory, found.cookie));
  mdt::RemoveLink(context->txn, fid, parent, found.cookie);
  --directory.nlink;
  Touch(&directory, time_ns);
  mdt::PutInode(context->txn, parent, directory);
  context->txn->NoteParent(parent);
  SHEEN_TRY(DropName(context, fid, &inode, time_ns));
  LogChange(context, {.type = mdt::LogType::kRemoveDir,
                      .flags = LostNameFlags(inode),
                      .fid = fid,
                      .parent = parent,
                      .name = request.name()});
  FillAttr(parent, directory, false, reply->mutable_parent_attr());
  context->GrantAfter(parent, lock::kAttrBits);
  SetFid(fid, reply->mutable_fid());
  reply->set_time_ns(time_ns);
  return {};
}

}  // namespace sheen::mds::ops
