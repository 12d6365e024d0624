// set_layout: lfs setstripe. A directory gets or loses its default; a file that has no objects yet
// gets its layout, its first component with OSTs. With `edit` a file with components gets further
// ones, loses some at its end with the bytes in them, or has flags of one set. Survives power loss
// before it is answered.
//
// Errors: kExists (the file has objects), kPerm (not the directory's owner), kNoSpace, kInvalid
// (the template, with the sentence for people; or neither file nor directory).
#include <algorithm>
#include <iterator>

#include "mds/file_layout.h"
#include "mds/ops/ops.h"
#include "mds/permission.h"

namespace sheen::mds::ops {
namespace {

// The template's components from where the last one ends.
Status AddComponents(OpContext* context, const v1::SetLayoutRequest& request, const Fid& fid,
                     layout::Layout* layout) {
  SHEEN_TRY_ASSIGN(const layout::Layout wanted, ParseTemplate(*context, request.layout_template()));
  SHEEN_TRY_ASSIGN(const Template found, TemplateForFile(context, fid));
  layout::Layout added = layout::TemplateOf(wanted);
  uint32_t id = 0;
  for (const layout::Component& component : layout->components) id = std::max(id, component.id);
  uint64_t start = layout->components.back().end;
  for (layout::Component& component : added.components) {
    component.id = ++id;
    component.start = start;
    start = component.end;
  }
  GivePools(found, &added);
  std::ranges::move(added.components, std::back_inserter(layout->components));
  return layout::Validate(*layout);
}

// `removed` gets those that had objects.
Status DeleteComponents(const v1::SetLayoutRequest& request, layout::Layout* layout,
                        layout::Layout* removed) {
  const auto goes = [&request](const layout::Component& component) {
    if (request.component_id() == 0) return !component.instantiated();
    return component.id == request.component_id();
  };
  auto& components = layout->components;
  if (std::ranges::none_of(components, goes)) {
    return Fail(Errc::kInvalid, "no such component");
  }
  while (!components.empty() && goes(components.back())) {
    removed->components.push_back(std::move(components.back()));
    components.pop_back();
  }
  if (std::ranges::any_of(components, goes)) {
    return Fail(Errc::kInvalid, "components are deleted from the end only");
  }
  if (components.empty()) {
    return Fail(Errc::kInvalid, "the first component cannot be deleted; migrate the file instead");
  }
  return {};
}

// An MDS that does not know it sees a layout for a file that has one, which it refuses.
bool EditsFlags(const v1::SetLayoutRequest& request) {
  return request.edit() == v1::EDIT_NONE && request.component_id() != 0;
}

Status SetFlags(const v1::SetLayoutRequest& request, layout::Layout* layout) {
  if (((request.set_flags() | request.clear_flags()) & ~layout::kComponentFlagsKnown) != 0) {
    return Fail(Errc::kNotSupported, "component flags that are not known here");
  }
  const auto found = std::ranges::find(layout->components, request.component_id(),
                                       &layout::Component::id);
  if (found == layout->components.end()) return Fail(Errc::kInvalid, "no such component");
  found->flags = (found->flags | request.set_flags()) & ~request.clear_flags();
  return {};
}

Status EditFile(OpContext* context, const v1::SetLayoutRequest& request, const Fid& fid,
                mdt::Inode* inode) {
  // Bytes may go: that others of the session have it open for writing says nothing of the caller.
  SHEEN_TRY(CheckAccess(*inode, *context->credential, kAccessWrite));
  SHEEN_TRY_ASSIGN(layout::Layout layout, ReplaceableLayout(fid, *inode));
  if (!layout.composite) return Fail(Errc::kInvalid, "the file has no components");
  layout::Layout removed;
  if (request.edit() == v1::EDIT_ADD) {
    SHEEN_TRY(AddComponents(context, request, fid, &layout));
  } else if (request.edit() == v1::EDIT_DELETE) {
    SHEEN_TRY(DeleteComponents(request, &layout, &removed));
  } else if (EditsFlags(request)) {
    SHEEN_TRY(SetFlags(request, &layout));
  } else {
    return Fail(Errc::kNotSupported, "this edit of a layout is not known here");
  }
  SHEEN_TRY(RaiseGeneration(&layout));
  inode->layout = layout::Encode(layout);
  // The bytes beyond are gone. An unsafe size is asked of the objects that are left.
  inode->size = std::min(inode->size, layout::LimitOf(layout));
  mdt::AddOutbox(context->txn, removed, {.kind = mdt::OutboxRow::Kind::kDestroy});
  context->outbox = true;
  if (!EditsFlags(request)) static_cast<void>(MarkLocallyChanged(inode));
  return {};
}

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
    SHEEN_TRY_ASSIGN(layout, DecidedLayout(*context, fid, request.decided_layout(), {}));
  } else {
    SHEEN_TRY_ASSIGN(const layout::Layout wanted,
                     ParseTemplate(*context, request.layout_template()));
    SHEEN_TRY_ASSIGN(const Template found, TemplateForFile(context, fid));
    layout = NewLayout(wanted, found);
    layout.generation = generation;
    SHEEN_TRY(InstantiateRange(context, fid, &layout, 0, 1));
  }
  inode->layout = layout::Encode(layout);
  return {};
}

Status SetDirectory(OpContext* context, const v1::SetLayoutRequest& request, const Fid& fid,
                    mdt::Inode* inode) {
  if (!IsOwner(*inode, *context->credential)) return Fail(Errc::kPerm);
  context->root_template_changed = fid == kRootFid;
  if (request.layout_template().empty()) {
    inode->layout.clear();
    return {};
  }
  SHEEN_TRY_ASSIGN(const layout::Layout layout,
                   ParseTemplate(*context, request.layout_template()));
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
  if (request.edit() != v1::EDIT_NONE || EditsFlags(request)) {
    if (!inode.IsRegular()) return Fail(Errc::kInvalid, "only files have components to be edited");
    SHEEN_TRY(EditFile(context, request, fid, &inode));
  } else if (inode.IsDirectory()) {
    SHEEN_TRY(SetDirectory(context, request, fid, &inode));
  } else if (inode.IsRegular()) {
    SHEEN_TRY(SetFile(context, request, fid, &inode));
  } else {
    return Fail(Errc::kInvalid, "only files and directories have a layout");
  }
  if (inode.layout.size() > layout_bytes) SHEEN_TRY(context->CheckRoom());
  inode.ctime_ns = context->TimeFor(0, {&inode});
  mdt::PutInode(context->txn, fid, inode, lock::kAttrBits | lock::kLayout);
  LogChange(context, {.type = mdt::LogType::kLayout, .fid = fid});
  reply->set_layout(inode.layout);
  context->durable = true;
  return {};
}

}  // namespace sheen::mds::ops
