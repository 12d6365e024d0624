// Attributes: the MDS's, with the OSTs' part of size and times; truncate.

#include <sys/stat.h>

#include "client/convert.h"
#include "client/dot_lustre.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

struct SetAttrAnswer {
  v1::Attr attr;
  uint32_t bits = 0;  // locks on the inode
};

async::Task<Result<SetAttrAnswer>> SendSetAttr(State* state, CredentialId who,
                                               v1::SetAttrRequest request) {
  const Fid fid = FidFromWire(request.fid());
  LockCache::Change change(&state->locks, {fid});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsSetAttr, who, request);
  auto answered = co_await MdsChange<v1::SetAttrReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  NoteTransno(state, fid, answered->transno);
  Result<Attr> attr = AttrFromWire(answered->reply.attr());
  // A lock in spite of an unsafe size: nobody but this client writes, as after create.
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  if (attr && attr->size_unsafe && file && file->SoleWriterAttr(*attr)) attr->size_unsafe = false;
  const uint32_t bits = answered->granted.BitsOf(fid);
  if (attr) change.Keep(answered->granted.origin, *attr, bits);
  change.Done();
  // The owner goes with the layout, which has another generation now.
  if (file && attr) {
    const IoView known = file->View();
    if (attr->uid != known.uid || attr->gid != known.gid) GiveUpLayoutLock(state, file.get());
  }
  co_return SetAttrAnswer{std::move(*answered->reply.mutable_attr()), bits};
}

v1::SetAttrRequest ToWire(Fid fid, const AttrChange& change, uint64_t handle) {
  v1::SetAttrRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_valid(change.valid);
  request.set_mode(change.mode);
  request.set_uid(change.uid);
  request.set_gid(change.gid);
  request.set_atime_ns(change.atime_ns);
  request.set_mtime_ns(change.mtime_ns);
  request.set_atime_now(change.atime_now);
  request.set_mtime_now(change.mtime_now);
  request.set_handle(handle);
  return request;
}

// Truncates the objects through `handle` and tells the MDS, with the other changes.
async::Task<Result<Attr>> TruncateOpen(State* state, CredentialId who, OpenFile* file,
                                       uint64_t handle, AttrChange change) {
  SHEEN_CO_TRY(co_await TruncateObjects(state, file, handle, change.size));
  v1::SetAttrRequest request = ToWire(file->fid(), change, handle);
  request.set_valid(change.valid | v1::SET_TRUNCATED);
  request.set_ctime_seen_ns(file->ctime_seen_ns());
  SHEEN_CO_TRY_ASSIGN(const SetAttrAnswer answer,
                      co_await SendSetAttr(state, who, std::move(request)));
  SHEEN_CO_TRY_ASSIGN(Attr attr, AttrFromWire(answer.attr));
  attr.size = change.size;
  file->NoteAttr(attr);
  co_return attr;
}

// How long a file is believed to have no set-id bits while it is written.
constexpr Nanos kSetIdsWait = std::chrono::seconds(1);

}  // namespace

async::Task<Status> Filesystem::DropPrivileges(Fid fid, bool set_ids) {
  State* state = state_.get();
  const Result<std::string> capability = co_await GetXattr(0, fid, "security.capability");
  if (capability) SHEEN_CO_TRY(co_await RemoveXattr(0, fid, "security.capability"));
  const std::shared_ptr<OpenFile> file = state->files.Find(fid);
  const int64_t now = state->Here()->shard()->Now().count();
  if (!set_ids || !file || file->KnownWithoutSetIds(now)) co_return Status();
  SHEEN_CO_TRY_ASSIGN(const Attr attr, co_await GetAttr(0, fid));
  uint32_t dropped = S_ISUID;
  if ((attr.mode & S_IXGRP) != 0) dropped |= S_ISGID;
  if ((attr.mode & dropped) != 0) {
    AttrChange change;
    change.valid = v1::SET_MODE;
    change.mode = attr.mode & 07777 & ~dropped;
    const Result<Attr> changed = co_await SetAttr(0, fid, change, 0);
    if (!changed) co_return std::unexpected(changed.error());
    state->kernel.ChangedHere(fid, state->Here()->shard()->Now());
  }
  file->SetWithoutSetIds(now + kSetIdsWait.count());
  co_return Status();
}

async::Task<Result<Attr>> Filesystem::GetAttr(CredentialId who, Fid fid) {
  State* state = state_.get();
  if (IsDotLustre(fid)) co_return DotLustreAttr(fid);
  const std::optional<Attr> known = KnownAttr(fid);
  (known ? state->stats.attr_hits : state->stats.attr_misses).Add();
  if (known) co_return *known;
  if (state->files.Find(fid)) {
    const std::shared_ptr<OpenFile> settled = co_await SettledFile(state, fid);
  }
  v1::GetAttrRequest request;
  FidToWire(fid, request.mutable_fid());
  const uint64_t sent = state->locks.Moment();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetAttr, who, request);
  auto answered = co_await MdsCall<v1::GetAttrReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  const Granted& granted = answered->granted;
  Result<Attr> attr = co_await FinishAttr(state, std::move(*answered->reply.mutable_attr()),
                                          granted.BitsOf(fid));
  if (attr) state->locks.TakeAttr(sent, granted.origin, *attr, granted.BitsOf(fid));
  state->Here()->TrimLocks();
  co_return attr;
}

async::Task<Result<Attr>> Filesystem::SetAttr(CredentialId who, Fid fid, AttrChange change,
                                              uint64_t handle) {
  SHEEN_CO_TRY(CheckNotDotLustre(fid, ""));
  State* state = state_.get();
  const KernelCache::OwnChange changing(&state->kernel, fid);
  // What was written before comes before, with its times.
  if (const auto open = state->files.Find(fid); HasHeld(open)) co_await WriteHeld(state, open);
  if (change.set_size) {
    std::shared_ptr<OpenFile> file = state->files.Find(fid);
    if (handle != 0 && file) {
      Result<Attr> attr = co_await TruncateOpen(state, who, file.get(), handle, change);
      co_return attr;
    }
    SHEEN_CO_TRY_ASSIGN(const Opened opened, co_await Open(who, fid, 1 /* O_WRONLY */));
    file = state->files.Find(fid);
    Result<Attr> attr = Fail(Errc::kBadHandle, fid.ToString() + " was closed meanwhile");
    if (file) attr = co_await TruncateOpen(state, who, file.get(), opened.handle, change);
    const Status closed = co_await Close(fid, opened.handle);
    if (attr && !closed) co_return std::unexpected(closed.error());
    co_return attr;
  }
  const std::shared_ptr<OpenFile> file = co_await SettledFile(state, fid);
  if (file && (change.valid & v1::SET_MODE) != 0) file->SetWithoutSetIds(0);
  v1::SetAttrRequest request = ToWire(fid, change, handle);
  if (file) request.set_ctime_seen_ns(file->ctime_seen_ns());
  SHEEN_CO_TRY_ASSIGN(SetAttrAnswer answer, co_await SendSetAttr(state, who, request));
  SHEEN_CO_TRY_ASSIGN(Attr attr, co_await FinishAttr(state, answer.attr, answer.bits));
  // A writer elsewhere: objects may have changed later than the MDS knew, and would hide the time
  // that was set. Once more, after theirs.
  const bool hidden = attr.ctime_ns > answer.attr.ctime_ns();
  if (hidden && (change.valid & v1::SET_MTIME) != 0) {
    request.set_ctime_seen_ns(attr.ctime_ns);
    SHEEN_CO_TRY_ASSIGN(answer, co_await SendSetAttr(state, who, std::move(request)));
    SHEEN_CO_TRY_ASSIGN(attr, co_await FinishAttr(state, answer.attr, answer.bits));
  }
  co_return attr;
}

}  // namespace sheen::client
