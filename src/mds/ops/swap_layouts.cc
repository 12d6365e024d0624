// swap_layouts: two files exchange their layouts, and with them their objects. After a migrate
// (`same_bytes`) the first keeps size and times but for ctime; else the bytes change places, and so
// do the sizes.
//
// Each side is held by the handle that is named, so that nothing was written since sizes were seen;
// but for a copy, which nobody else can open. Both get a generation above either's: that is what
// their objects are fenced at. Survives power loss before it is answered. Errors: kBadHandle,
// kAgain (a hold was lost with a restart of the server), kPerm (other owners).
#include <algorithm>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

struct Side {
  Fid fid;
  HoldOwner owner;
  mdt::Inode inode;
  layout::Layout layout;
  const v1::SwapLayoutsRequest::Side* wire = nullptr;
};

Result<Side> SideOf(OpContext* context, const v1::SwapLayoutsRequest::Side& wire, bool is_copy) {
  Side side;
  SHEEN_TRY_ASSIGN(side.fid, ValidFid(wire.fid()));
  SHEEN_TRY(context->Latch(side.fid));
  side.owner = {context->session_id(), wire.handle()};
  side.wire = &wire;
  const Core& core = *context->core;
  if (!core.handles.Find(side.fid, side.owner.session, side.owner.handle)) {
    return Fail(Errc::kBadHandle, side.fid.ToString() + " is not open by this handle");
  }
  SHEEN_TRY_ASSIGN(side.inode, context->Inode(side.fid));
  SHEEN_TRY(CheckMayReplaceData(*context, side.inode));
  SHEEN_TRY_ASSIGN(side.layout, ReplaceableLayout(side.fid, side.inode));
  // One that only its maker has open, and nobody else can.
  const HandleTable::Others others =
      core.handles.OthersOf(side.fid, side.owner.session, side.owner.handle);
  if (is_copy && side.inode.nlink == 0 && others.all == 0) return side;
  if (core.locks->HolderOf(side.fid) != side.owner) {
    return Fail(Errc::kAgain, "the hold on " + side.fid.ToString() +
                                  " ended before the layouts were exchanged; nothing was changed");
  }
  // One hold may follow another of the same handle: in between, others wrote.
  if (wire.generation() != 0 && wire.generation() != side.layout.generation) {
    return Fail(Errc::kAgain, "the layout of " + side.fid.ToString() +
                                  " was held anew since its objects were looked at; nothing was "
                                  "changed");
  }
  return side;
}

// `side` has the bytes that were the other's.
Status TakeBytes(OpContext* context, const v1::SwapLayoutsRequest::Side& from, Side* side) {
  side->inode.size = std::min<uint64_t>(from.size(), layout::kFileBytesMax);
  side->inode.blocks = SaneBlocks(from.blocks());
  const int64_t seen_ns = SaneTime(*context, std::max(from.ctime_ns(), side->wire->ctime_ns()));
  const int64_t time_ns = std::max(context->TimeFor(0, {&side->inode}), seen_ns + 1);
  side->inode.ctime_ns = time_ns;
  SetMtime(time_ns, false, &side->inode);
  static_cast<void>(MarkLocallyChanged(&side->inode));
  // As a write of these bytes would.
  if (!IsSuperuser(*context->credential)) side->inode.mode = WithoutSetIds(side->inode.mode);
  SHEEN_TRY_ASSIGN(const bool had_capability, mdt::RemoveXattr(context->txn, side->fid,
                                                               &side->inode,
                                                               "security.capability"));
  static_cast<void>(had_capability);
  return {};
}

void Finish(OpContext* context, const Side& side, v1::Attr* reply) {
  mdt::PutInode(context->txn, side.fid, side.inode, lock::kAttrBits | lock::kLayout);
  FillAttr(side.fid, side.inode, true, reply);
  context->end_holds.emplace_back(side.fid, side.owner);
}

}  // namespace

Status SwapLayouts(OpContext* context, const v1::SwapLayoutsRequest& request,
                   v1::SwapLayoutsReply* reply) {
  SHEEN_TRY_ASSIGN(Side first, SideOf(context, request.first(), false));
  SHEEN_TRY_ASSIGN(Side second, SideOf(context, request.second(), request.same_bytes()));
  if (first.fid == second.fid) return Fail(Errc::kInvalid, "a file cannot be swapped with itself");
  const bool same_owner = first.inode.uid == second.inode.uid &&
                          first.inode.gid == second.inode.gid &&
                          first.inode.project_id == second.inode.project_id;
  if (!same_owner) {
    return Fail(Errc::kPerm, "the files have different owners: quota would be counted wrong");
  }
  const bool first_is_newer = first.layout.generation > second.layout.generation;
  layout::Layout newest = first_is_newer ? first.layout : second.layout;
  SHEEN_TRY(RaiseGeneration(&newest));
  const uint32_t generation = newest.generation;
  std::swap(first.layout, second.layout);
  for (Side* side : {&first, &second}) {
    side->layout.generation = generation;
    side->inode.layout = layout::Encode(side->layout);
  }
  if (request.same_bytes()) {
    // Later than the objects': what the inode says of mtime counts.
    const int64_t seen_ns = SaneTime(*context, request.second().ctime_ns());
    first.inode.ctime_ns = std::max(context->TimeFor(0, {&first.inode}), seen_ns + 1);
    SetMtime(first.inode.mtime_ns, true, &first.inode);
    first.inode.blocks = SaneBlocks(request.second().blocks());
  } else {
    SHEEN_TRY(TakeBytes(context, request.second(), &first));
    SHEEN_TRY(TakeBytes(context, request.first(), &second));
  }
  Finish(context, first, reply->mutable_first());
  Finish(context, second, reply->mutable_second());
  LogChange(context, {.type = mdt::LogType::kLayout, .fid = first.fid});
  if (second.inode.nlink > 0) {
    LogChange(context, {.type = mdt::LogType::kLayout, .fid = second.fid});
  }
  context->is_holder = true;
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
