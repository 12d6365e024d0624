// Opening and closing. A close tells the MDS what this mount knows of size and times; where others
// wrote too, the OSTs are asked.

#include <fcntl.h>

#include "client/convert.h"
#include "client/dot_lustre.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kTextBusyPause = std::chrono::milliseconds(5);
constexpr Nanos kTextBusyPauseMax = std::chrono::milliseconds(80);

struct OpenAnswer {
  v1::Attr wire;
  OpenHandle handle;
  bool created = false;
  uint64_t transno = 0;
  uint64_t sent = 0;  // LockCache::Moment when it was asked for
  Granted granted;
};

// Nobody waits for the answer any more.
bool IsGivenUp(Errc code) { return code == Errc::kTimedOut || code == Errc::kInterrupted; }

// Size and times as of now, and with O_TRUNC an empty file.
async::Task<Result<Attr>> CompleteOpen(Filesystem* fs, const OpenAnswer* answer, Attr attr,
                                       OpenFile* file) {
  const OpenHandle& handle = answer->handle;
  if (const std::optional<Error> late = fs->state()->late_errors.Take(attr.fid)) {
    co_return std::unexpected(
        Annotate(*late, attr.fid.ToString() + ": what was written before it was closed is lost: "));
  }
  if ((handle.flags & O_TRUNC) != 0 && !answer->created) {
    AttrChange change;
    change.set_size = true;
    Result<Attr> cut = co_await fs->SetAttr(handle.who, attr.fid, change, handle.id);
    co_return cut;
  }
  if (const auto open = fs->state()->files.Find(attr.fid); HasHeld(open)) {
    co_await WriteHeld(fs->state(), open);
  }
  LayoutPtr layout = file->layout();
  if (!attr.size_unsafe || !layout) co_return attr;
  ObjectStates states;
  SHEEN_CO_TRY(co_await GlimpseNewest(fs->state(), attr.fid, &layout, &states));
  attr = MergeGlimpse(attr, *layout, states);
  file->NoteAttr(attr);
  co_return attr;
}

// The rest of an open that the MDS has granted. When it fails the handle is given back.
async::Task<Result<Opened>> FinishOpen(Filesystem* fs, OpenAnswer answer) {
  State* state = fs->state();
  SHEEN_CO_TRY_ASSIGN(const Attr attr, AttrFromWire(answer.wire));
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(answer.wire.layout()));
  // The answer may be late: made, and written by others since.
  const bool empty = answer.created && !attr.size_unsafe && attr.size == 0;
  const std::shared_ptr<OpenFile> file =
      state->files.AddHandle(answer.handle, attr, std::move(layout), empty);
  file->NoteTransno(answer.transno);
  TakeLayoutLock(state, file.get(), answer.sent, answer.granted.origin,
                 answer.granted.BitsOf(attr.fid));
  Result<Attr> now = co_await CompleteOpen(fs, &answer, attr, file.get());
  if (now) co_return Opened{*now, answer.handle.id, answer.created};
  const Status closed = co_await fs->Close(attr.fid, answer.handle.id);
  co_return std::unexpected(now.error());
}

void ReportToWire(const Attr& merged, v1::CloseRequest* request) {
  request->set_wrote(true);
  request->set_size(merged.size);
  request->set_blocks(merged.blocks);
  request->set_mtime_ns(merged.mtime_ns);
  request->set_ctime_ns(merged.ctime_ns);
}

void PresentToWire(ShardContext* context, const CloseReport& report, v1::CloseRequest* request) {
  for (size_t i = 0; i < report.places.size(); ++i) {
    const ObjectPlace place = report.places[i];
    if (place.component >= report.layout->components.size()) continue;
    const layout::Component& component = report.layout->components[place.component];
    if (place.stripe >= component.osts.size()) continue;
    if (!Covers(context->OstCommitted(component.osts[place.stripe]), report.created_at[i])) {
      continue;
    }
    request->add_present_component(component.id);
    request->add_present_stripe(place.stripe);
  }
}

async::Task<Status> ReportSize(State* state, Fid fid, uint64_t size_epoch) {
  SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, co_await FetchLayout(state, fid));
  ObjectStates states;
  SHEEN_CO_TRY(co_await GlimpseNewest(state, fid, &layout, &states));
  const Attr merged = MergeGlimpse(Attr{}, *layout, states);
  LockCache::Change change(&state->locks, {fid});
  v1::ReportSizeRequest request;
  request.set_layout_generation(layout->generation);
  FidToWire(fid, request.mutable_fid());
  request.set_size_epoch(size_epoch);
  request.set_size(merged.size);
  request.set_blocks(merged.blocks);
  request.set_mtime_ns(merged.mtime_ns);
  request.set_ctime_ns(merged.ctime_ns);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReportSize, 0, request);
  auto answered =
      co_await MdsChange<v1::ReportSizeReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  co_return Status();
}

async::Task<Status> FillReport(State* state, OpenFile* file, v1::CloseRequest* request) {
  if (file->layout()) co_await LearnLayout(state, file);
  CloseReport report = file->Report();
  request->set_size_epoch(report.size_epoch);
  if (!report.layout) co_return Status();
  if (!AllKnown(report.states)) {
    SHEEN_CO_TRY(co_await GlimpseNewest(state, file->fid(), &report.layout, &report.states));
  }
  ReportToWire(MergeGlimpse(Attr{}, *report.layout, report.states), request);
  request->set_layout_generation(report.layout->generation);
  PresentToWire(state->Here(), report, request);
  co_return Status();
}

// For `start.origin` it is counted; the MDS asks nobody's leave to close.
async::Task<Status> SendClose(State* state, OpenFile* file, CloseStart start,
                              v1::CloseRequest request) {
  // A reader's close changes nothing but, sometimes, the access time.
  std::vector<Fid> changed;
  if (start.writer || request.atime_ns() != 0) changed.push_back(file->fid());
  LockCache::Change change(&state->locks, std::move(changed));
  rpc::Call call = MakeCall(rpc::Opcode::kMdsClose, start.origin, request);
  auto answered = co_await MdsChange<v1::CloseReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  const Granted& granted = answered->granted;
  const Result<Attr> attr = AttrFromWire(answered->reply.attr());
  if (answered->reply.has_attr() && attr) {
    change.Keep(granted.origin, *attr, granted.BitsOf(file->fid()));
  }
  change.Done();
  if (request.atime_ns() != 0) {
    state->kernel.ChangedHere(file->fid(), state->Here()->shard()->Now());
  }
  if (!answered->reply.glimpse_wanted()) co_return Status();
  const Status reported = co_await ReportSize(state, file->fid(), answered->reply.size_epoch());
  // Not an error of the close: the size stays unsafe and is asked for again.
  static_cast<void>(reported);
  co_return Status();
}

async::Task<Status> ReportAndClose(State* state, OpenFile* file, CloseStart start,
                                   v1::CloseRequest request) {
  while (!file->TryBeginReport()) co_await file->WaitReport();
  if (const auto open = state->files.Find(file->fid()); HasHeld(open)) {
    co_await WriteHeld(state, open);
  }
  Status closed = co_await FillReport(state, file, &request);
  // Without a report the MDS would take its own size for right. So it keeps the handle, and with
  // it the mark that the OSTs are to be asked, until this mount ends.
  if (closed) {
    closed = co_await SendClose(state, file, start, std::move(request));
  } else {
    // What was known under a lock counted on the objects known here, until now.
    const LockCache::Change forget(&state->locks, {file->fid()});
  }
  file->EndReport();
  co_return closed;
}

// An existing file was opened instead: nothing has changed but, for a writer, its size's safety.
void KeepCreated(State* state, uint64_t sent, const v1::CreateRequest& request,
                 const Granted& granted, const v1::CreateReply& reply, LockCache::Change* change) {
  const Result<Attr> attr = AttrFromWire(reply.attr());
  const Result<Attr> parent = AttrFromWire(reply.parent_attr());
  if (reply.created() && attr && parent) {
    const uint32_t bits = granted.BitsOf(attr->fid);
    const uint64_t generation =
        state->locks.TakeNew(sent, granted.origin, *attr, bits, false);
    change->Keep(granted.origin, *parent, granted.BitsOf(parent->fid));
    change->SetName(parent->fid, request.name(), attr->fid, generation);
  }
  change->Done();
  state->Here()->TrimLocks();
}

}  // namespace

async::Task<Result<Opened>> Filesystem::Create(CredentialId who, Fid parent, std::string name,
                                               CreateOptions options) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  State* state = state_.get();
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await state->Here()->NewFid());
  const OpenHandle handle{state->next_handle++, options.flags, who};
  v1::CreateRequest request;
  FidToWire(parent, request.mutable_parent());
  request.set_name(std::move(name));
  FidToWire(fid, request.mutable_fid());
  request.set_mode(options.mode & 07777);
  request.set_umask(options.umask);
  request.set_open_flags(options.flags);
  request.set_handle(handle.id);
  request.set_layout_template(std::move(options.layout_template));
  if (!options.copy_of.empty()) FidToWire(options.copy_of, request.mutable_copy_of());
  request.set_own_layout(options.own_layout);
  LockCache::Change change(&state->locks,
                           {parent, state->locks.PeekName(parent, request.name())});
  // After the change has begun: the cache may keep directory and file in one place.
  const uint64_t sent = state->locks.Moment();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsCreate, who, request);
  const auto asked = state->Here()->unwanted_handles()->Ask(fid, handle.id, &call);
  auto answered = co_await MdsChange<v1::CreateReply>(state->Here(), std::move(call), &change);
  if (answered || !IsGivenUp(answered.error().code())) asked->Answered();
  const bool nameless = (options.flags & O_TMPFILE) == O_TMPFILE;
  if (nameless && !answered && answered.error().code() == Errc::kInvalid) {
    co_return Fail(Errc::kNotSupported, "the MDS is of a version without O_TMPFILE");
  }
  if (!answered) co_return std::unexpected(answered.error());
  v1::CreateReply& reply = answered->reply;
  KeepCreated(state, sent, request, answered->granted, reply, &change);
  Result<Opened> opened = co_await FinishOpen(
      this, {std::move(*reply.mutable_attr()), handle, reply.created(), answered->transno, sent,
             std::move(answered->granted)});
  co_return opened;
}

async::Task<Result<Opened>> Filesystem::Open(CredentialId who, Fid fid, uint32_t flags) {
  if (IsDotLustre(fid)) co_return Opened{DotLustreAttr(fid), state_->next_handle++, false};
  if (std::optional<Opened> here = OpenHere(who, fid, flags)) co_return *std::move(here);
  async::Shard* const shard = state_->Here()->shard();
  // What another client has closed may still be on its way to the MDS.
  for (Nanos pause = kTextBusyPause;; pause *= 2) {
    Result<Opened> opened = co_await OpenOnce(who, fid, flags);
    const bool busy = !opened && opened.error().code() == Errc::kTextBusy;
    if (!busy || pause > kTextBusyPauseMax) co_return opened;
    co_await shard->Sleep(pause);
  }
}

async::Task<Result<Opened>> Filesystem::OpenOnce(CredentialId who, Fid fid, uint32_t flags) {
  State* state = state_.get();
  if (state->files.Find(fid)) {
    const std::shared_ptr<OpenFile> settled = co_await SettledFile(state, fid);
  }
  const OpenHandle handle{state->next_handle++, flags, who};
  v1::OpenRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_flags(flags);
  request.set_handle(handle.id);
  const bool writer = IsWriter(flags);
  const uint64_t sent = state->locks.Moment();
  LockCache::Change change(&state->locks, writer ? std::vector<Fid>{fid} : std::vector<Fid>{});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsOpen, who, request);
  const auto asked = state->Here()->unwanted_handles()->Ask(fid, handle.id, &call);
  auto answered = co_await MdsChange<v1::OpenReply>(state->Here(), std::move(call), &change);
  if (answered || !IsGivenUp(answered.error().code())) asked->Answered();
  if (!answered) co_return std::unexpected(answered.error());
  change.Done();
  const Result<Attr> attr = AttrFromWire(answered->reply.attr());
  const Granted& granted = answered->granted;
  if (!writer && attr) {
    state->locks.TakeAttr(sent, granted.origin, *attr, granted.BitsOf(fid));
  }
  Result<Opened> opened = co_await FinishOpen(
      this, {std::move(*answered->reply.mutable_attr()), handle, false, answered->transno, sent,
             std::move(answered->granted)});
  co_return opened;
}

async::Task<Status> Filesystem::Close(Fid fid, uint64_t handle) {
  if (IsDotLustre(fid)) co_return Status();
  State* state = state_.get();
  const BackgroundMark mark(state);
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!file) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  CloseStart start = file->BeginClose(handle);
  while (start.telling) {
    co_await file->WaitTold();
    start = file->BeginClose(handle);
  }
  if (start.local) state->local_opens.fetch_sub(1);
  // With the last handle that the MDS knows it lets go of the layout's lock.
  const bool others_local = !start.local && file->HasLocal();
  if (others_local) ForgetLayoutLock(state, file.get());
  v1::CloseRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_handle(start.local ? 0 : handle);
  request.set_atime_ns(start.atime_ns);
  Status closed = Fail(Errc::kBadHandle, "no such handle of " + fid.ToString());
  if (start.local && start.atime_ns == 0) {
    closed = Status();
  } else if (start.report) {
    closed = co_await ReportAndClose(state, file.get(), start, std::move(request));
  } else if (start.known_handle) {
    closed = co_await SendClose(state, file.get(), start, std::move(request));
  }
  if (others_local) ForgetLayoutLock(state, file.get());
  state->files.EndClose(file.get());
  if (file->idle()) {
    if (start.local) GiveIdleLayoutBack(state, file.get());
    ReleaseExtents(state, file.get());
    if (const std::optional<Error> lost = file->held()->TakeError()) {
      state->late_errors.Put(fid, *lost);
    }
  }
  co_return closed;
}

}  // namespace sheen::client
