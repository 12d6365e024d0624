// Objects whose bytes may be in S3. What the disk says of a block is never better than its data:
//
//   attach    file (emptied, then as long as the source), row with all absent
//   fill      file; the mark in memory; the row with the commit that has synced the file
//   write     clean blocks: row "dirty", then file. Absent ones: file, then row "unsynced", which
//             the next commit makes "dirty". A killed process finds "unsynced" data in the kernel's
//             memory; under another kernel such a block is absent, as before the write.
//   truncate  row with the source's new end; store sync; then as any other
//   punch     row with the holes; store sync; then as any other
//   release   row "absent"; store sync; readers drained (the object's lock); file punched
//
// A fill holds the object alone, and fills only what is still absent: it never lands on a write.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>

#include "base/log.h"
#include "ost/core.h"

namespace sheen::ost {
namespace {

constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;

bool HasSource(Object* object) {
  std::lock_guard guard(object->mutex);
  return object->exists && object->residency.has_value();
}

io::FileId FileOf(Object* object) {
  std::lock_guard guard(object->mutex);
  return object->file;
}

// What a change of the range, or its end (`after`), does to the state of a block; nullopt: nothing.
std::optional<BlockState> ChangedState(BlockState on_row, bool after) {
  if (on_row == BlockState::kClean) return BlockState::kDirty;
  if (on_row == BlockState::kAbsent && after) return BlockState::kUnsynced;
  return std::nullopt;
}

bool NeedsMark(Object* object, uint64_t offset, uint64_t length, bool after) {
  std::lock_guard guard(object->mutex);
  if (!object->record.residency) return false;
  const Residency& row = *object->record.residency;
  const Residency::Blocks touched = row.Touched(offset, length);
  for (uint64_t block = touched.first; block < touched.last; ++block) {
    if (ChangedState(row.blocks[block], after)) return true;
  }
  return false;
}

// REQUIRES: the object's mutex and row_lock.
void Mark(Object* object, uint64_t machine, uint64_t offset, uint64_t length, bool after) {
  Residency* const live = &*object->residency;
  Residency* const row = &*object->record.residency;
  const Residency::Blocks touched = live->Touched(offset, length);
  for (uint64_t block = touched.first; block < touched.last; ++block) {
    const std::optional<BlockState> state = ChangedState(row->blocks[block], after);
    if (!state) continue;
    live->blocks[block] = row->blocks[block] = *state;
    live->machine = row->machine = machine;
  }
}

struct Range {
  uint64_t offset = 0;
  uint64_t length = 0;
};

struct Dropped {
  uint64_t bytes = 0;         // that were clean
  std::vector<Range> absent;  // and what was absent before: a crash may have kept its punch from it
};

// Clean blocks become absent. To the end of S3's part only: what was written behind it is not S3's
// to drop. REQUIRES: the object's mutex and row_lock.
Dropped DropClean(Object* object) {
  Dropped out;
  Residency* const live = &*object->residency;
  for (uint64_t block = 0; block < live->blocks.size(); ++block) {
    const bool clean = live->blocks[block] == BlockState::kClean;
    if (!clean && live->blocks[block] != BlockState::kAbsent) continue;
    live->blocks[block] = object->record.residency->blocks[block] = BlockState::kAbsent;
    const Residency::Part part = live->PartOf(block);
    const uint64_t bytes = part.end - part.begin;
    if (clean) out.bytes += bytes;
    if (!out.absent.empty() &&
        out.absent.back().offset + out.absent.back().length == part.begin) {
      out.absent.back().length += bytes;
    } else {
      out.absent.push_back({part.begin, bytes});
    }
  }
  // What a commit under way has captured as present is not any more.
  if (out.bytes > 0) ++object->releases;
  return out;
}

}  // namespace

async::Task<Status> Target::Core::WriteRow(ObjectPointer object) {
  kv::Batch batch;
  {
    std::lock_guard guard(object->mutex);
    batch.Put(kObjectFamily, ObjectKey(object->id), EncodeRecord(object->record));
  }
  co_return co_await WriteRows(&batch);
}

Status Target::Core::CheckPresent(Object* object, uint64_t offset, uint64_t length,
                                  bool change) const {
  std::lock_guard guard(object->mutex);
  if (!object->residency) return {};
  const std::vector<uint64_t> needed = object->residency->Needed(offset, length, change);
  if (needed.empty()) return {};
  return std::unexpected(Named(
      Error(Errc::kAbsent, fmt::format("{} blocks from block {} on are in S3 and not here: {}",
                                       needed.size(), needed.front(),
                                       object->residency->source.key)),
      object->id));
}

async::Task<Status> Target::Core::NoteChange(ObjectPointer object, uint64_t offset,
                                             uint64_t length, bool after) {
  if (!NeedsMark(object.get(), offset, length, after)) co_return Status();
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  {
    std::lock_guard guard(object->mutex);
    Mark(object.get(), machine, offset, length, after);
  }
  co_return co_await WriteRow(object);
}

async::Task<Status> Target::Core::CutSource(io::FileIo* io, ObjectPointer object, uint64_t size) {
  {
    const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
    {
      std::lock_guard guard(object->mutex);
      if (!object->residency || object->residency->source.bytes <= size) co_return Status();
      object->residency->CutTo(size);
      object->record.residency->CutTo(size);
    }
    SHEEN_CO_TRY(co_await WriteRow(object));
  }
  co_return co_await SyncIndex(io);
}

async::Task<Status> Target::Core::PunchSource(io::FileIo* io, ObjectPointer object, uint64_t offset,
                                              uint64_t length) {
  if (!HasSource(object.get())) co_return Status();
  {
    const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
    {
      std::lock_guard guard(object->mutex);
      Residency* const live = &*object->residency;
      const Residency::Blocks touched = live->Touched(offset, length);
      for (uint64_t block = touched.first; block < touched.last; ++block) {
        if (!live->Covers(offset, length, block)) continue;
        live->blocks[block] = object->record.residency->blocks[block] = BlockState::kHole;
      }
      Mark(object.get(), machine, offset, length, true);
    }
    SHEEN_CO_TRY(co_await WriteRow(object));
  }
  co_return co_await SyncIndex(io);
}

async::Task<Result<uint64_t>> Target::Core::SeekWithSource(io::FileIo* io, ObjectPointer object,
                                                           uint64_t offset, bool hole) {
  const io::FileId file = FileOf(object.get());
  if (!HasSource(object.get())) {
    co_return co_await io->Seek(file, offset, hole ? SEEK_HOLE : SEEK_DATA);
  }
  for (uint64_t at = offset;;) {
    uint64_t absent_end = 0;
    uint64_t next_absent = 0;
    {
      std::lock_guard guard(object->mutex);
      absent_end = object->residency->AbsentUntil(at);
      next_absent = object->residency->NextAbsent(at);
    }
    if (absent_end != 0 && !hole) co_return at;
    if (absent_end != 0) {
      at = absent_end;
      continue;
    }
    const Result<uint64_t> found = co_await io->Seek(file, at, hole ? SEEK_HOLE : SEEK_DATA);
    const bool none = !found && found.error().code() == Errc::kNoDevice;
    if (!found && !none) co_return found;
    if (!hole) {
      if (none && next_absent == UINT64_MAX) co_return found;
      co_return none ? next_absent : std::min(*found, next_absent);
    }
    // In the file absent bytes are holes: those are skipped.
    if (none || *found < next_absent) co_return found;
    at = next_absent;
  }
}

async::Task<Status> Target::Core::RestoreFile(io::FileIo* io, ObjectPointer object,
                                              IndexRecord* record) {
  // Without its file an object that was never committed has lost its data, but its source's end
  // and its holes stand.
  record->residency->ForgetUnsynced(machine);
  const std::string path = PathOf(object->id);
  int flags = O_RDWR;
  if (record->created_uncommitted) {
    SHEEN_CO_TRY(co_await MakeObjectDirectory(io, DirectoryHash(object->id)));
    flags |= O_CREAT;
  }
  const Result<io::FileId> file = co_await io->Open(path, flags);
  if (!file) co_return Status();  // the caller finds out
  const Result<io::FileStat> stat = co_await io->Stat(*file);
  Status done = stat ? Status() : std::unexpected(stat.error());
  const uint64_t wanted = record->residency->source.bytes;
  if (done && stat->size < wanted && stat->size >= record->size) {
    done = co_await io->Truncate(*file, wanted);
  }
  const Status closed = co_await io->Close(*file);
  if (!done) co_return std::unexpected(Named(done.error(), object->id));
  co_return closed;
}

async::Task<Status> Target::Attach(io::FileIo* io, layout::ObjectId id, ObjectSource source,
                                   Owner owner) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  {
    std::lock_guard guard(object->mutex);
    if (object->exists && !object->destroyed) co_return Status();
  }
  const async::RwGuard guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckUsable(object.get(), owner.layout_generation));
  if (Core::AttrOf(object.get()).exists) co_return Status();
  Residency residency = Residency::AllAbsent(std::move(source));
  residency.machine = core->machine;
  co_return co_await core->Create(io, object, owner, std::move(residency));
}

async::Task<Result<Target::Missing>> Target::FindMissing(io::FileIo* io, layout::ObjectId id,
                                                         uint64_t offset, uint64_t length,
                                                         bool change, size_t blocks_max) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  Missing out;
  std::lock_guard guard(object->mutex);
  if (!object->residency) co_return out;
  out.blocks = object->residency->Needed(offset, length, change, blocks_max);
  if (!out.blocks.empty()) out.source = object->residency->source;
  co_return out;
}

async::Task<Result<bool>> Target::RestsOnFill(io::FileIo* io, layout::ObjectId id,
                                              uint64_t offset, uint64_t length) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  std::lock_guard guard(object->mutex);
  if (!object->residency || !object->record.residency) co_return false;
  const Residency& live = *object->residency;
  const Residency::Blocks touched = live.Touched(offset, length);
  for (uint64_t block = touched.first; block < touched.last; ++block) {
    const bool filled = live.blocks[block] == BlockState::kClean &&
                        object->record.residency->blocks[block] == BlockState::kAbsent;
    if (filled && !live.Covers(offset, length, block)) co_return true;
  }
  co_return false;
}

async::Task<Status> Target::Fill(io::FileIo* io, layout::ObjectId id, uint64_t block,
                                 std::string etag, ByteSpan data) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckReadable(object.get()));
  Residency::Part part;
  {
    std::lock_guard object_guard(object->mutex);
    if (!object->residency || block >= object->residency->blocks.size()) co_return Status();
    if (object->residency->blocks[block] != BlockState::kAbsent) co_return Status();
    if (object->residency->source.etag != etag) {
      co_return Fail(Errc::kStale, "the object has another source now");
    }
    part = object->residency->PartOf(block);
  }
  // The object may have been cut since the bytes were asked for.
  if (part.end - part.begin > data.size()) co_return Fail(Errc::kInvalid, "a block is too short");
  const ByteSpan bytes = data.first(part.end - part.begin);
  SHEEN_CO_TRY_ASSIGN(const uint64_t reserved,
                      co_await core->Reserve(io, object, part.begin, bytes.size()));
  const Status written = co_await io->Write(FileOf(object.get()), bytes, part.begin);
  if (!written) {
    core->space.Unreserve(reserved);
    core->NoteFailure(written.error());
    co_return std::unexpected(core->Named(written.error(), id));
  }
  {
    std::lock_guard object_guard(object->mutex);
    object->charged_bytes += reserved;
    object->residency->blocks[block] = BlockState::kClean;
  }
  core->uncommitted_bytes.fetch_add(bytes.size(), std::memory_order_relaxed);
  core->MarkDirty(object);
  core->RequestCommitIfDue(io);
  co_return core->CheckServing();
}

async::Task<Result<uint64_t>> Target::Release(io::FileIo* io, layout::ObjectId id) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Exclusive();
  SHEEN_CO_TRY(core->CheckReadable(object.get()));
  if (!HasSource(object.get())) co_return uint64_t{0};
  Dropped dropped;
  {
    const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
    {
      std::lock_guard object_guard(object->mutex);
      dropped = DropClean(object.get());
      if (dropped.bytes == 0 && object->charged_bytes == 0) co_return uint64_t{0};
    }
    if (dropped.bytes > 0) SHEEN_CO_TRY(co_await core->WriteRow(object));
  }
  if (dropped.bytes > 0) SHEEN_CO_TRY(co_await core->SyncIndex(io));
  for (const Range& range : dropped.absent) {
    const Status punched =
        co_await io->Allocate(FileOf(object.get()), kPunch, range.offset, range.length);
    if (!punched) co_return std::unexpected(core->Named(punched.error(), id));
  }
  const Result<io::FileStat> stat = co_await io->Stat(FileOf(object.get()));
  if (!stat) co_return std::unexpected(core->Named(stat.error(), id));
  std::lock_guard object_guard(object->mutex);
  const uint64_t counted =
      CountedBytes(stat->allocated_bytes, object->size, object->record.preallocated_end);
  core->space.Uncharge(object->charged_bytes);
  core->space.Charge(counted);
  object->charged_bytes = counted;
  object->dense_end = 0;
  co_return dropped.bytes;
}

async::Task<Result<std::optional<Residency>>> Target::GetResidency(io::FileIo* io,
                                                                   layout::ObjectId id) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  std::lock_guard guard(object->mutex);
  if (!object->exists || object->destroyed) co_return std::optional<Residency>();
  co_return object->residency;
}

}  // namespace sheen::ost
