// report_size: what a client found at the OSTs after the last writer had closed. Taken only when
// nobody can be writing: no writing handle, no open for writing since the glimpse (size_epoch), and
// no client that may still declare one after a restart.
#include "layout/layout.h"
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Result<bool> IsOutdated(const mdt::Inode& inode, uint32_t generation) {
  if (generation == 0 || inode.layout.empty()) return false;
  SHEEN_TRY_ASSIGN(const layout::Layout layout, layout::Decode(inode.layout));
  return generation < layout.generation;
}

Status ReportSize(OpContext* context, const v1::ReportSizeRequest& request,
                  v1::ReportSizeReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  Core& core = *context->core;
  const bool writers = core.handles.OthersOf(fid, 0, 0).writers > 0;
  if (!inode.IsRegular() || !inode.size_unsafe() || writers ||
      inode.size_epoch != request.size_epoch() || core.recovery.Active(core.Now())) {
    return {};
  }
  SHEEN_TRY_ASSIGN(const bool outdated, IsOutdated(inode, request.layout_generation()));
  if (outdated) return {};
  SHEEN_TRY(ApplyReport(*context,
                        {.size = request.size(),
                         .blocks = request.blocks(),
                         .mtime_ns = request.mtime_ns(),
                         .ctime_ns = request.ctime_ns()},
                        &inode));
  ClearUnsafe(&inode);
  mdt::PutInode(context->txn, fid, inode);
  reply->set_accepted(true);
  return {};
}

}  // namespace sheen::mds::ops
