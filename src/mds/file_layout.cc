#include "mds/file_layout.h"

#include <algorithm>
#include <memory>

#include "base/transno.h"

namespace sheen::mds {
namespace {

// A number that no batch and no other component has.
uint64_t FreshBirth(OpContext* context) {
  mdt::TransnoTracker* transnos = context->mdt().transnos();
  const uint64_t birth = transnos->Begin();
  transnos->Finish(birth);
  return birth;
}

// The OSTs to choose from. Errors: kUnavailable: wait for one to be heard of; kNoSpace for a pool
// that has none, never for a server that is not there.
Result<ClusterMap::OstList> KnownOsts(const OpContext& context,
                                      const layout::Component& component) {
  const ClusterMap& cluster = *context.core->cluster;
  const bool of_pool = !component.pool.empty() && component.wanted_osts.empty();
  const auto osts = of_pool ? cluster.OstsOf(component.pool) : cluster.Osts();
  if (osts == nullptr) return Fail(Errc::kNoSpace, "pool '" + component.pool + "' does not exist");
  if (osts->empty() && of_pool) {
    return Fail(Errc::kNoSpace, "pool '" + component.pool + "' has no OSTs");
  }
  if (osts->empty()) return Fail(Errc::kUnavailable, "no OST is registered; start a sheen-oss");
  const bool heard = std::ranges::any_of(*osts, [](const layout::OstState& ost) {
    return ost.reach != layout::Reach::kAway && layout::HasRoom(ost);
  });
  if (!heard && cluster.WarmingUp()) {
    return Fail(Errc::kUnavailable, "the OSTs have not reported since the MDS started");
  }
  return osts;
}

// The component's, chosen now.
Result<std::vector<uint32_t>> ChooseFor(OpContext* context, const layout::Component& component) {
  SHEEN_TRY_ASSIGN(const ClusterMap::OstList osts, KnownOsts(*context, component));
  layout::Component wanted = component;
  // It has left the pool since the layout was set.
  if (!component.pool.empty() && std::ranges::find(*osts, component.first_ost,
                                                   &layout::OstState::index) == osts->end()) {
    wanted.first_ost = layout::kAnyOst;
  }
  std::atomic<uint64_t>& shared = context->core->ost_position;
  uint64_t position = shared.load(std::memory_order_relaxed);
  SHEEN_TRY_ASSIGN(std::vector<uint32_t> chosen, layout::ChooseOsts(wanted, *osts, &position));
  shared.store(position, std::memory_order_relaxed);
  return chosen;
}

void TakePools(const layout::Layout& from, layout::Layout* to) {
  for (layout::Component& component : to->components) {
    // Whoever names OSTs means them.
    const bool placed = component.first_ost != layout::kAnyOst || !component.wanted_osts.empty();
    if (placed || !component.pool.empty()) continue;
    const auto at = layout::ComponentAt(from, component.start);
    if (at) component.pool = from.components[*at].pool;
  }
}

// Its own, or the filesystem's.
Result<RootTemplate::Pointer> TemplateOfRoot(OpContext* context) {
  RootTemplate& kept = context->core->root_template;
  if (RootTemplate::Pointer known = kept.Find()) return known;
  const uint64_t moment = kept.Moment();
  SHEEN_TRY_ASSIGN(const mdt::Inode root, context->Inode(kRootFid));
  layout::Layout layout = layout::DefaultTemplate();
  if (!root.layout.empty()) {
    SHEEN_TRY_ASSIGN(layout, layout::Decode(root.layout));
  }
  auto read = std::make_shared<const layout::Layout>(std::move(layout));
  kept.Put(moment, read);
  return read;
}

bool LacksPool(const layout::Layout& layout) {
  return std::ranges::any_of(layout.components, &std::string::empty, &layout::Component::pool);
}

}  // namespace

Result<Template> TemplateFor(OpContext* context, const Fid& parent, const mdt::Inode& directory) {
  Template out;
  out.inherited = directory.layout.empty();
  if (!out.inherited) {
    SHEEN_TRY_ASSIGN(out.layout, layout::Decode(directory.layout));
    if (parent == kRootFid || !LacksPool(out.layout)) return out;
  }
  if (parent == kRootFid) {
    out.layout = layout::DefaultTemplate();
    return out;
  }
  SHEEN_TRY_ASSIGN(const RootTemplate::Pointer above, TemplateOfRoot(context));
  if (out.inherited) {
    out.layout = *above;
  } else {
    TakePools(*above, &out.layout);
  }
  return out;
}

Result<Template> TemplateForFile(OpContext* context, const Fid& fid) {
  SHEEN_TRY_ASSIGN(const std::vector<mdt::LinkRow> links, mdt::ListLinks(*context->txn, fid, 1));
  const Fid parent = links.empty() ? kRootFid : links.front().parent;
  SHEEN_TRY_ASSIGN(const mdt::Inode directory, context->Directory(parent));
  return TemplateFor(context, parent, directory);
}

void GivePools(const Template& found, layout::Layout* layout) {
  TakePools(found.layout, layout);
  for (layout::Component& component : layout->components) {
    if (component.pool == layout::kIgnorePool) component.pool.clear();
  }
}

layout::Layout NewLayout(const layout::Layout& wanted, const Template& found) {
  layout::Layout out = layout::TemplateOf(wanted);
  GivePools(found, &out);
  return out;
}

layout::Layout LayoutAfresh(const OpContext& context, const layout::Layout& own) {
  layout::Layout out = layout::TemplateOf(own);
  for (layout::Component& component : out.components) {
    if (component.pool.empty()) continue;
    const auto osts = context.core->cluster->OstsOf(component.pool);
    if (osts == nullptr || osts->empty()) component.pool.clear();
  }
  return out;
}

Result<layout::Layout> ParseTemplate(const OpContext& context, std::string_view bytes) {
  SHEEN_TRY_ASSIGN(const layout::Layout parsed, layout::Decode(bytes));
  if (parsed.empty()) return Fail(Errc::kInvalid, "Invalid layout: it has no component");
  layout::Layout out = layout::TemplateOf(parsed);
  SHEEN_TRY(layout::Validate(out));
  if (context.replay) return out;
  const std::shared_ptr<const OstPools> pools = context.core->cluster->Pools();
  for (const layout::Component& component : out.components) {
    SHEEN_TRY(CheckPoolOf(component, *pools));
  }
  return out;
}

Status RaiseGeneration(layout::Layout* layout) {
  if (layout->generation < layout::kGenerationMax) {
    ++layout->generation;
    return {};
  }
  return Fail(Errc::kOverflow, "the layout has been changed as often as can be counted; copy the "
                               "file instead");
}

Result<bool> InstantiateRange(OpContext* context, const Fid& fid, layout::Layout* layout,
                              uint64_t offset, uint64_t length) {
  const uint64_t end = length > layout::kEof - offset ? layout::kEof : offset + length;
  bool changed = false;
  for (layout::Component& component : layout->components) {
    const bool reached = component.start < end && component.end > offset;
    if (!reached || component.instantiated()) continue;
    SHEEN_TRY_ASSIGN(component.osts, ChooseFor(context, component));
    component.stripe_count = static_cast<uint32_t>(component.osts.size());
    component.present.assign(component.osts.size(), false);
    component.object_fid = fid;
    component.birth = changed ? FreshBirth(context) : context->txn->transno();
    changed = true;
  }
  if (changed) SHEEN_TRY(RaiseGeneration(layout));
  return changed;
}

Result<layout::Layout> DecidedLayout(const OpContext& context, const Fid& fid,
                                     std::string_view bytes, const layout::Layout& known) {
  SHEEN_TRY_ASSIGN(layout::Layout layout, layout::Decode(bytes));
  SHEEN_TRY(layout::Validate(layout));
  const uint64_t this_boot = TransnoBase(context.core->mdt->superblock().boot);
  const bool plausible = std::ranges::all_of(layout.components, [&](const auto& component) {
    if (!component.instantiated()) return true;
    const bool own = std::ranges::any_of(known.components, [&](const auto& before) {
      return before.birth == component.birth && before.object_fid == component.object_fid &&
             before.osts == component.osts;
    });
    return own || (component.object_fid == fid && component.birth < this_boot);
  });
  if (!plausible) {
    return Fail(Errc::kInvalid, fid.ToString() + ": replayed layout names objects not its own");
  }
  return layout;
}

}  // namespace sheen::mds
