// layout_hold: one handle of a session takes the layout of its file for itself, so that it can be
// replaced (LockTable::Hold). The generation is raised before others can learn of the end of the
// hold: objects may be fenced at it, whatever becomes of the client or of this server.
//
// Survives power loss before it is answered; the hold itself does not. Errors: kBadHandle, kPerm,
// kBusy (somebody else has it), kNoData (no objects), kNotSupported (its bytes are in S3), kAgain
// (to be renewed, and it has ended).
#include <algorithm>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {

Status CheckMayReplaceData(const OpContext& context, const mdt::Inode& inode) {
  if (IsOwner(inode, *context.credential)) return {};
  return CheckAccess(inode, *context.credential, kAccessWrite);
}

Result<layout::Layout> ReplaceableLayout(const Fid& fid, const mdt::Inode& inode) {
  if (!inode.IsRegular()) return Fail(Errc::kInvalid, fid.ToString() + " is not a regular file");
  if (inode.layout.empty()) return Fail(Errc::kNoData, fid.ToString() + " has no layout yet");
  SHEEN_TRY_ASSIGN(layout::Layout layout, layout::Decode(inode.layout));
  const auto has_source = [](const layout::Component& component) {
    return component.source.has_value();
  };
  if (std::ranges::any_of(layout.components, has_source)) {
    return Fail(Errc::kNotSupported, fid.ToString() + " has its bytes in S3; copy it instead");
  }
  return layout;
}

Status LayoutHold(OpContext* context, const v1::LayoutHoldRequest& request,
                  v1::LayoutHoldReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  const HoldOwner owner{context->session_id(), request.handle()};
  if (request.release()) {
    context->core->locks->EndHold(fid, owner);
    return {};
  }
  if (request.renew()) {
    if (context->core->locks->RenewHold(fid, owner, context->core->Now())) return {};
    return Fail(Errc::kAgain, "the hold on " + fid.ToString() + " has ended");
  }
  if (!context->core->handles.Find(fid, owner.session, owner.handle)) {
    return Fail(Errc::kBadHandle, fid.ToString() + " is not open by this handle");
  }
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  SHEEN_TRY(CheckMayReplaceData(*context, inode));
  SHEEN_TRY_ASSIGN(layout::Layout layout, ReplaceableLayout(fid, inode));
  const HoldOwner holder = context->core->locks->HolderOf(fid);
  if (!holder.empty() && holder != owner) {
    return Fail(Errc::kBusy, "another migrate or swap_layouts of the file is under way");
  }
  SHEEN_TRY(RaiseGeneration(&layout));
  inode.layout = layout::Encode(layout);
  // Attributes too: an append that relies on them comes to its end first.
  mdt::PutInode(context->txn, fid, inode, lock::kAttrBits | lock::kLayout);
  reply->set_layout(inode.layout);
  context->is_holder = true;
  context->hold = std::pair(fid, owner);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
