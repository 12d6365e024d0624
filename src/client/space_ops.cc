// Durability, space inside files (fallocate, seek), space of the filesystem, names of FIDs.

#include <fcntl.h>

#include <algorithm>
#include <map>

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/layout_lock.h"
#include "client/object_ranges.h"
#include "client/space_sum.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr uint32_t kKeepSize = FALLOC_FL_KEEP_SIZE;
constexpr uint32_t kPunchHole = FALLOC_FL_PUNCH_HOLE;
constexpr uint32_t kZeroRange = FALLOC_FL_ZERO_RANGE;
constexpr Nanos kReplayLook = std::chrono::milliseconds(5);

async::Task<Status> SyncOst(State* state, uint32_t ost, v1::OstSyncRequest request) {
  ShardContext* const here = state->Here();
  const Nanos wait = state->options.deadline;
  const Nanos until = wait == Nanos::max() ? wait : here->shard()->Now() + wait;
  for (;;) {
    rpc::Call call = MakeCall(rpc::Opcode::kOstSync, 0, request);
    call.deadline = until;
    const Result<rpc::Answer> answer = co_await here->Ost(ost, std::move(call));
    if (!answer) co_return std::unexpected(answer.error());
    // A restarted server may have been asked before it was told again what it had lost.
    if (!state->kept_writes.AwaitReplay(ost, answer->boot)) co_return Status();
    co_await here->shard()->Sleep(kReplayLook);
  }
}

async::Task<Status> SyncMds(State* state, uint64_t transno) {
  v1::MdsSyncRequest request;
  request.set_transno(transno);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSync, 0, request);
  auto answered = co_await MdsCall<v1::MdsSyncReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return Status();
}

Status FirstError(const std::vector<Status>& all) {
  for (const Status& one : all) {
    if (!one) return one;
  }
  return {};
}

// What was written through an earlier opening of the file, and is not committed, is kept.
void AddWrittenBefore(State* state, const layout::Layout& layout,
                      std::map<uint32_t, v1::OstSyncRequest>* by_ost) {
  for (const layout::Component& component : layout.components) {
    if (!component.instantiated()) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      const uint32_t ost = component.osts[stripe];
      if (by_ost->contains(ost) || state->kept_writes.BytesOf(ost) == 0) continue;
      ObjectToWire(component, stripe, (*by_ost)[ost].add_objects());
    }
  }
}

async::Task<Status> SyncObjects(State* state, OpenFile* file) {
  // What lay in objects that the file has no more is on the disk since they were fenced; their
  // server may be gone.
  if (!file->Dirty().empty() || !state->kept_writes.empty()) co_await LearnLayout(state, file);
  const std::vector<DirtyObject> dirty = file->Dirty();
  const LayoutPtr layout = file->layout();
  std::map<uint32_t, v1::OstSyncRequest> by_ost;
  for (const DirtyObject& object : dirty) {
    if (!layout || object.place.component >= layout->components.size()) continue;
    const layout::Component& component = layout->components[object.place.component];
    if (object.place.stripe >= component.osts.size()) continue;
    const uint32_t ost = component.osts[object.place.stripe];
    if (Covers(state->Here()->OstCommitted(ost), object.transno)) continue;
    ObjectToWire(component, object.place.stripe, by_ost[ost].add_objects());
  }
  if (layout) AddWrittenBefore(state, *layout, &by_ost);
  std::vector<async::Task<Status>> tasks;
  for (auto& [ost, request] : by_ost) tasks.push_back(SyncOst(state, ost, std::move(request)));
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  SHEEN_CO_TRY(FirstError(all));
  file->NoteCommitted(dirty);
  co_return Status();
}

struct AllocateJob {
  State* state = nullptr;
  OpenFile* file = nullptr;
  uint64_t handle = 0;
  uint32_t mode = 0;
};

async::Task<Status> AllocateOne(const AllocateJob* job, IoView view, ObjectRange range) {
  const layout::Component& component = view.layout->components[range.component];
  v1::OstAllocateRequest request;
  ObjectToWire(component, range.stripe, request.mutable_object());
  request.set_offset(range.begin);
  request.set_length(range.end - range.begin);
  request.set_mode(job->mode);
  OwnerToWire(view, request.mutable_owner());
  request.set_ctime_seen_ns(view.ctime_seen_ns);
  request.set_handle(job->handle);
  rpc::Call call = MakeCall(rpc::Opcode::kOstAllocate, job->file->WhoOf(job->handle), request);
  call.file = job->file->fid();
  auto answered = co_await OstCall<v1::OstAllocateReply>(
      job->state->Here(), component.osts[range.stripe], std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  const ObjectState seen = ObjectFromWire(answered->reply.attr());
  job->file->NoteChange(view.layout, {range.component, range.stripe}, seen, answered->transno);
  co_return Status();
}

async::Task<Status> AllocateAll(const AllocateJob* job, LayoutPtr layout, uint64_t offset,
                                uint64_t length) {
  IoView view = job->file->ViewForWrite();
  view.layout = std::move(layout);
  std::vector<async::Task<Status>> tasks;
  for (const ObjectRange& range : ObjectRangesOf(*view.layout, offset, length)) {
    tasks.push_back(AllocateOne(job, view, range));
  }
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  co_return FirstError(all);
}

// The next data or hole of one stripe, as a file offset; kEof when there is none.
async::Task<Result<uint64_t>> SeekStripe(State* state, LayoutPtr layout, ObjectPlace place,
                                         uint64_t offset, bool hole) {
  const layout::Component& component = layout->components[place.component];
  const uint64_t from =
      ObjectOffsetAtOrAfter(component, place.stripe, std::max(offset, component.start));
  v1::OstSeekRequest request;
  ObjectToWire(component, place.stripe, request.mutable_object());
  request.set_offset(from);
  request.set_hole(hole);
  rpc::Call call = MakeCall(rpc::Opcode::kOstSeek, 0, request);
  auto answered = co_await OstCall<v1::OstSeekReply>(state->Here(), component.osts[place.stripe],
                                                     std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  uint64_t found = answered->reply.offset();
  if (!answered->reply.found()) {
    if (!hole) co_return layout::kEof;
    found = from;  // beyond the object's end everything is a hole
  }
  const uint64_t at = FileOffsetOf(component, place.stripe, found);
  co_return at < component.end ? at : layout::kEof;
}

}  // namespace

// What the MDS had answered, lost, and refused when it was repeated.
Status Filesystem::TakeLostChange(const Fid& fid) {
  if (state_->unkept_lost.load()) {
    return Fail(Errc::kIo, fid.ToString() + ": a server has restarted and may have lost changes of "
                                            "this mount, which has recovery=off: mount it anew");
  }
  const std::optional<Error> lost = state_->lost_changes.Take(fid);
  if (!lost) return {};
  return std::unexpected(Annotate(*lost, fid.ToString() + ": "));
}

async::Task<Status> Filesystem::Fsync(Fid fid) {
  const Status synced = co_await SyncFile(fid);
  SHEEN_CO_TRY(TakeLostChange(fid));
  co_return synced;
}

async::Task<Status> Filesystem::SyncFile(Fid fid) {
  State* state = state_.get();
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  uint64_t transno = 0;
  if (file) {
    if (HasHeld(file)) co_await WriteHeld(state, file);
    // Opened here for reading only; what was written through earlier openings must be found.
    if (!file->layout() && !state->kept_writes.empty()) {
      const Result<LayoutPtr> fetched = co_await FetchLayout(state, fid);
      if (!fetched && fetched.error().code() != Errc::kNoData) {
        co_return std::unexpected(fetched.error());
      }
    }
    const Status earlier = WriteError(fid);
    if (!earlier) {
      static_cast<void>(file->held()->TakeError());
      co_return earlier;
    }
    SHEEN_CO_TRY(co_await SyncObjects(state, file.get()));
    // What was not taken again by a server that came back meanwhile.
    const Status meanwhile = WriteError(fid);
    if (!meanwhile) {
      static_cast<void>(file->held()->TakeError());
      co_return meanwhile;
    }
    transno = file->mds_transno();
    const uint64_t committed = state->Here()->MdsCommitted();
    if (transno != 0 && Covers(committed, transno)) co_return Status();
    if (transno >> kBootShift != committed >> kBootShift) transno = 0;  // all
  }
  Status synced = co_await SyncMds(state, transno);
  if (synced && file) file->NoteTransno(state->Here()->MdsCommitted());
  co_return synced;
}

async::Task<Status> Filesystem::Flush(Fid fid) {
  const std::shared_ptr<OpenFile> file = state_->files.Find(fid);
  if (!file) co_return Status();
  if (HasHeld(file)) co_await WriteHeld(state_.get(), file);
  const Status earlier = WriteError(fid);
  if (!earlier) static_cast<void>(file->held()->TakeError());
  co_return earlier;
}

Status Filesystem::WriteError(const Fid& fid) const {
  const std::shared_ptr<OpenFile> file = state_->files.Find(fid);
  if (!file) return {};
  const std::optional<Error> error = file->held()->PeekError();
  if (!error) return {};
  return std::unexpected(Annotate(*error, fid.ToString() + ": an earlier write: "));
}

async::Task<Status> Filesystem::FsyncDir(Fid fid) {
  const Status synced = co_await SyncMds(state_.get(), 0);
  SHEEN_CO_TRY(TakeLostChange(fid));
  co_return synced;
}

async::Task<Status> Filesystem::Fallocate(Fid fid, uint64_t handle, uint32_t mode, uint64_t offset,
                                          uint64_t length) {
  State* state = state_.get();
  const bool punch = mode == (kPunchHole | kKeepSize);
  const bool known = mode == 0 || mode == kKeepSize || punch || mode == kZeroRange ||
                     mode == (kZeroRange | kKeepSize);
  if (!known) co_return Fail(Errc::kNotSupported, "fallocate mode " + std::to_string(mode));
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (!file) co_return Fail(Errc::kBadHandle, fid.ToString() + " is not open");
  if (length == 0) co_return Fail(Errc::kInvalid, "fallocate of nothing");
  const KernelCache::OwnChange changing(&state->kernel, fid);
  if (HasHeld(file)) co_await WriteHeld(state, file);
  const AllocateJob job{state, file.get(), handle, mode};
  for (int attempt = 0; attempt < kLayoutAttemptsMax; ++attempt) {
    SHEEN_CO_TRY_ASSIGN(LayoutPtr layout,
                        co_await LayoutForIo(state, file.get(), handle, IoKind::kChange));
    if (!layout && punch) co_return Status();
    if (!layout) {
      SHEEN_CO_TRY_ASSIGN(layout, co_await Instantiate(state, file.get(), handle, 0, 1));
    }
    const uint64_t limit = layout::LimitOf(*layout);
    if (offset >= limit || length > limit - offset) {
      co_return Fail(Errc::kFileTooBig,
                     fid.ToString() + " cannot grow beyond " + std::to_string(limit) + " bytes");
    }
    if (!punch && layout::NeedsInstantiation(*layout, offset, length)) {
      SHEEN_CO_TRY_ASSIGN(layout,
                          co_await Instantiate(state, file.get(), handle, offset, length));
    }
    const Status done = co_await AllocateAll(&job, layout, offset, length);
    if (done) co_return done;
    SHEEN_CO_TRY(co_await AfterRefusal(state, file.get(), handle, layout, done.error(),
                                       IoKind::kChange));
  }
  co_return std::unexpected(LayoutKeepsChanging(fid));
}

async::Task<Result<uint64_t>> Filesystem::Seek(Fid fid, uint64_t offset, SeekKind kind) {
  State* state = state_.get();
  for (int attempt = 0;; ++attempt) {
    Result<uint64_t> found = co_await SeekOnce(fid, offset, kind);
    const bool again = !found && MayBeReplaced(found.error().code());
    if (!again || attempt == kLayoutAttemptsMax) co_return found;
    // Fetched anew the next time; if it is gone itself that tells.
    const Result<LayoutPtr> newest = co_await FetchLayout(state, fid);
    if (!newest) co_return std::unexpected(newest.error());
  }
}

async::Task<Result<uint64_t>> Filesystem::SeekOnce(Fid fid, uint64_t offset, SeekKind kind) {
  State* state = state_.get();
  if (const auto open = state->files.Find(fid); HasHeld(open)) co_await WriteHeld(state, open);
  SHEEN_CO_TRY_ASSIGN(const Attr attr, co_await GetAttr(0, fid));
  if (offset >= attr.size) co_return Fail(Errc::kNoDevice, "at or beyond the end of the file");
  const Result<LayoutPtr> fetched = co_await FetchLayout(state, fid);
  if (!fetched && fetched.error().code() != Errc::kNoData) {
    co_return std::unexpected(fetched.error());
  }
  const bool hole = kind == SeekKind::kHole;
  uint64_t nearest = hole ? attr.size : layout::kEof;
  if (!fetched && hole) co_return offset;
  std::vector<async::Task<Result<uint64_t>>> tasks;
  for (uint32_t i = 0; fetched && i < (*fetched)->components.size(); ++i) {
    const layout::Component& component = (*fetched)->components[i];
    if (component.end <= offset || component.start >= attr.size) continue;
    if (!component.instantiated()) {
      if (hole) nearest = std::min(nearest, std::max(offset, component.start));
      continue;
    }
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      tasks.push_back(SeekStripe(state, *fetched, {i, stripe}, offset, hole));
    }
  }
  std::vector<Result<uint64_t>> all = co_await async::WhenAll(std::move(tasks));
  for (const Result<uint64_t>& one : all) {
    if (!one) co_return std::unexpected(one.error());
    nearest = std::min(nearest, *one);
  }
  if (hole) co_return std::min(nearest, attr.size);
  if (nearest >= attr.size) co_return Fail(Errc::kNoDevice, "no data after this offset");
  co_return nearest;
}

async::Task<Result<std::vector<TargetSpace>>> Filesystem::Targets() {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsStatFs, 0, v1::StatFsRequest());
  auto answered = co_await MdsCall<v1::StatFsReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  std::vector<TargetSpace> targets;
  for (const v1::TargetSpace& wire : answered->reply.targets()) {
    targets.push_back(TargetFromWire(wire));
  }
  std::sort(targets.begin(), targets.end(), [](const TargetSpace& a, const TargetSpace& b) {
    return std::pair(!a.is_mdt, a.index) < std::pair(!b.is_mdt, b.index);
  });
  co_return targets;
}

async::Task<Result<SpaceSummary>> Filesystem::StatFs() {
  SHEEN_CO_TRY_ASSIGN(const std::vector<TargetSpace> targets, co_await Targets());
  co_return SumSpace(targets);
}

async::Task<Result<std::vector<std::string>>> Filesystem::FidToPath(CredentialId who, Fid fid,
                                                                    uint32_t links_max) {
  v1::FidToPathRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_links_max(links_max);
  rpc::Call call = MakeCall(rpc::Opcode::kMdsFidToPath, who, request);
  auto answered = co_await MdsCall<v1::FidToPathReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::vector<std::string>(answered->reply.paths().begin(),
                                     answered->reply.paths().end());
}

}  // namespace sheen::client
