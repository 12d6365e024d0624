// The commit: what was acknowledged becomes durable, data first, then the index.
//
//   1. under commit_mutex: the mark (last transno), the dirty objects, the directories; nothing of
//      a number up to the mark is outside of them, because Finish numbers and lists in one step
//   2. per object: the size to commit is captured before its data are synced
//   3. fdatasync of all files, sync of directories of new files, in parallel
//   4. with all row locks held: one batch with the rows of objects that nothing cut since 2, and of
//      the requests up to the mark (answered.h)
//   5. store sync; last_committed = mark
//
// An object that was cut (truncate, punch, destroy) since step 2 keeps its row, whose intent says
// more; the cut has listed it again. A failure of 3 or 5 stops the target: what the kernel dropped
// cannot be asked for again.
#include <algorithm>

#include "base/log.h"
#include "base/transno.h"
#include "ost/core.h"
#include "ost/index_meta.h"

namespace sheen::ost {
namespace {

struct Captured {
  ObjectPointer object;
  io::FileId file = io::FileId::kNone;
  uint64_t version = 0;
  uint64_t size = 0;
  uint64_t charged_bytes = 0;
  int64_t mtime_ns = 0;
  int64_t ctime_ns = 0;
  io::FileStat stat;
  std::optional<Residency> residency;
  uint64_t releases = 0;
  bool commit = false;
};

struct Round {
  uint64_t mark = 0;
  uint64_t bytes = 0;
  std::vector<Captured> objects;  // in the order of their ids
  std::vector<std::string> directories;
  Answered::Slots answered;  // requests with a number up to the mark
};

Round TakeRound(Target::Core* core) {
  Round round;
  std::lock_guard guard(core->commit_mutex);
  round.mark = core->counter == 0 ? core->last_committed.load()
                                  : TransnoBase(core->boot) | core->counter;
  round.bytes = core->uncommitted_bytes.exchange(0);
  round.objects.reserve(core->dirty.size());
  for (ObjectPointer& object : core->dirty) {
    object->listed = false;
    round.objects.push_back({.object = std::move(object)});
  }
  core->dirty.clear();
  round.directories.assign(core->unsynced_directories.begin(), core->unsynced_directories.end());
  core->unsynced_directories.clear();
  round.answered = core->answered.Take();
  return round;
}

// A later round does all of it.
void PutBack(Target::Core* core, const Round& round) {
  std::lock_guard guard(core->commit_mutex);
  core->answered.PutBack(round.answered);
  core->uncommitted_bytes.fetch_add(round.bytes);
  core->unsynced_directories.insert(round.directories.begin(), round.directories.end());
  for (const Captured& captured : round.objects) {
    if (captured.object->listed) continue;
    captured.object->listed = true;
    core->dirty.push_back(captured.object);
  }
}

void Capture(Captured* captured) {
  Object* object = captured->object.get();
  std::lock_guard guard(object->mutex);
  captured->file = object->file;
  captured->version = object->version;
  captured->size = object->size;
  captured->charged_bytes = object->charged_bytes;
  captured->mtime_ns = object->mtime_ns;
  captured->ctime_ns = object->ctime_ns;
  captured->residency = object->residency;
  captured->releases = object->releases;
  captured->commit = object->exists && !object->destroyed && !object->cutting;
}

// Syncs one file; its allocation is looked up where it counts.
async::Task<Status> SyncOne(Target::Core* core, io::FileIo* io, Captured* captured) {
  if (captured->file == io::FileId::kNone) co_return Status();
  const Status synced = co_await io->SyncData(captured->file);
  if (!synced) co_return std::unexpected(core->Named(synced.error(), captured->object->id));
  if (!core->space.limited()) co_return Status();
  const Result<io::FileStat> stat = co_await io->Stat(captured->file);
  if (!stat) co_return std::unexpected(core->Named(stat.error(), captured->object->id));
  captured->stat = *stat;
  co_return Status();
}

async::Task<Status> RunAll(std::vector<async::Task<Status>> tasks) {
  const std::vector<Status> results = co_await async::WhenAll(std::move(tasks));
  for (const Status& result : results) {
    if (!result) co_return result;
  }
  co_return Status();
}

async::Task<Status> SyncAll(Target::Core* core, io::FileIo* io, Round* round) {
  for (size_t begin = 0; begin < round->objects.size(); begin += kParallelCalls) {
    const size_t end = std::min(round->objects.size(), begin + kParallelCalls);
    std::vector<async::Task<Status>> tasks;
    for (size_t i = begin; i < end; ++i) tasks.push_back(SyncOne(core, io, &round->objects[i]));
    SHEEN_CO_TRY(co_await RunAll(std::move(tasks)));
  }
  for (size_t begin = 0; begin < round->directories.size(); begin += kParallelCalls) {
    const size_t end = std::min(round->directories.size(), begin + kParallelCalls);
    std::vector<async::Task<Status>> tasks;
    for (size_t i = begin; i < end; ++i) {
      tasks.push_back(io->SyncDirectory(round->directories[i]));
    }
    SHEEN_CO_TRY(co_await RunAll(std::move(tasks)));
  }
  co_return Status();
}

// The exact allocation takes the place of the estimate that the object was charged with.
void CountExactly(Target::Core* core, const Captured& captured, Object* object) {
  const uint64_t exact =
      CountedBytes(captured.stat.allocated_bytes, captured.size, object->record.preallocated_end);
  // Charged by writes since the capture: theirs to be counted at the next commit.
  const uint64_t since =
      object->charged_bytes - std::min(object->charged_bytes, captured.charged_bytes);
  core->space.Uncharge(object->charged_bytes);
  object->charged_bytes = exact + since;
  core->space.Charge(object->charged_bytes);
}

// What was written before the capture is synced now. True: the row is to say so.
bool CommitUnsynced(const Captured& captured, IndexRecord* record) {
  if (!captured.residency || !record->residency) return false;
  bool changed = false;
  std::vector<BlockState>& blocks = record->residency->blocks;
  for (size_t i = 0; i < blocks.size() && i < captured.residency->blocks.size(); ++i) {
    if (captured.residency->blocks[i] != BlockState::kUnsynced) continue;
    if (blocks[i] != BlockState::kUnsynced) continue;
    blocks[i] = BlockState::kDirty;
    changed = true;
  }
  return changed;
}

// And what was filled, if nothing was released since.
void CommitFills(const Captured& captured, IndexRecord* record) {
  if (!captured.residency || !record->residency) return;
  std::vector<BlockState>& blocks = record->residency->blocks;
  for (size_t i = 0; i < blocks.size() && i < captured.residency->blocks.size(); ++i) {
    const bool filled = captured.residency->blocks[i] == BlockState::kClean;
    if (filled && blocks[i] == BlockState::kAbsent) blocks[i] = BlockState::kClean;
  }
}

// Of an object that was cut meanwhile: its row with the intent, and with what is synced.
std::optional<IndexRecord> CutRecord(const Captured& captured) {
  Object* object = captured.object.get();
  std::lock_guard guard(object->mutex);
  if (object->destroyed || !object->exists) return std::nullopt;
  IndexRecord record = object->record;
  if (!CommitUnsynced(captured, &record)) return std::nullopt;
  return record;
}

// In memory as on the row. REQUIRES: the object's mutex.
void AdoptResidency(const IndexRecord& record, Object* object) {
  if (!object->residency || !record.residency) return;
  std::vector<BlockState>& blocks = object->residency->blocks;
  for (size_t i = 0; i < blocks.size(); ++i) {
    const bool synced = record.residency->blocks[i] == BlockState::kDirty;
    if (blocks[i] == BlockState::kUnsynced && synced) blocks[i] = BlockState::kDirty;
  }
  object->record.residency = record.residency;
}

// The row as this commit leaves it; nullopt when the object was cut since its capture.
std::optional<IndexRecord> NextRecord(Target::Core* core, const Captured& captured) {
  Object* object = captured.object.get();
  std::lock_guard guard(object->mutex);
  if (!captured.commit || object->destroyed || object->version != captured.version) {
    return std::nullopt;
  }
  if (core->space.limited()) CountExactly(core, captured, object);
  IndexRecord record = object->record;
  record.created_uncommitted = false;
  record.pending = {};
  record.pending_done = false;
  record.size = captured.size;
  record.mtime_ns = captured.mtime_ns;
  record.ctime_ns = captured.ctime_ns;
  record.allocated_bytes = object->charged_bytes;
  record.committed_boot = core->boot;
  static_cast<void>(CommitUnsynced(captured, &record));
  if (captured.releases == object->releases) CommitFills(captured, &record);
  return record;
}

async::Task<Status> WriteCommitRows(Target::Core* core, const Round* round) {
  std::vector<async::RwGuard> row_guards;
  row_guards.reserve(round->objects.size());
  for (const Captured& captured : round->objects) {
    row_guards.push_back(co_await captured.object->row_lock.Exclusive());
  }
  kv::Batch batch;
  std::vector<std::pair<Object*, IndexRecord>> records;
  std::vector<std::pair<Object*, IndexRecord>> cut_records;
  records.reserve(round->objects.size());
  for (const Captured& captured : round->objects) {
    std::optional<IndexRecord> record = NextRecord(core, captured);
    const std::string key = ObjectKey(captured.object->id);
    if (!record && (record = CutRecord(captured))) {
      batch.Put(kObjectFamily, key, EncodeRecord(*record));
      cut_records.emplace_back(captured.object.get(), std::move(*record));
      continue;
    }
    if (!record) continue;
    batch.Put(kObjectFamily, key, EncodeRecord(*record));
    {
      std::lock_guard guard(captured.object->mutex);
      if (captured.object->record.pending.kind != PendingKind::kNone) {
        batch.Delete(kPendingFamily, key);
      }
    }
    records.emplace_back(captured.object.get(), std::move(*record));
  }
  const CommittedRow committed{round->mark, async::Shard::Current()->WallNow().count()};
  batch.Put(kMetaFamily, std::string(kCommittedRow), EncodeCommitted(committed));
  Answered::AppendRows(round->answered, &batch);
  SHEEN_CO_TRY(co_await core->WriteRows(&batch));
  for (auto& [object, record] : cut_records) {
    std::lock_guard guard(object->mutex);
    AdoptResidency(record, object);
  }
  for (auto& [object, record] : records) {
    std::lock_guard guard(object->mutex);
    // The other fields may have changed meanwhile; the next commit writes them.
    object->record.created_uncommitted = false;
    object->record.pending = {};
    object->record.pending_done = false;
    object->record.size = record.size;
    object->record.mtime_ns = record.mtime_ns;
    object->record.ctime_ns = record.ctime_ns;
    object->record.allocated_bytes = record.allocated_bytes;
    object->record.committed_boot = record.committed_boot;
    AdoptResidency(record, object);
  }
  co_return Status();
}

}  // namespace

async::Task<Status> Target::Core::CommitRound(io::FileIo* io) {
  SHEEN_CO_TRY(CheckServing());
  Round round = TakeRound(this);
  if (round.objects.empty() && round.directories.empty() &&
      round.mark == last_committed.load(std::memory_order_acquire)) {
    co_return Status();
  }
  std::ranges::sort(round.objects, {}, [](const Captured& c) { return c.object->id; });
  for (Captured& captured : round.objects) Capture(&captured);
  const Status synced = co_await SyncAll(this, io, &round);
  if (!synced) {
    StopServing(synced.error());
    co_return std::unexpected(synced.error());
  }
  const Status written = co_await WriteCommitRows(this, &round);
  if (!written) {
    PutBack(this, round);  // a full disk: tried again
    co_return written;
  }
  SHEEN_CO_TRY(co_await SyncIndex(io));
  last_committed.store(round.mark, std::memory_order_release);
  co_return Status();
}

async::Task<void> Target::Core::CloseDestroyed(io::FileIo* io) {
  std::vector<ObjectPointer> unused;
  {
    std::lock_guard guard(commit_mutex);
    // Out of the table: nobody can get a new reference, so one that is alone stays alone.
    const auto in_use = std::partition(destroyed.begin(), destroyed.end(),
                                       [](const ObjectPointer& o) { return o.use_count() > 1; });
    unused.assign(std::make_move_iterator(in_use), std::make_move_iterator(destroyed.end()));
    destroyed.erase(in_use, destroyed.end());
  }
  for (const ObjectPointer& object : unused) {
    if (object->file == io::FileId::kNone) continue;
    const Status closed = co_await io->Close(object->file);
    if (!closed) SHEEN_LOG(Warn, "{}: close: {}", name, closed.error().ToString());
  }
}

async::Task<void> Target::Core::ExpireTombstones(int64_t before_ns) {
  const std::vector<layout::ObjectId> expired = tombstones.Expire(before_ns);
  if (expired.empty()) co_return;
  kv::Batch batch;
  for (const layout::ObjectId& id : expired) batch.Delete(kTombstoneFamily, ObjectKey(id));
  // Not synced: a row that comes back after a power cut expires again.
  const Status written = co_await WriteRows(&batch);
  if (!written) SHEEN_LOG(Warn, "{}: tombstones: {}", name, written.error().ToString());
}

}  // namespace sheen::ost
