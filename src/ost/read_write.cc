#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "ost/core.h"

namespace sheen::ost {
namespace {

// Writers wait for a commit when so many commits' worth of bytes are not durable yet.
constexpr uint64_t kUncommittedCommitsMax = 4;

Status CheckRange(uint64_t offset, uint64_t length) {
  if (offset > layout::kFileBytesMax || length > layout::kFileBytesMax - offset) {
    return Fail(Errc::kFileTooBig,
                fmt::format("offset {} + length {} is beyond the largest object", offset, length));
  }
  return {};
}

bool Exists(Object* object) {
  std::lock_guard guard(object->mutex);
  return object->exists;
}

// A write that failed half-way may have left bytes behind the object's end; they must not show up
// when the object grows over them.
async::Task<void> CutAfterFailedWrite(Target::Core* core, io::FileIo* io, ObjectPointer object) {
  const async::RwGuard guard = co_await object->lock.Exclusive();
  uint64_t size = 0;
  io::FileId file = io::FileId::kNone;
  {
    std::lock_guard object_guard(object->mutex);
    if (!object->exists || object->destroyed) co_return;
    size = object->size;
    file = object->file;
  }
  const Result<io::FileStat> stat = co_await io->Stat(file);
  if (stat && stat->size <= size) co_return;
  const Status cut = co_await io->Truncate(file, size);
  if (!cut) core->StopServing(core->Named(cut.error(), object->id));
}

// Held in a way that fits: alone when the object has to be made, shared else.
async::Task<Result<async::RwGuard>> LockForWrite(Target::Core* core, io::FileIo* io,
                                                 ObjectPointer object, const WriteArgs* args) {
  async::RwGuard guard = co_await object->lock.Shared();
  SHEEN_CO_TRY(core->CheckUsable(object.get(), core->GenerationOf(*args)));
  if (Exists(object.get())) co_return std::move(guard);
  guard.Release();
  guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckUsable(object.get(), core->GenerationOf(*args)));
  if (!Exists(object.get())) {
    if (!args->create) SHEEN_CO_TRY(core->RefuseAbsent(object->id));
    SHEEN_CO_TRY(co_await core->Create(io, object, args->owner));
  }
  co_return std::move(guard);
}

// Charges what was written; what was reserved and not needed goes back.
void ChargeWritten(Target::Core* core, Object* object, uint64_t offset, uint64_t length,
                   uint64_t reserved) {
  const uint64_t needed = Target::Core::NewBytes(object, offset, length);
  std::lock_guard guard(object->mutex);
  const uint64_t charged = std::min(needed, reserved);
  object->charged_bytes += charged;
  if (RoundDown(offset) <= object->dense_end) {
    object->dense_end = std::max(object->dense_end, RoundUp(offset + length));
  }
  core->space.Unreserve(reserved - charged);
}

async::Task<Result<ChangeResult>> WriteLocked(Target::Core* core, io::FileIo* io,
                                              ObjectPointer object, WriteArgs args) {
  Result<async::RwGuard> guard = co_await LockForWrite(core, io, object, &args);
  if (!guard) core->space.ReturnGrant(args.granted);
  if (!guard) co_return std::unexpected(guard.error());
  const uint64_t length = args.data.size();
  Status ready = core->CheckPresent(object.get(), args.offset, length, true);
  if (ready) ready = co_await core->NoteChange(object, args.offset, length, false);
  if (!ready) {
    core->space.ReturnGrant(args.granted);
    co_return std::unexpected(ready.error());
  }
  SHEEN_CO_TRY_ASSIGN(const uint64_t reserved,
                      co_await core->Reserve(io, object, args.offset, length, args.granted));
  io::FileId file = io::FileId::kNone;
  {
    std::lock_guard object_guard(object->mutex);
    file = object->file;
  }
  const Status written = co_await io->Write(file, args.data, args.offset);
  if (!written) {
    core->space.Unreserve(reserved);
    core->NoteFailure(written.error());
    guard->Release();
    co_await CutAfterFailedWrite(core, io, object);
    co_return std::unexpected(core->Named(written.error(), object->id));
  }
  ChargeWritten(core, object.get(), args.offset, length, reserved);
  SHEEN_CO_TRY(co_await core->NoteChange(object, args.offset, length, true));
  co_return core->Finish(object, {.bytes = length,
                                  .size_at_least = args.offset + length,
                                  .ctime_seen_ns = args.ctime_seen_ns,
                                  .decided_ctime_ns = args.decided_ctime_ns,
                                  .owner = args.owner,
                                  .request = args.request});
}

async::Task<Result<ObjectPointer>> LoadForWrite(Target::Core* core, io::FileIo* io,
                                                const WriteArgs* args) {
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY(CheckRange(args->offset, args->data.size()));
  if (core->uncommitted_bytes.load(std::memory_order_relaxed) >
      core->options.commit_bytes * kUncommittedCommitsMax) {
    SHEEN_CO_TRY(co_await core->commit_group.Run(io));
  }
  co_return co_await core->Load(io, args->id);
}

}  // namespace

async::Task<Result<ChangeResult>> Target::Write(io::FileIo* io, WriteArgs args) {
  Core* core = core_.get();
  Result<ObjectPointer> loaded = co_await LoadForWrite(core, io, &args);
  if (!loaded || args.data.empty()) core->space.ReturnGrant(args.granted);
  if (!loaded) co_return std::unexpected(loaded.error());
  const ObjectPointer object = *loaded;
  if (args.data.empty()) co_return ChangeResult{Core::AttrOf(object.get()), 0};
  Result<ChangeResult> result = co_await WriteLocked(core, io, object, args);
  if (!result) co_return result;
  if (args.sync) {
    SHEEN_CO_TRY(co_await core->commit_group.Run(io));
  } else {
    core->RequestCommitIfDue(io);
  }
  SHEEN_CO_TRY(core->CheckServing());
  co_return result;
}

async::Task<Result<ReadResult>> Target::Read(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                             MutableByteSpan out, uint32_t layout_generation) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY(CheckRange(offset, out.size()));
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Shared();
  const uint32_t generation = layout_generation == 0 ? UINT32_MAX : layout_generation;
  SHEEN_CO_TRY(core->CheckUsable(object.get(), generation));
  ReadResult result{0, Core::AttrOf(object.get())};
  if (!result.attr.exists) SHEEN_CO_TRY(core->CheckNotDestroyed(id));
  if (!result.attr.exists || offset >= result.attr.size) co_return result;
  const size_t wanted = std::min<uint64_t>(out.size(), result.attr.size - offset);
  SHEEN_CO_TRY(core->CheckPresent(object.get(), offset, wanted, false));
  io::FileId file = io::FileId::kNone;
  {
    std::lock_guard object_guard(object->mutex);
    file = object->file;
  }
  const Result<size_t> got = co_await io->Read(file, out.first(wanted), offset);
  if (!got) {
    co_return std::unexpected(core->Named(
        Annotate(got.error(), fmt::format("read of {} bytes at {}: ", wanted, offset)), id));
  }
  if (*got < wanted) {
    const Error damage =
        core->Named(Error(Errc::kCorrupt, fmt::format("its file ends at {}, {} bytes expected",
                                                      offset + *got, result.attr.size)),
                    id);
    SHEEN_LOG(Error, "{}", damage.ToString());
    co_return std::unexpected(damage);
  }
  result.bytes = *got;
  co_return result;
}

async::Task<Result<ObjectAttr>> Target::GetAttr(io::FileIo* io, layout::ObjectId id) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Shared();
  bool exists = false;
  {
    std::lock_guard object_guard(object->mutex);
    exists = object->exists && !object->destroyed;
  }
  if (!exists) SHEEN_CO_TRY(core->CheckNotDestroyed(id));
  if (!exists) co_return ObjectAttr();
  SHEEN_CO_TRY(core->CheckReadable(object.get()));
  const Result<io::FileStat> stat = co_await io->Stat(object->file);
  if (!stat) co_return std::unexpected(core->Named(stat.error(), id));
  ObjectAttr attr = Core::AttrOf(object.get());
  std::lock_guard object_guard(object->mutex);
  attr.allocated_bytes =
      CountedBytes(stat->allocated_bytes, attr.size, object->record.preallocated_end);
  co_return attr;
}

async::Task<Result<SeekResult>> Target::Seek(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                             bool hole) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY(CheckRange(offset, 0));
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Shared();
  SHEEN_CO_TRY(core->CheckReadable(object.get()));
  const ObjectAttr attr = Core::AttrOf(object.get());
  if (!attr.exists) SHEEN_CO_TRY(core->CheckNotDestroyed(id));
  SeekResult result{false, offset, attr.size};
  if (offset >= attr.size) {
    result.found = hole;
    co_return result;
  }
  const Result<uint64_t> at = co_await core->SeekWithSource(io, object, offset, hole);
  if (!at && at.error().code() != Errc::kNoDevice) {
    co_return std::unexpected(core->Named(at.error(), id));
  }
  // Beyond the size there is only a hole, whatever a write in flight has put there.
  result.found = hole || (at && *at < attr.size);
  result.offset = at ? std::min(*at, attr.size) : attr.size;
  co_return result;
}

}  // namespace sheen::ost
