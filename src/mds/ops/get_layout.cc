// get_layout: a file's layout; a directory's own default, or with `effective` what a new file in it
// gets. With `lock` the answer comes with the lock on it, unless it is being changed: then it may
// be used at once, and not be kept; or unless somebody holds it (LockTable::Hold), which is said.
// A file's is read under its latch, so that no hold begins between the look at it and at the
// layout: what a hold has raised is never answered as free.
// Errors: kNoData (none), kInvalid (neither file nor directory).
#include "mds/file_layout.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status GetLayout(OpContext* context, const v1::GetLayoutRequest& request,
                 v1::GetLayoutReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  if (!request.effective()) SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(const mdt::Inode inode, context->Inode(fid));
  if (!inode.IsRegular() && !inode.IsDirectory()) {
    return Fail(Errc::kInvalid, "only files and directories have a layout");
  }
  if (inode.IsDirectory() && request.effective()) {
    SHEEN_TRY_ASSIGN(const Template found, TemplateFor(context, fid, inode));
    reply->set_layout(layout::Encode(found.layout));
    reply->set_inherited(found.inherited);
    return {};
  }
  if (inode.layout.empty()) return Fail(Errc::kNoData, "no layout is set");
  // What a power cut has taken of it nobody else has seen, and its replay takes the lock back like
  // any change: users of open files do not wait for clients that are to come back.
  context->reads_lasting = inode.IsRegular();
  reply->set_layout(inode.layout);
  reply->set_held(context->core->locks->IsHeld(fid));
  // Nobody changes it under the latch. Not for a file without one: no answer would carry the lock.
  if (request.lock()) context->GrantNow(fid, lock::kLayout);
  return {};
}

}  // namespace sheen::mds::ops
