#include "client/glimpse.h"

#include <map>

#include "client/convert.h"
#include "client/layout_lock.h"

namespace sheen::client {
namespace {

struct GlimpsePart {
  uint32_t ost = 0;
  std::vector<ObjectPlace> places;
  v1::OstGetAttrRequest request;
};

std::vector<GlimpsePart> PartsOf(const layout::Layout& layout) {
  std::map<uint32_t, GlimpsePart> by_ost;
  for (uint32_t i = 0; i < layout.components.size(); ++i) {
    const layout::Component& component = layout.components[i];
    if (!component.instantiated()) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      GlimpsePart& part = by_ost[component.osts[stripe]];
      part.ost = component.osts[stripe];
      part.places.push_back({i, stripe});
      ObjectToWire(component, stripe, part.request.add_objects());
    }
  }
  std::vector<GlimpsePart> parts;
  for (auto& [ost, part] : by_ost) parts.push_back(std::move(part));
  return parts;
}

async::Task<Status> GlimpseOne(ShardContext* context, const GlimpsePart* part,
                               ObjectStates* states) {
  rpc::Call call = MakeCall(rpc::Opcode::kOstGetAttr, 0, part->request);
  auto answered = co_await OstCall<v1::OstGetAttrReply>(context, part->ost, std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  if (answered->reply.attrs_size() != static_cast<int>(part->places.size())) {
    co_return Fail(Errc::kProtocol, "OST " + std::to_string(part->ost) +
                                        ": an answer for another number of objects");
  }
  for (size_t i = 0; i < part->places.size(); ++i) {
    const ObjectPlace place = part->places[i];
    (*states)[place.component][place.stripe] =
        ObjectFromWire(answered->reply.attrs(static_cast<int>(i)));
  }
  co_return Status();
}

async::Task<Status> TruncateOne(State* state, OpenFile* file, IoView view, ObjectPlace place,
                                v1::OstTruncateRequest request) {
  const layout::Component& component = view.layout->components[place.component];
  ObjectToWire(component, place.stripe, request.mutable_object());
  OwnerToWire(view, request.mutable_owner());
  request.set_ctime_seen_ns(view.ctime_seen_ns);
  rpc::Call call = MakeCall(rpc::Opcode::kOstTruncate, 0, request);
  call.file = file->fid();
  auto answered = co_await OstCall<v1::OstTruncateReply>(
      state->Here(), component.osts[place.stripe], std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  const ObjectState seen = ObjectFromWire(answered->reply.attr());
  file->NoteChange(view.layout, place, seen, answered->transno);
  co_return Status();
}

}  // namespace

void OwnerToWire(const IoView& view, v1::ObjectOwner* wire) {
  wire->set_uid(view.uid);
  wire->set_gid(view.gid);
  wire->set_project_id(view.project_id);
  wire->set_layout_generation(view.layout->generation);
}

async::Task<Status> Glimpse(State* state, LayoutPtr layout, ObjectStates* states) {
  *states = ShapeOf(*layout);
  const std::vector<GlimpsePart> parts = PartsOf(*layout);
  if (parts.size() == 1) {
    Status only = co_await GlimpseOne(state->Here(), parts.data(), states);
    co_return only;
  }
  std::vector<async::Task<Status>> tasks;
  tasks.reserve(parts.size());
  for (const GlimpsePart& part : parts) tasks.push_back(GlimpseOne(state->Here(), &part, states));
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : all) {
    if (!one) co_return one;
  }
  co_return Status();
}

namespace {

// A writer went without telling: its server or its machine stopped. Not an error when it fails: the
// size stays unsafe and is asked for again.
async::Task<void> ReportFound(State* state, Attr found, uint32_t layout_generation) {
  const BackgroundMark mark(state);
  LockCache::Change change(&state->locks, {found.fid});
  v1::ReportSizeRequest request;
  FidToWire(found.fid, request.mutable_fid());
  request.set_size_epoch(found.size_epoch);
  request.set_layout_generation(layout_generation);
  request.set_size(found.size);
  request.set_blocks(found.blocks);
  request.set_mtime_ns(found.mtime_ns);
  request.set_ctime_ns(found.ctime_ns);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReportSize, 0, request);
  const auto answered =
      co_await MdsChange<v1::ReportSizeReply>(state->Here(), std::move(call), &change);
  static_cast<void>(answered);
}

}  // namespace

async::Task<Status> GlimpseNewest(State* state, Fid fid, LayoutPtr* layout, ObjectStates* states) {
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    const Status seen = co_await Glimpse(state, *layout, states);
    if (seen || !MayBeReplaced(seen.error().code())) co_return seen;
    const Result<LayoutPtr> newest = co_await FetchLayout(state, fid);
    const bool gone = newest ? (*newest)->generation == (*layout)->generation
                             : newest.error().code() == Errc::kStale;
    if (gone) {
      *states = ShapeOf(**layout);
      co_return Status();
    }
    if (!newest) co_return std::unexpected(newest.error());
    *layout = *newest;
  }
  co_return std::unexpected(LayoutKeepsChanging(fid));
}

async::Task<Result<Attr>> FinishAttr(State* state, v1::Attr wire, uint32_t bits) {
  SHEEN_CO_TRY_ASSIGN(Attr attr, AttrFromWire(wire));
  if (const auto open = state->files.Find(attr.fid); HasHeld(open)) co_await WriteHeld(state, open);
  LayoutPtr layout;
  if (attr.size_unsafe && (bits & lock::kUpdate) != 0) {
    const std::shared_ptr<OpenFile> file = state->files.Find(attr.fid);
    if (const auto sole = file ? file->SoleWriterAttr(attr) : std::nullopt) {
      attr = *sole;
      attr.size_unsafe = false;
    }
  }
  if (!wire.layout().empty() && attr.size_unsafe) {
    SHEEN_CO_TRY_ASSIGN(layout, LayoutFromWire(wire.layout()));
    ObjectStates states;
    SHEEN_CO_TRY(co_await GlimpseNewest(state, attr.fid, &layout, &states));
    attr = MergeGlimpse(attr, *layout, states);
    if (wire.report_wanted()) {
      state->Here()->shard()->Spawn(ReportFound(state, attr, layout->generation));
    }
  }
  if (const std::shared_ptr<OpenFile> file = state->files.Find(attr.fid)) {
    if (layout) file->UpdateLayout(layout);
    file->NoteAttr(attr);
  }
  co_return attr;
}

std::optional<Attr> AttrNow(State* state, const Attr& locked) {
  const std::shared_ptr<OpenFile> file = state->files.Find(locked.fid);
  if (!file || file->quiet()) return locked;
  if (HasHeld(file)) return std::nullopt;
  return file->SoleWriterAttr(locked);
}

async::Task<std::shared_ptr<OpenFile>> SettledFile(State* state, Fid fid) {
  std::shared_ptr<OpenFile> file = state->files.Find(fid);
  while (file && file->closing()) co_await file->WaitClosed();
  co_return state->files.Find(fid);
}

void NoteTransno(State* state, const Fid& fid, uint64_t transno) {
  if (transno == 0) return;
  if (const std::shared_ptr<OpenFile> file = state->files.Find(fid)) file->NoteTransno(transno);
}

async::Task<Result<LayoutPtr>> FetchLayout(State* state, Fid fid) {
  v1::GetLayoutRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetLayout, 0, request);
  auto answered = co_await MdsCall<v1::GetLayoutReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(answered->reply.layout()));
  if (!layout) co_return Fail(Errc::kNoData, fid.ToString() + " has no layout");
  if (const std::shared_ptr<OpenFile> file = state->files.Find(fid)) file->UpdateLayout(layout);
  co_return layout;
}

async::Task<Result<LayoutPtr>> Instantiate(State* state, OpenFile* file, uint64_t handle,
                                           uint64_t offset, uint64_t length) {
  const LayoutPtr seen = file->layout();
  v1::InstantiateRequest request;
  FidToWire(file->fid(), request.mutable_fid());
  request.set_offset(offset);
  request.set_length(length);
  request.set_generation_seen(seen ? seen->generation : 0);
  const uint64_t sent = state->locks.Moment();
  LockCache::Change change(&state->locks, {file->fid()});
  const CredentialId who = handle != 0 ? file->WhoOf(handle) : 0;
  rpc::Call call = MakeCall(rpc::Opcode::kMdsInstantiate, who, request);
  auto answered = co_await MdsChange<v1::InstantiateReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(answered->reply.layout()));
  if (!layout) co_return Fail(Errc::kProtocol, "mds0: instantiated no layout");
  file->UpdateLayout(layout);
  file->layout_lock()->Renew(layout);
  const Granted& granted = answered->granted;
  TakeLayoutLock(state, file, sent, granted.origin, granted.BitsOf(file->fid()));
  file->NoteTransno(answered->transno);
  co_return layout;
}

namespace {

// `used`: the layout that it was tried with.
async::Task<Status> TruncateOnce(State* state, OpenFile* file, uint64_t handle, uint64_t size,
                                 LayoutPtr* used) {
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, co_await LayoutForIo(state, file, handle, IoKind::kChange));
  if (!layout) {
    // setstripe's delayed layout: the first change asks for it.
    if (size == 0) co_return Status();
    SHEEN_CO_TRY_ASSIGN(layout, co_await Instantiate(state, file, handle, size - 1, 1));
  }
  if (size > layout::LimitOf(*layout)) {
    co_return Fail(Errc::kFileTooBig, "the file's layout ends at " +
                                          std::to_string(layout::LimitOf(*layout)) + " bytes");
  }
  if (size > 0 && layout::NeedsInstantiation(*layout, size - 1, 1)) {
    SHEEN_CO_TRY_ASSIGN(layout, co_await Instantiate(state, file, handle, size - 1, 1));
  }
  *used = layout;
  IoView view = file->ViewForWrite();
  view.layout = std::move(layout);
  std::vector<async::Task<Status>> tasks;
  for (uint32_t i = 0; i < view.layout->components.size(); ++i) {
    const layout::Component& component = view.layout->components[i];
    if (!component.instantiated()) continue;
    const bool has_last = size > 0 && component.Covers(size - 1);
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      v1::OstTruncateRequest request;
      request.set_size(layout::ObjectBytesFor(component, stripe, size));
      request.set_create(has_last && layout::StripeAt(component, size - 1) == stripe);
      request.set_handle(handle);
      tasks.push_back(TruncateOne(state, file, view, {i, stripe}, std::move(request)));
    }
  }
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  for (const Status& one : all) {
    if (!one) co_return one;
  }
  co_return Status();
}

}  // namespace

async::Task<Status> TruncateObjects(State* state, OpenFile* file, uint64_t handle, uint64_t size) {
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    LayoutPtr used;
    const Status cut = co_await TruncateOnce(state, file, handle, size, &used);
    if (cut) co_return cut;
    SHEEN_CO_TRY(co_await AfterRefusal(state, file, handle, used, cut.error(), IoKind::kChange));
  }
  co_return std::unexpected(LayoutKeepsChanging(file->fid()));
}

Error LayoutKeepsChanging(const Fid& fid) {
  return Error(Errc::kIo, "the layout of " + fid.ToString() + " keeps changing; try again");
}

}  // namespace sheen::client
