// set_layout: lfs setstripe. A directory gets or loses its default; a file that has no objects yet
// gets its layout, its first component with OSTs. Survives power loss before it is answered.
//
// Errors: kExists (the file has objects), kPerm (not the directory's owner), kNoSpace, kInvalid
// (the template, with the sentence for people; or neither file nor directory).
#include <algorithm>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

Status SetFile(OpContext* context, const v1::SetLayoutRequest& request, const Fid& fid,
               mdt::Inode* inode) {
  if (!context->core->handles.HasOpen(fid, context->session_id(), true)) {
    SHEEN_TRY(CheckAccess(*inode, *context->credential, kAccessWrite));
  }
  uint32_t generation = 0;
  if (!inode->layout.empty()) {
    SHEEN_TRY_ASSIGN(const layout::Layout before, layout::Decode(inode->layout));
    const bool objects = std::ranges::any_of(
        before.components, [](const auto& component) { return component.instantiated(); });
    if (objects) return Fail(Errc::kExists, "stripe already set");
    generation = before.generation;
  }
  layout::Layout layout;
  if (context->replay && !request.decided_layout().empty()) {
    SHEEN_TRY_ASSIGN(layout, DecidedLayout(*context, fid, request.decided_layout()));
  } else {
    SHEEN_TRY_ASSIGN(layout, ParseTemplate(request.layout_template()));
    layout.generation = generation;
    SHEEN_TRY(InstantiateRange(context, fid, &layout, 0, 1));
  }
  inode->layout = layout::Encode(layout);
  return {};
}

Status SetDirectory(OpContext* context, const v1::SetLayoutRequest& request, mdt::Inode* inode) {
  if (!IsOwner(*inode, *context->credential)) return Fail(Errc::kPerm);
  if (request.layout_template().empty()) {
    inode->layout.clear();
    return {};
  }
  SHEEN_TRY_ASSIGN(const layout::Layout layout, ParseTemplate(request.layout_template()));
  inode->layout = layout::Encode(layout);
  return {};
}

}  // namespace

Status SetLayout(OpContext* context, const v1::SetLayoutRequest& request,
                 v1::SetLayoutReply* reply) {
  SHEEN_TRY_ASSIGN(const Fid fid, ValidFid(request.fid()));
  SHEEN_TRY(context->Latch(fid));
  SHEEN_TRY_ASSIGN(mdt::Inode inode, context->Inode(fid));
  const size_t layout_bytes = inode.layout.size();
  if (inode.IsDirectory()) {
    SHEEN_TRY(SetDirectory(context, request, &inode));
  } else if (inode.IsRegular()) {
    SHEEN_TRY(SetFile(context, request, fid, &inode));
  } else {
    return Fail(Errc::kInvalid, "only files and directories have a layout");
  }
  if (inode.layout.size() > layout_bytes) SHEEN_TRY(context->CheckRoom());
  inode.ctime_ns = context->TimeFor(0, {&inode});
  mdt::PutInode(context->txn, fid, inode);
  LogChange(context, {.type = mdt::LogType::kLayout, .fid = fid});
  reply->set_layout(inode.layout);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
