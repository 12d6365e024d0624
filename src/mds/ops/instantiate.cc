// instantiate: OSTs for the layout components that a write or truncate is about to reach. A file
// made without a layout (mknod) gets its directory's first.
//
// Survives power loss before it is answered, also when another request did the work: objects are
// named by what is decided here. Errors: kNoSpace (with the OSTs' state), kInvalid (not a regular
// file), kFileTooBig (beyond the layout's end).
#include <algorithm>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Result<layout::Layout> CurrentLayout(OpContext* context, const Fid& fid, const mdt::Inode& inode) {
  if (!inode.layout.empty()) return layout::Decode(inode.layout);
  SHEEN_TRY_ASSIGN(const Template found, TemplateForFile(context, fid));
  return NewLayout(found.layout, found);
}

// A replay puts in what was decided then, unless the file's own components say otherwise by now.
Result<bool> TakeDecided(const OpContext& context, const v1::InstantiateRequest& request,
                         const Fid& fid, layout::Layout* layout) {
  if (!context.replay || request.decided_layout().empty()) return false;
  SHEEN_TRY_ASSIGN(layout::Layout decided,
                   DecidedLayout(context, fid, request.decided_layout(), *layout));
  bool fits = layout->empty() || decided.components.size() == layout->components.size();
  for (size_t i = 0; fits && i < layout->components.size(); ++i) {
    const layout::Component& own = layout->components[i];
    fits = !own.instantiated() || own.birth == decided.components[i].birth;
  }
  if (!fits || decided.generation <= layout->generation) return false;
  *layout = std::move(decided);
  return true;
}

}  // namespace

Status Instantiate(OpContext* context, const v1::InstantiateRequest& request,
                   v1::InstantiateReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  if (!inode.IsRegular()) return Fail(Errc::kInvalid, "not a regular file");
  if (!context->core->handles.HasOpen(fid, context->session_id(), true)) {
    SHEEN_TRY(CheckAccess(inode, *context->credential, kAccessWrite));
  }
  SHEEN_TRY_ASSIGN(layout::Layout layout, CurrentLayout(context, fid, inode));
  if (request.offset() >= layout::LimitOf(layout)) return Fail(Errc::kFileTooBig);

  SHEEN_TRY_ASSIGN(bool changed, TakeDecided(*context, request, fid, &layout));
  if (!changed) {
    SHEEN_TRY_ASSIGN(changed, InstantiateRange(context, fid, &layout, request.offset(),
                                               std::max<uint64_t>(request.length(), 1)));
  }
  reply->set_layout(layout::Encode(layout));
  context->GrantAfter(fid, lock::kLayout);
  if (changed) {
    inode.layout = reply->layout();
    mdt::PutInode(context->txn, fid, inode, lock::kAttrBits | lock::kLayout);
    LogChange(context, {.type = mdt::LogType::kLayout, .fid = fid});
    context->durable = true;
    return {};
  }
  uint64_t newest = 0;
  for (const layout::Component& component : layout.components) {
    newest = std::max(newest, component.birth);
  }
  context->wait_committed = std::min(newest, context->mdt().LastWritten());
  // As one that changes something: what is answered will be written by.
  context->layout_for_io = fid;
  return {};
}

}  // namespace sheen::mds::ops
