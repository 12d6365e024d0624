// close: gives a handle back, with what its client knows of the file's size.
//
// While only one session has written since the size became unsafe, what it reports is right; with
// its last writing handle the size is safe again. When others wrote too, the last writer is asked
// to glimpse and report (kMdsReportSize). The last close of a file without a name destroys it.
// A handle that is not known is no error: a resend, or one lost with a server and not declared
// again.
#include <algorithm>

#include "layout/layout.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {
namespace {

// True when the inode changed.
Result<bool> TakeSize(const OpContext& context, const v1::CloseRequest& request, size_t writers,
                      mdt::Inode* inode, v1::CloseReply* reply) {
  if (!inode->IsRegular() || !inode->size_unsafe() || request.size_unknown()) return false;
  SHEEN_TRY_ASSIGN(const bool outdated, IsOutdated(*inode, request.layout_generation()));
  if (outdated) {
    reply->set_glimpse_wanted(writers == 0);
    reply->set_size_epoch(inode->size_epoch);
    return false;
  }
  const bool sole = context.IsSoleWriter(*inode);
  bool changed = false;
  if (sole && request.wrote()) {
    SHEEN_TRY(ApplyReport(context,
                          {.size = request.size(),
                           .blocks = request.blocks(),
                           .mtime_ns = request.mtime_ns(),
                           .ctime_ns = request.ctime_ns()},
                          inode));
    changed = true;
  }
  if (writers > 0) return changed;
  if (sole) {
    ClearUnsafe(inode);
    return true;
  }
  reply->set_glimpse_wanted(true);
  reply->set_size_epoch(inode->size_epoch);
  return changed;
}

Result<bool> TakePresent(const v1::CloseRequest& request, mdt::Inode* inode) {
  const int count = std::min(request.present_component_size(), request.present_stripe_size());
  if (count == 0 || !inode->IsRegular() || inode->layout.empty()) return false;
  SHEEN_TRY_ASSIGN(const bool outdated, IsOutdated(*inode, request.layout_generation()));
  if (outdated) return false;
  SHEEN_TRY_ASSIGN(layout::Layout layout, layout::Decode(inode->layout));
  bool changed = false;
  for (int i = 0; i < count; ++i) {
    for (layout::Component& component : layout.components) {
      const uint32_t stripe = request.present_stripe(i);
      if (component.id != request.present_component(i)) continue;
      if (stripe >= component.present.size() || component.present[stripe]) continue;
      component.present[stripe] = true;
      changed = true;
    }
  }
  if (changed) inode->layout = layout::Encode(layout);
  return changed;
}

// The file was opened under its attributes' lock, so this server knows of no handle.
Status TakeAccessTime(OpContext* context, const Fid& fid, const v1::CloseRequest& request,
                      v1::CloseReply* reply) {
  SHEEN_TRY_ASSIGN(std::optional<mdt::Inode> inode, mdt::FindInode(*context->txn, fid));
  const int64_t atime_ns = SaneTime(*context, request.atime_ns());
  if (!inode || inode->nlink == 0 || atime_ns <= inode->atime_ns) return {};
  inode->atime_ns = atime_ns;
  mdt::PutInode(context->txn, fid, *inode);
  if (!inode->IsRegular() || inode->size_unsafe()) return {};
  FillAttr(fid, *inode, false, reply->mutable_attr());
  context->GrantAfter(fid, lock::kAttrBits);
  return {};
}

}  // namespace

Status Close(OpContext* context, const v1::CloseRequest& request, v1::CloseReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  Core& core = *context->core;
  const uint64_t session = context->session_id();
  if (request.handle() == 0) return TakeAccessTime(context, fid, request, reply);
  const auto open = core.handles.Find(fid, session, request.handle());
  if (!open) return {};
  context->handle_change = {OpContext::HandleChange::Kind::kRemove, fid, *open};
  SHEEN_TRY_ASSIGN(std::optional<mdt::Inode> inode, mdt::FindInode(*context->txn, fid));
  if (!inode) return {};
  // As Lustre: of those that changed nothing only for who follows openings.
  if (open->write || IsLogged(*context, mdt::LogType::kOpen)) {
    LogChange(context, {.type = mdt::LogType::kClose, .flags = open->log_flags, .fid = fid});
  }

  const HandleTable::Others others = core.handles.OthersOf(fid, session, request.handle());
  if (inode->nlink == 0 && others.all == 0 && !core.recovery.HandlesUnknown(core.Now())) {
    mdt::RemoveOrphan(context->txn, fid);
    return DestroyInode(context, fid, *inode);
  }
  bool changed = false;
  if (open->write) {
    SHEEN_TRY_ASSIGN(changed, TakeSize(*context, request, others.writers, &*inode, reply));
    SHEEN_TRY_ASSIGN(const bool present, TakePresent(request, &*inode));
    changed |= present;
  }
  const int64_t atime_ns = SaneTime(*context, request.atime_ns());
  if (atime_ns > inode->atime_ns) {
    inode->atime_ns = atime_ns;
    LogChange(context, {.type = mdt::LogType::kAtime, .flags = 1, .fid = fid});
    changed = true;
  }
  if (changed) mdt::PutInode(context->txn, fid, *inode);
  if (changed && inode->nlink > 0 && inode->IsRegular() && !inode->size_unsafe()) {
    FillAttr(fid, *inode, false, reply->mutable_attr());
    context->GrantAfter(fid, lock::kAttrBits);
  }
  return {};
}

}  // namespace sheen::mds::ops
