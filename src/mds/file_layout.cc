#include "mds/file_layout.h"

#include <algorithm>
#include <memory>

namespace sheen::mds {
namespace {

// A number that no batch and no other component has.
uint64_t FreshBirth(OpContext* context) {
  mdt::TransnoTracker* transnos = context->mdt().transnos();
  const uint64_t birth = transnos->Begin();
  transnos->Finish(birth);
  return birth;
}

// The OSTs to choose from. Errors: kUnavailable: wait for one to be heard of; never kNoSpace for a
// server that is not there.
Result<std::shared_ptr<const std::vector<layout::OstState>>> KnownOsts(const OpContext& context) {
  auto osts = context.core->cluster->Osts();
  if (osts->empty()) return Fail(Errc::kUnavailable, "no OST is registered; start a sheen-oss");
  const bool heard = std::ranges::any_of(*osts, [](const layout::OstState& ost) {
    return ost.reach != layout::Reach::kAway && layout::HasRoom(ost);
  });
  if (!heard && context.core->cluster->WarmingUp()) {
    return Fail(Errc::kUnavailable, "the OSTs have not reported since the MDS started");
  }
  return osts;
}

}  // namespace

Result<Template> TemplateFor(OpContext* context, const Fid& parent, const mdt::Inode& directory) {
  Template out;
  if (!directory.layout.empty()) {
    SHEEN_TRY_ASSIGN(out.layout, layout::Decode(directory.layout));
    return out;
  }
  out.inherited = true;
  if (parent != kRootFid) {
    SHEEN_TRY_ASSIGN(const mdt::Inode root, context->Inode(kRootFid));
    if (!root.layout.empty()) {
      SHEEN_TRY_ASSIGN(out.layout, layout::Decode(root.layout));
      return out;
    }
  }
  out.layout = layout::DefaultTemplate();
  return out;
}

Result<layout::Layout> ParseTemplate(std::string_view bytes) {
  SHEEN_TRY_ASSIGN(const layout::Layout parsed, layout::Decode(bytes));
  if (parsed.empty()) return Fail(Errc::kInvalid, "Invalid layout: it has no component");
  layout::Layout out = layout::TemplateOf(parsed);
  SHEEN_TRY(layout::Validate(out));
  return out;
}

Result<bool> InstantiateRange(OpContext* context, const Fid& fid, layout::Layout* layout,
                              uint64_t offset, uint64_t length) {
  const uint64_t end = length > layout::kEof - offset ? layout::kEof : offset + length;
  bool changed = false;
  for (layout::Component& component : layout->components) {
    const bool reached = component.start < end && component.end > offset;
    if (!reached || component.instantiated()) continue;
    SHEEN_TRY_ASSIGN(const auto osts, KnownOsts(*context));
    uint64_t position = context->core->ost_position.load(std::memory_order_relaxed);
    SHEEN_TRY_ASSIGN(component.osts, layout::ChooseOsts(component, *osts, &position));
    context->core->ost_position.store(position, std::memory_order_relaxed);
    component.stripe_count = static_cast<uint32_t>(component.osts.size());
    component.present.assign(component.osts.size(), false);
    component.object_fid = fid;
    component.birth = changed ? FreshBirth(context) : context->txn->transno();
    changed = true;
  }
  if (changed) ++layout->generation;
  return changed;
}

Result<layout::Layout> DecidedLayout(const OpContext& context, const Fid& fid,
                                     std::string_view bytes) {
  SHEEN_TRY_ASSIGN(layout::Layout layout, layout::Decode(bytes));
  SHEEN_TRY(layout::Validate(layout));
  const uint64_t this_boot = context.core->mdt->superblock().boot << mdt::kTransnoBootShift;
  const bool plausible = std::ranges::all_of(layout.components, [&](const auto& component) {
    return !component.instantiated() ||
           (component.object_fid == fid && component.birth < this_boot);
  });
  if (!plausible) {
    return Fail(Errc::kInvalid, fid.ToString() + ": replayed layout names objects not its own");
  }
  return layout;
}

}  // namespace sheen::mds
