// Opening and closing. A close tells the MDS what this mount knows of size and times; where others
// wrote too, the OSTs are asked.

#include <fcntl.h>

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

// The rest of an open: the handle is in the table, the objects are cut where O_TRUNC asks for it.
async::Task<Result<Opened>> FinishOpen(Filesystem* fs, CredentialId who, v1::Attr wire,
                                       OpenHandle handle, bool created, uint64_t transno) {
  State* state = fs->state();
  SHEEN_CO_TRY_ASSIGN(Attr attr, AttrFromWire(wire));
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(wire.layout()));
  if (attr.size_unsafe && layout) {
    ObjectStates states;
    SHEEN_CO_TRY(co_await Glimpse(state, layout, &states));
    attr = MergeGlimpse(attr, *layout, states);
  }
  const std::shared_ptr<OpenFile> file =
      state->files.AddHandle(handle, attr, std::move(layout), created);
  file->NoteTransno(transno);
  Opened opened{attr, handle.id, created};
  const bool truncate = (handle.flags & O_TRUNC) != 0 && IsWriter(handle.flags) && !created;
  if (!truncate) co_return opened;
  AttrChange change;
  change.set_size = true;
  Result<Attr> cut = co_await fs->SetAttr(who, attr.fid, change, handle.id);
  if (cut) {
    opened.attr = *cut;
    co_return opened;
  }
  const Status closed = co_await fs->Close(attr.fid, handle.id);
  co_return std::unexpected(cut.error());
}

void ReportToWire(const Attr& merged, v1::CloseRequest* request) {
  request->set_wrote(true);
  request->set_size(merged.size);
  request->set_blocks(merged.blocks);
  request->set_mtime_ns(merged.mtime_ns);
  request->set_ctime_ns(merged.ctime_ns);
}

void PresentToWire(ShardContext* context, const CloseStart& start, v1::CloseRequest* request) {
  for (size_t i = 0; i < start.places.size(); ++i) {
    const ObjectPlace place = start.places[i];
    if (place.component >= start.layout->components.size()) continue;
    const layout::Component& component = start.layout->components[place.component];
    if (place.stripe >= component.osts.size()) continue;
    if (context->OstCommitted(component.osts[place.stripe]) < start.created_at[i]) continue;
    request->add_present_component(component.id);
    request->add_present_stripe(place.stripe);
  }
}

async::Task<Status> ReportSize(State* state, Fid fid, uint64_t size_epoch) {
  SHEEN_CO_TRY_ASSIGN(const LayoutPtr layout, co_await FetchLayout(state, fid));
  ObjectStates states;
  SHEEN_CO_TRY(co_await Glimpse(state, layout, &states));
  const Attr merged = MergeGlimpse(Attr{}, *layout, states);
  v1::ReportSizeRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_size_epoch(size_epoch);
  request.set_size(merged.size);
  request.set_blocks(merged.blocks);
  request.set_mtime_ns(merged.mtime_ns);
  request.set_ctime_ns(merged.ctime_ns);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReportSize, 0, request);
  auto answered = co_await MdsCall<v1::ReportSizeReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return Status();
}

async::Task<Status> SendClose(State* state, Fid fid, uint64_t handle, CloseStart start) {
  v1::CloseRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_handle(handle);
  request.set_size_epoch(start.size_epoch);
  request.set_atime_ns(start.atime_ns);
  if (start.wrote && start.layout) {
    Status known;
    if (!AllKnown(start.states)) known = co_await Glimpse(state, start.layout, &start.states);
    if (known) ReportToWire(MergeGlimpse(Attr{}, *start.layout, start.states), &request);
    PresentToWire(state->Here(), start, &request);
  }
  rpc::Call call = MakeCall(rpc::Opcode::kMdsClose, 0, request);
  auto answered = co_await MdsCall<v1::CloseReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  if (!answered->reply.glimpse_wanted()) co_return Status();
  const Status reported = co_await ReportSize(state, fid, answered->reply.size_epoch());
  // Not an error of the close: the size stays unsafe and is asked for again.
  static_cast<void>(reported);
  co_return Status();
}

}  // namespace

async::Task<Result<Opened>> Filesystem::Create(CredentialId who, Fid parent, std::string name,
                                               CreateOptions options) {
  State* state = state_.get();
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await state->Here()->NewFid());
  const OpenHandle handle{state->next_handle++, options.flags, who};
  v1::CreateRequest request;
  FidToWire(parent, request.mutable_parent());
  request.set_name(std::move(name));
  FidToWire(fid, request.mutable_fid());
  request.set_mode(options.mode & 07777);
  request.set_open_flags(options.flags);
  request.set_handle(handle.id);
  request.set_layout_template(std::move(options.layout_template));
  rpc::Call call = MakeCall(rpc::Opcode::kMdsCreate, who, request);
  auto answered = co_await MdsCall<v1::CreateReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  v1::CreateReply& reply = answered->reply;
  Result<Opened> opened = co_await FinishOpen(this, who, std::move(*reply.mutable_attr()), handle,
                                              reply.created(), answered->transno);
  co_return opened;
}

async::Task<Result<Opened>> Filesystem::Open(CredentialId who, Fid fid, uint32_t flags) {
  State* state = state_.get();
  if (state->files.Find(fid)) {
    const std::shared_ptr<OpenFile> settled = co_await SettledFile(state, fid);
  }
  const OpenHandle handle{state->next_handle++, flags, who};
  v1::OpenRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_flags(flags);
  request.set_handle(handle.id);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsOpen, who, request);
  auto answered = co_await MdsCall<v1::OpenReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  Result<Opened> opened = co_await FinishOpen(this, who, std::move(*answered->reply.mutable_attr()),
                                              handle, false, answered->transno);
  co_return opened;
}

async::Task<Status> Filesystem::Close(Fid fid, uint64_t handle) {
  State* state = state_.get();
  const BackgroundMark mark(state);
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!file) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  CloseStart start = file->BeginClose(handle);
  Status closed = Fail(Errc::kBadHandle, "no such handle of " + fid.ToString());
  if (start.known_handle) closed = co_await SendClose(state, fid, handle, std::move(start));
  state->files.EndClose(file.get());
  co_return closed;
}

}  // namespace sheen::client
