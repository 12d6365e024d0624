// Operations on names: one request to the MDS each.

#include <sys/stat.h>

#include <optional>
#include <unordered_map>

#include "client/convert.h"
#include "client/dot_lustre.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr uint32_t kRenameExchange = 2;  // RENAME_EXCHANGE of rename(2)
// The kernel asks for names of up to 1,024 bytes.
constexpr size_t kNameBytesMax = 255;

// A directory whose entries this mount has changed.
void KeepDirectory(const Granted& granted, const v1::Attr& wire, LockCache::Change* change) {
  const Result<Attr> attr = AttrFromWire(wire);
  if (attr) change->Keep(granted.origin, *attr, granted.BitsOf(attr->fid));
}

template <class Request>
void NameToWire(Fid parent, std::string name, Request* request) {
  FidToWire(parent, request->mutable_parent());
  request->set_name(std::move(name));
}

async::Task<Result<Attr>> MakeAny(State* state, CredentialId who, v1::MakeNodeRequest request) {
  SHEEN_CO_TRY_ASSIGN(const Fid fid, co_await state->Here()->NewFid());
  FidToWire(fid, request.mutable_fid());
  const Fid parent = FidFromWire(request.parent());
  LockCache::Change change(&state->locks, {parent});
  // After the change has begun: the cache may keep both inodes in one place.
  const uint64_t sent = state->locks.Moment();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsMakeNode, who, request);
  auto answered =
      co_await MdsChange<v1::MakeNodeReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  SHEEN_CO_TRY_ASSIGN(const Attr attr, AttrFromWire(answered->reply.attr()));
  const Granted& granted = answered->granted;
  const uint64_t generation = state->locks.TakeNew(sent, granted.origin, attr,
                                                   granted.BitsOf(fid), S_ISDIR(attr.mode));
  KeepDirectory(granted, answered->reply.parent_attr(), &change);
  change.SetName(parent, request.name(), fid, generation);
  change.Done();
  state->Here()->TrimLocks();
  co_return attr;
}

// A name that the locks of this mount cover. nullopt: the MDS is to be asked.
std::optional<Result<Attr>> KnownName(State* state, const Fid& parent, const std::string& name) {
  const Nanos now = state->Here()->shard()->Now();
  const LockCache::NameAnswer known = state->locks.FindName(parent, name, now);
  switch (known.state) {
    case LockCache::NameState::kAbsent:
      return Result<Attr>(Fail(Errc::kNoEntry));
    case LockCache::NameState::kPresent: {
      const std::optional<Attr> attr = AttrNow(state, known.attr);
      if (!attr) return std::nullopt;
      return Result<Attr>(*attr);
    }
    case LockCache::NameState::kUnknown:
      return std::nullopt;
  }
  return std::nullopt;
}

void TakeListing(State* state, uint64_t sent, const Fid& directory, const Granted& granted,
                 const DirBatch& batch) {
  LockCache* locks = &state->locks;
  std::unordered_map<Fid, uint32_t> bits;
  for (const HeldLock& held : granted.locks) bits[held.fid] |= held.bits;
  const bool listed = (bits[directory] & lock::kUpdate) != 0;
  if (listed) locks->TakeDirectory(sent, granted.origin, directory);
  for (const DirEntry& entry : batch.entries) {
    const uint32_t held = bits[entry.fid];
    if (entry.has_attr && held != 0) locks->TakeAttr(sent, granted.origin, entry.attr, held);
    if (listed) locks->TakeListed(sent, granted.origin, directory, entry.name, entry.fid, held);
  }
  state->Here()->TrimLocks();
}

// The child, as far as it is known or can be asked for.
async::Task<Fid> ChildOf(Filesystem* fs, CredentialId who, Fid parent, std::string name) {
  const Fid known = fs->state()->locks.PeekName(parent, name);
  if (!known.empty()) co_return known;
  const Result<Attr> found = co_await fs->Lookup(who, parent, std::move(name));
  co_return found ? found->fid : Fid{};
}

// By the MDS, which checks that `who` may search the directory.
async::Task<Result<Attr>> AskName(State* state, CredentialId who, Fid parent, std::string name) {
  const bool special = name == "." || name == "..";
  v1::LookupRequest request;
  NameToWire(parent, name, &request);
  for (bool settled = false;; settled = true) {
    const uint64_t sent = state->locks.Moment();
    rpc::Call call = MakeCall(rpc::Opcode::kMdsLookup, who, request);
    auto answered = co_await MdsCall<v1::LookupReply>(state->Here(), std::move(call));
    if (!answered) co_return std::unexpected(answered.error());
    const Granted& granted = answered->granted;
    if (answered->reply.negative()) {
      if ((granted.BitsOf(parent) & lock::kUpdate) != 0) {
        state->locks.TakeAbsent(sent, granted.origin, parent, name);
        state->Here()->TrimLocks();
      }
      co_return Fail(Errc::kNoEntry);
    }
    // A close of this mount may be on its way: then the size is asked for after it.
    const Fid fid = FidFromWire(answered->reply.attr().fid());
    const std::shared_ptr<OpenFile> file = state->files.Find(fid);
    if (!settled && file && file->closing()) {
      const std::shared_ptr<OpenFile> open = co_await SettledFile(state, fid);
      continue;
    }
    const uint32_t bits = granted.BitsOf(fid);
    Result<Attr> attr =
        co_await FinishAttr(state, std::move(*answered->reply.mutable_attr()), bits);
    if (!attr || special || bits == 0) co_return attr;
    state->locks.TakeAttr(sent, granted.origin, *attr, bits);
    state->locks.TakeName(sent, granted.origin, parent, name, fid, bits & lock::kLookup);
    state->Here()->TrimLocks();
    co_return attr;
  }
}

}  // namespace

async::Task<Result<Attr>> Filesystem::Lookup(CredentialId who, Fid parent, std::string name) {
  State* state = state_.get();
  const bool special = name == "." || name == "..";
  if (name.size() > kNameBytesMax) co_return Fail(Errc::kNameTooLong);
  if (state->root == kRootFid) {
    if (const std::optional<Result<Fid>> child = DotLustreChild(parent, name)) {
      if (!*child) co_return std::unexpected(child->error());
      Result<Attr> attr = co_await GetAttr(who, **child);
      const bool gone = !attr && attr.error().code() == Errc::kStale;
      if (gone) co_return Fail(Errc::kNoEntry, (*child)->ToString() + " is no object any more");
      co_return attr;
    }
  }
  if (!special) {
    const std::optional<Result<Attr>> known = KnownName(state, parent, name);
    (known ? state->stats.name_hits : state->stats.name_misses).Add();
    if (known) co_return *known;
  }
  co_return co_await AskName(state, who, parent, std::move(name));
}

// With the check that a kernel does before it asks, as names known under a lock are told to anyone.
async::Task<Result<Attr>> Filesystem::Search(CredentialId who, Attr parent, std::string name) {
  const std::optional<bool> may = ModeAllows(state_->credentials, who, parent, 1);
  if (may == false) co_return Fail(Errc::kAccess);
  if (may) co_return co_await Lookup(who, parent.fid, std::move(name));
  if (name.size() > kNameBytesMax) co_return Fail(Errc::kNameTooLong);
  if (state_->root == kRootFid && DotLustreChild(parent.fid, name)) co_return Fail(Errc::kAccess);
  co_return co_await AskName(state_.get(), who, parent.fid, std::move(name));
}

async::Task<Result<Attr>> Filesystem::MakeNode(CredentialId who, Fid parent, std::string name,
                                               NodeOptions options) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  v1::MakeNodeRequest request;
  NameToWire(parent, std::move(name), &request);
  request.set_mode(options.mode);
  request.set_umask(options.umask);
  request.set_rdev(options.rdev);
  Result<Attr> made = co_await MakeAny(state_.get(), who, std::move(request));
  co_return made;
}

async::Task<Result<Attr>> Filesystem::Symlink(CredentialId who, Fid parent, std::string name,
                                              std::string target) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  v1::MakeNodeRequest request;
  NameToWire(parent, std::move(name), &request);
  request.set_mode(0120777);
  request.set_symlink_target(std::move(target));
  Result<Attr> made = co_await MakeAny(state_.get(), who, std::move(request));
  co_return made;
}

async::Task<Result<Attr>> Filesystem::Link(CredentialId who, Fid fid, Fid parent,
                                           std::string name) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  State* state = state_.get();
  v1::LinkRequest request;
  FidToWire(fid, request.mutable_fid());
  NameToWire(parent, std::move(name), &request);
  const std::shared_ptr<OpenFile> settled = co_await SettledFile(state, fid);
  LockCache::Change change(&state->locks, {fid, parent});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsLink, who, request);
  auto answered = co_await MdsChange<v1::LinkReply>(state->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  NoteTransno(state, fid, answered->transno);
  const Granted& granted = answered->granted;
  const Result<Attr> known = AttrFromWire(answered->reply.attr());
  const uint64_t generation =
      known ? change.Keep(granted.origin, *known, granted.BitsOf(fid)) : uint64_t{0};
  KeepDirectory(granted, answered->reply.parent_attr(), &change);
  change.SetName(parent, request.name(), fid, generation);
  change.Done();
  Result<Attr> attr = co_await FinishAttr(state, std::move(*answered->reply.mutable_attr()),
                                          granted.BitsOf(fid));
  co_return attr;
}

async::Task<Status> Filesystem::Unlink(CredentialId who, Fid parent, std::string name) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  v1::UnlinkRequest request;
  NameToWire(parent, std::move(name), &request);
  LockCache* locks = &state_->locks;
  LockCache::Change change(locks, {parent}, {locks->PeekName(parent, request.name())});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsUnlink, who, request);
  auto answered = co_await MdsChange<v1::UnlinkReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  const Fid fid = FidFromWire(answered->reply.fid());
  NoteTransno(state_.get(), fid, answered->transno);
  KeepDirectory(answered->granted, answered->reply.parent_attr(), &change);
  change.SetAbsent(parent, request.name());
  locks->Forget(fid);
  change.Done();
  co_return Status();
}

async::Task<Status> Filesystem::RemoveDir(CredentialId who, Fid parent, std::string name) {
  SHEEN_CO_TRY(CheckNotDotLustre(parent, name));
  v1::RemoveDirRequest request;
  NameToWire(parent, std::move(name), &request);
  LockCache* locks = &state_->locks;
  LockCache::Change change(locks, {parent}, {locks->PeekName(parent, request.name())});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsRemoveDir, who, request);
  auto answered = co_await MdsChange<v1::RemoveDirReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  KeepDirectory(answered->granted, answered->reply.parent_attr(), &change);
  change.SetAbsent(parent, request.name());
  locks->Forget(FidFromWire(answered->reply.fid()));
  change.Done();
  co_return Status();
}

async::Task<Status> Filesystem::Rename(CredentialId who, Fid old_parent, std::string old_name,
                                       Fid new_parent, std::string new_name, uint32_t flags) {
  SHEEN_CO_TRY(CheckNotDotLustre(old_parent, old_name));
  SHEEN_CO_TRY(CheckNotDotLustre(new_parent, new_name));
  v1::RenameRequest request;
  FidToWire(old_parent, request.mutable_old_parent());
  request.set_old_name(std::move(old_name));
  FidToWire(new_parent, request.mutable_new_parent());
  request.set_new_name(std::move(new_name));
  request.set_flags(flags);
  LockCache* locks = &state_->locks;
  const Fid source = co_await ChildOf(this, who, old_parent, request.old_name());
  const Fid target = locks->PeekName(new_parent, request.new_name());
  // The kernel takes what it was told of the old name for the new one, too.
  const Nanos now = state_->Here()->shard()->Now();
  state_->kernel.NoteMove(source, {new_parent, request.new_name()}, now);
  if ((flags & kRenameExchange) != 0) {
    state_->kernel.NoteMove(target, {old_parent, request.old_name()}, now);
  }
  LockCache::Change change(locks, {old_parent, new_parent}, {source, target});
  rpc::Call call = MakeCall(rpc::Opcode::kMdsRename, who, request);
  auto answered = co_await MdsChange<v1::RenameReply>(state_->Here(), std::move(call), &change);
  if (!answered) co_return std::unexpected(answered.error());
  const v1::RenameReply& reply = answered->reply;
  const Fid moved = FidFromWire(reply.fid());
  const Fid replaced = FidFromWire(reply.replaced());
  NoteTransno(state_.get(), moved, answered->transno);
  KeepDirectory(answered->granted, reply.old_parent_attr(), &change);
  KeepDirectory(answered->granted, reply.new_parent_attr(), &change);
  locks->Forget(moved);
  locks->Forget(replaced);
  // Of two names of one file nothing happens to either.
  const bool nothing = moved == replaced;
  const bool exchanged = !nothing && (flags & kRenameExchange) != 0;
  change.SetName(new_parent, request.new_name(), moved, 0);
  if (nothing || exchanged) {
    change.SetName(old_parent, request.old_name(), replaced, 0);
  } else {
    change.SetAbsent(old_parent, request.old_name());
  }
  change.Done();
  co_return Status();
}

async::Task<Result<std::string>> Filesystem::ReadLink(CredentialId who, Fid fid) {
  v1::ReadLinkRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReadLink, who, request);
  auto answered = co_await MdsCall<v1::ReadLinkReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(*answered->reply.mutable_target());
}

async::Task<Result<DirBatch>> Filesystem::ReadDir(CredentialId who, Fid fid, uint64_t cookie,
                                                  bool plus) {
  constexpr uint32_t kBatchBytes = 256 << 10;
  if (IsDotLustre(fid)) co_return Fail(Errc::kPerm, "the objects of a filesystem are not listed");
  // Whoever opened it was allowed to; the MDS may not have been told of the handle.
  if (state_->files.Find(fid)) who = 0;
  v1::ReadDirRequest request;
  FidToWire(fid, request.mutable_fid());
  request.set_cookie(cookie);
  request.set_bytes_max(kBatchBytes);
  request.set_plus(plus);
  const uint64_t sent = state_->locks.Moment();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsReadDir, who, request);
  auto answered = co_await MdsCall<v1::ReadDirReply>(state_->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  DirBatch batch;
  batch.end = answered->reply.end();
  batch.parent = FidFromWire(answered->reply.parent());
  batch.entries.reserve(static_cast<size_t>(answered->reply.entries_size()));
  for (const v1::Entry& wire : answered->reply.entries()) {
    SHEEN_CO_TRY_ASSIGN(DirEntry entry, EntryFromWire(wire, plus));
    batch.entries.push_back(std::move(entry));
  }
  if (batch.entries.empty() && !batch.end) {
    co_return Fail(Errc::kProtocol, "mds0: a part of " + fid.ToString() + " without an entry");
  }
  if (plus) TakeListing(state_.get(), sent, fid, answered->granted, batch);
  co_return batch;
}

}  // namespace sheen::client
