// Truncate, punch, zero, allocate. What takes bytes away is written down before the file is
// touched (the intent: pending operation of the row, durable), so that after a crash at any point
// either nothing has happened or the operation is done again:
//
//   row with the intent -> store sync -> file operation -> row "done" (not synced) -> ... commit
//
// A killed process: "done" in the row, nothing to do (later writes into the range must stay); not
// done: redone. A power cut: redone in both cases, since nothing after it was committed.
// Bytes that no commit has recorded need no intent: losing them or keeping them is the same.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/falloc.h>

#include <algorithm>

#include "ost/core.h"

namespace sheen::ost {
namespace {

Status CheckRange(uint64_t offset, uint64_t length) {
  if (offset > layout::kFileBytesMax || length > layout::kFileBytesMax - offset) {
    return Fail(Errc::kFileTooBig,
                fmt::format("offset {} + length {} is beyond the largest object", offset, length));
  }
  return {};
}

io::FileId FileOf(Object* object) {
  std::lock_guard guard(object->mutex);
  return object->file;
}

// Would `operation` do all that the intent `old` would?
bool Covers(const PendingOperation& operation, const PendingOperation& old) {
  if (old.kind == PendingKind::kNone) return true;
  if (operation.kind == PendingKind::kTruncate) {
    return old.kind == PendingKind::kTruncate && operation.offset <= old.offset;
  }
  return operation == old;
}

// After a cut: the object counts what its file holds now.
async::Task<Status> Recount(Target::Core* core, io::FileIo* io, ObjectPointer object) {
  const Result<io::FileStat> stat = co_await io->Stat(FileOf(object.get()));
  if (!stat) co_return std::unexpected(core->Named(stat.error(), object->id));
  std::lock_guard guard(object->mutex);
  const uint64_t counted =
      CountedBytes(stat->allocated_bytes, object->size, object->record.preallocated_end);
  core->space.Uncharge(object->charged_bytes);
  core->space.Charge(counted);
  object->charged_bytes = counted;
  object->dense_end = stat->allocated_bytes >= RoundUp(stat->size) ? RoundUp(stat->size) : 0;
  co_return Status();
}

async::Task<Status> TruncateFile(Target::Core* core, io::FileIo* io, ObjectPointer object,
                                 uint64_t size) {
  uint64_t old_size = 0;
  {
    std::lock_guard guard(object->mutex);
    old_size = object->size;
  }
  if (size < old_size) {
    SHEEN_CO_TRY(co_await core->CutSource(io, object, size));
    SHEEN_CO_TRY(co_await core->BeginPending(io, object, {PendingKind::kTruncate, size, 0}));
  }
  const Status cut = co_await io->Truncate(FileOf(object.get()), size);
  if (!cut) {
    // The row may say already what the file does not: only a restart puts that right.
    if (size < old_size) core->StopServing(core->Named(cut.error(), object->id));
    core->NoteFailure(cut.error());
    co_return std::unexpected(core->Named(cut.error(), object->id));
  }
  co_return co_await core->EndPending(object, size);
}

// The file operation of an Allocate.
async::Task<Status> AllocateFile(io::FileIo* io, io::FileId file, AllocateArgs args,
                                 uint64_t size) {
  const Status done = co_await io->Allocate(file, args.mode, args.offset, args.length);
  const bool zero = (args.mode & FALLOC_FL_ZERO_RANGE) != 0;
  if (done || !zero || done.error().code() != Errc::kNotSupported) co_return done;
  // File systems without ZERO_RANGE: a hole reads as zeros too.
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  SHEEN_CO_TRY(co_await io->Allocate(file, kPunch, args.offset, args.length));
  const uint64_t end = args.offset + args.length;
  if ((args.mode & FALLOC_FL_KEEP_SIZE) != 0 || end <= size) co_return Status();
  co_return co_await io->Truncate(file, end);
}

Status CheckMode(int mode) {
  switch (mode) {
    case 0:
    case FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE:
    case FALLOC_FL_ZERO_RANGE:
    case FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE:
      return {};
    default:
      return Fail(Errc::kNotSupported,
                  fmt::format("fallocate mode {:#x}: only allocation, KEEP_SIZE, PUNCH_HOLE and "
                              "ZERO_RANGE are supported",
                              mode));
  }
}

async::Task<Result<ChangeResult>> AllocateLocked(Target::Core* core, io::FileIo* io,
                                                 ObjectPointer object, AllocateArgs args) {
  const bool punch = (args.mode & FALLOC_FL_PUNCH_HOLE) != 0;
  const bool zero = (args.mode & FALLOC_FL_ZERO_RANGE) != 0;
  const bool keep_size = (args.mode & FALLOC_FL_KEEP_SIZE) != 0;
  uint64_t reserved = 0;
  if (punch || zero) {
    SHEEN_CO_TRY(core->CheckPresent(object.get(), args.offset, args.length, true));
  }
  if (!punch) {
    SHEEN_CO_TRY_ASSIGN(reserved, co_await core->Reserve(io, object, args.offset, args.length));
  }
  if (punch || zero) {
    const Status punched = co_await core->PunchSource(io, object, args.offset, args.length);
    if (!punched) {
      core->space.Unreserve(reserved);
      co_return std::unexpected(punched.error());
    }
  }
  uint64_t size = 0;
  {
    std::lock_guard guard(object->mutex);
    size = object->size;
  }
  Status done;
  if (punch || zero) {
    const PendingKind kind = punch ? PendingKind::kPunch : PendingKind::kZero;
    done = co_await core->BeginPending(io, object, {kind, args.offset, args.length});
  }
  if (done) {
    done = co_await AllocateFile(io, FileOf(object.get()), args, size);
    if (!done) core->NoteFailure(done.error());
    // The row may say already what the file does not: only a restart puts that right.
    if (!done && (punch || zero)) core->StopServing(core->Named(done.error(), object->id));
  }
  if (!done) {
    core->space.Unreserve(reserved);
    co_return std::unexpected(core->Named(done.error(), object->id));
  }
  if (punch || zero) {
    SHEEN_CO_TRY(co_await core->EndPending(object, std::nullopt));
  }
  const uint64_t end = args.offset + args.length;
  ChangeResult result = core->Finish(object, {.size_at_least = keep_size ? 0 : end,
                                              .preallocated_end = keep_size && !punch ? end : 0,
                                              .ctime_seen_ns = args.ctime_seen_ns,
                                              .decided_ctime_ns = args.decided_ctime_ns,
                                              .owner = args.owner,
                                              .request = args.request});
  const Status counted = co_await Recount(core, io, object);
  core->space.Unreserve(reserved);
  SHEEN_CO_TRY(counted);
  SHEEN_CO_TRY(core->CheckServing());
  result.attr = Target::Core::AttrOf(object.get());
  co_return result;
}

// The object's row is about to change in a way that a commit under way must not undo.
// True: the row already says less than `operation` takes away; no intent is needed.
bool StartCut(Object* object, const PendingOperation& operation, IndexRecord* record) {
  std::lock_guard guard(object->mutex);
  ++object->version;
  object->cutting = true;
  *record = object->record;
  return operation.offset >= record->size && record->pending.kind == PendingKind::kNone;
}

void AbandonCut(Object* object) {
  std::lock_guard guard(object->mutex);
  object->cutting = false;
}

}  // namespace

async::Task<Status> Target::Core::BeginPending(io::FileIo* io, ObjectPointer object,
                                               PendingOperation operation) {
  {
    std::unique_lock guard(object->mutex);
    const bool covers = Covers(operation, object->record.pending);
    guard.unlock();
    // The caller holds the object alone, so a commit clears the intent that is there.
    if (!covers) SHEEN_CO_TRY(co_await commit_group.Run(io));
  }
  {
    const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
    IndexRecord record;
    if (StartCut(object.get(), operation, &record)) co_return Status();
    record.pending = operation;
    record.pending_done = false;
    if (operation.kind == PendingKind::kTruncate) {
      record.size = std::min(record.size, operation.offset);
    }
    kv::Batch batch;
    const std::string key = ObjectKey(object->id);
    batch.Put(kObjectFamily, key, EncodeRecord(record));
    batch.Put(kPendingFamily, key, {});
    const Status written = co_await WriteRows(&batch);
    if (!written) {
      AbandonCut(object.get());
      co_return written;
    }
    std::lock_guard guard(object->mutex);
    object->record = std::move(record);
  }
  co_return co_await SyncIndex(io);
}

async::Task<Status> Target::Core::EndPending(ObjectPointer object, std::optional<uint64_t> size) {
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  IndexRecord record;
  {
    std::lock_guard guard(object->mutex);
    // The version stays: a size that was captured before a growth is as good as before, and a row
    // left out of that commit would keep an intent from before what the commit made durable.
    object->cutting = false;
    if (size) object->size = *size;
    if (object->record.pending.kind == PendingKind::kNone || object->record.pending_done) {
      co_return Status();
    }
    record = object->record;
  }
  record.pending_done = true;
  kv::Batch batch;
  batch.Put(kObjectFamily, ObjectKey(object->id), EncodeRecord(record));
  const Status written = co_await WriteRows(&batch);
  if (!written) {
    // Without it a restart would do the operation again, over what is written from now on.
    StopServing(written.error());
    co_return written;
  }
  std::lock_guard guard(object->mutex);
  object->record.pending_done = true;
  co_return Status();
}

async::Task<Result<ChangeResult>> Target::Truncate(io::FileIo* io, TruncateArgs args) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY(CheckRange(args.size, 0));
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, args.id));
  const async::RwGuard guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckUsable(object.get(), core->GenerationOf(args)));
  if (!Core::AttrOf(object.get()).exists) {
    if (!args.create) co_return core->FinishNothing(args.request);
    SHEEN_CO_TRY(co_await core->Create(io, object, args.owner));
  }
  SHEEN_CO_TRY(co_await TruncateFile(core, io, object, args.size));
  ChangeResult result = core->Finish(
      object, {.size = args.size,
               .ctime_seen_ns = args.ctime_seen_ns,
               .decided_ctime_ns = args.decided_ctime_ns,
               .owner = args.owner,
               .request = args.request});
  SHEEN_CO_TRY(co_await Recount(core, io, object));
  SHEEN_CO_TRY(core->CheckServing());
  result.attr = Core::AttrOf(object.get());
  core->RequestCommitIfDue(io);
  co_return result;
}

async::Task<Result<ChangeResult>> Target::Allocate(io::FileIo* io, AllocateArgs args) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY(CheckMode(args.mode));
  SHEEN_CO_TRY(CheckRange(args.offset, args.length));
  if (args.length == 0) co_return Fail(Errc::kInvalid, "fallocate of no bytes");
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, args.id));
  const async::RwGuard guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckUsable(object.get(), core->GenerationOf(args)));
  if (!Core::AttrOf(object.get()).exists) {
    if ((args.mode & FALLOC_FL_PUNCH_HOLE) != 0) {
      co_return core->FinishNothing(args.request);  // a hole already
    }
    if (!args.create) SHEEN_CO_TRY(core->RefuseAbsent(object->id));
    SHEEN_CO_TRY(co_await core->Create(io, object, args.owner));
  }
  Result<ChangeResult> result = co_await AllocateLocked(core, io, object, args);
  if (result) core->RequestCommitIfDue(io);
  co_return result;
}

}  // namespace sheen::ost
