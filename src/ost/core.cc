#include "ost/core.h"

#include <fcntl.h>
#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "base/transno.h"

namespace sheen::ost {
namespace {

// A client's time beyond it (the year 2116) is not believed: adding to it must not wrap.
constexpr int64_t kTimeSeenNsMax = int64_t{1} << 62;

// Errors after which what is on the disk is not known any more; the others are the caller's.
bool DiskFailed(Errc code) {
  switch (code) {
    case Errc::kNoSpace:
    case Errc::kQuota:
    case Errc::kFileTooBig:
    case Errc::kInterrupted:
    case Errc::kAgain:
    case Errc::kNoMemory:
    case Errc::kCancelled:
    case Errc::kInvalid:
    case Errc::kNotSupported:
      return false;
    default:
      return true;
  }
}

async::Task<void> CommitInBackground(Target::Core* core, io::FileIo* io) {
  const async::RwGuard guard = co_await core->background_lock.Shared();
  core->commit_requested.store(false);
  const Status committed = co_await core->commit_group.Run(io);
  if (!committed) SHEEN_LOG(Warn, "{}: commit: {}", core->name, committed.error().ToString());
}

}  // namespace

uint64_t CountedBytes(uint64_t allocated_bytes, uint64_t size, uint64_t preallocated_end) {
  return std::min(allocated_bytes, RoundUp(std::max(size, preallocated_end)));
}

Target::Core::Core(OpenOptions open_options, Superblock target_superblock)
    : options(std::move(open_options)),
      superblock(std::move(target_superblock)),
      name(superblock.TargetName()),
      index(options.index),
      pool(options.pool),
      table(options.open_objects_max),
      space(superblock.size_limit_bytes),
      commit_group([this](io::FileIo* io) { return CommitRound(io); }),
      sync_group([this](io::FileIo*) {
        return pool->Run<Status>([store = index] { return store->Sync(); });
      }) {}

Status Target::Core::CheckServing() const {
  if (!stopped.load(std::memory_order_acquire)) return {};
  std::lock_guard guard(stop_mutex);
  return Fail(Errc::kIo, fmt::format("{} has stopped serving: {}", name, stop_reason));
}

void Target::Core::StopServing(const Error& reason) {
  std::lock_guard guard(stop_mutex);
  if (stopped.load()) return;
  stop_reason = reason.ToString();
  stopped.store(true, std::memory_order_release);
  SHEEN_LOG(Error,
            "{} stops serving: {}. Check the disk under {}, then start the server again; what was "
            "not committed is sent again by the clients",
            name, stop_reason, options.directory);
}

void Target::Core::NoteFailure(const Error& error) {
  if (DiskFailed(error.code())) StopServing(error);
}

Error Target::Core::Named(const Error& error, const layout::ObjectId& id) const {
  return Annotate(error, fmt::format("{}: object {}: ", name, id.ToString()));
}

std::string Target::Core::PathOf(const layout::ObjectId& id) const {
  return ObjectPath(options.directory, id);
}

async::Task<Result<std::optional<std::string>>> Target::Core::GetRow(kv::Family family,
                                                                     std::string key) {
  using Row = Result<std::optional<std::string>>;
  Row row = index->Get(family, key, kv::Blocking::kNever);
  if (!row && row.error().code() == Errc::kWouldBlock) {
    row = co_await pool->Run<Row>(
        [this, family, &key] { return index->Get(family, key, kv::Blocking::kMayBlock); });
  }
  if (!row) {
    NoteFailure(row.error());
    co_return std::unexpected(Annotate(row.error(), name + ": index: "));
  }
  co_return row;
}

async::Task<Status> Target::Core::WriteRows(const kv::Batch* batch) {
  Status written = index->Write(*batch, kv::Blocking::kNever);
  if (!written && written.error().code() == Errc::kWouldBlock) {
    written = co_await pool->Run<Status>(
        [this, batch] { return index->Write(*batch, kv::Blocking::kMayBlock); });
  }
  if (!written) {
    NoteFailure(written.error());
    co_return std::unexpected(Annotate(written.error(), name + ": index: "));
  }
  co_return Status();
}

async::Task<Status> Target::Core::SyncIndex(io::FileIo* io) {
  const Status synced = co_await sync_group.Run(io);
  if (!synced) {
    StopServing(synced.error());
    co_return std::unexpected(Annotate(synced.error(), name + ": index: "));
  }
  co_return Status();
}

async::Task<Status> Target::Core::CloseFiles(io::FileIo* io, std::vector<io::FileId> files) {
  Status first;
  for (const io::FileId file : files) {
    const Status closed = co_await io->Close(file);
    if (!closed && first) first = closed;
  }
  co_return first;
}

async::Task<Result<ObjectPointer>> Target::Core::Load(io::FileIo* io, layout::ObjectId id) {
  std::vector<io::FileId> to_close;
  ObjectPointer object = table.Acquire(id, &to_close);
  if (!to_close.empty()) {
    // Clean files: nothing can be lost by an error here.
    const Status closed = co_await CloseFiles(io, std::move(to_close));
    if (!closed) SHEEN_LOG(Warn, "{}: close: {}", name, closed.error().ToString());
  }
  bool loaded = false;
  {
    std::lock_guard guard(object->mutex);
    loaded = object->loaded;
  }
  if (!loaded) SHEEN_CO_TRY(co_await LoadObject(io, object));
  co_return object;
}

async::Task<Status> Target::Core::LoadObject(io::FileIo* io, ObjectPointer object) {
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  {
    std::lock_guard guard(object->mutex);
    if (object->loaded) co_return Status();
  }
  SHEEN_CO_TRY_ASSIGN(const std::optional<std::string> row,
                      co_await GetRow(kObjectFamily, ObjectKey(object->id)));
  if (!row) {
    std::lock_guard guard(object->mutex);
    object->loaded = true;
    co_return Status();
  }
  Result<IndexRecord> record = DecodeRecord(*row);
  if (!record) {
    const Error damage = Named(record.error(), object->id);
    SHEEN_LOG(Error, "{}", damage.ToString());
    std::lock_guard guard(object->mutex);
    object->loaded = true;
    object->damage = damage;
    co_return Status();
  }
  co_return co_await OpenObject(io, object, std::move(*record));
}

async::Task<Status> Target::Core::OpenObject(io::FileIo* io, ObjectPointer object,
                                             IndexRecord record) {
  if (record.residency) SHEEN_CO_TRY(co_await RestoreFile(io, object, &record));
  const Result<io::FileId> file = co_await io->Open(PathOf(object->id), O_RDWR);
  if (!file && file.error().code() != Errc::kNoEntry) {
    co_return std::unexpected(Named(file.error(), object->id));
  }
  io::FileStat stat;
  if (file) {
    const Result<io::FileStat> found = co_await io->Stat(*file);
    if (!found) {
      const Status closed = co_await io->Close(*file);
      co_return std::unexpected(Named(closed ? found.error() : closed.error(), object->id));
    }
    stat = *found;
  }
  bool recount = false;
  {
    std::lock_guard guard(object->mutex);
    object->loaded = true;
    if (!file && record.created_uncommitted) {
      // Made but not committed, and the file did not survive: it never was. A fence stays.
      object->record.fence_generation = record.fence_generation;
      co_return Status();
    }
    object->exists = true;
    object->file = file ? *file : io::FileId::kNone;
    object->size = std::max(record.size, stat.size);
    object->mtime_ns = record.mtime_ns;
    object->ctime_ns = record.ctime_ns;
    object->charged_bytes =
        CountedBytes(stat.allocated_bytes, object->size, record.preallocated_end);
    object->dense_end = stat.allocated_bytes >= RoundUp(stat.size) ? RoundUp(stat.size) : 0;
    object->residency = record.residency;
    recount = object->charged_bytes != record.allocated_bytes || record.created_uncommitted ||
              (inherits_unsynced && record.committed_boot != boot);
    if (!file || stat.size < record.size) {
      object->damage =
          Named(Error(Errc::kCorrupt,
                      fmt::format("its file {} should have at least {} bytes (committed) "
                                  "and {}; restore the file or remove the object",
                                  PathOf(object->id), record.size,
                                  file ? fmt::format("has {}", stat.size) : "is missing")),
                object->id);
      SHEEN_LOG(Error, "{}", object->damage.ToString());
    }
    space.Uncharge(record.allocated_bytes);
    space.Charge(object->charged_bytes);
    const bool unsynced = inherits_unsynced && record.committed_boot != boot;
    object->record = std::move(record);
    // What the process before had answered last is in the file, and not in the row: the version
    // must not be that of the bytes of before.
    if (unsynced) {
      object->record.last_transno = std::max(object->record.last_transno, TransnoBase(boot));
    }
    recount = recount && object->damage.code() == Errc::kOk;
  }
  if (!recount) co_return Status();
  {
    // An earlier process may have died between making the file and syncing its directory.
    const std::string path = ObjectDirectory(options.directory, DirectoryHash(object->id));
    std::lock_guard guard(commit_mutex);
    unsynced_directories.insert(path);
    unsynced_directories.insert(path.substr(0, path.rfind('/')));
  }
  MarkDirty(object);
  co_return Status();
}

async::Task<Status> Target::Core::MakeObjectDirectory(io::FileIo* io, uint32_t hash) {
  {
    std::lock_guard guard(commit_mutex);
    if (known_directories[hash]) co_return Status();
  }
  const std::string path = ObjectDirectory(options.directory, hash);
  const Status made = co_await io->MakeDirectory(path);
  if (!made && made.error().code() != Errc::kExists) co_return made;
  // Also when it was there: an earlier process may have died before it synced the parent.
  std::lock_guard guard(commit_mutex);
  known_directories[hash] = true;
  unsynced_directories.insert(path.substr(0, path.rfind('/')));
  co_return Status();
}

async::Task<Status> Target::Core::SizeNewFile(io::FileIo* io, ObjectPointer object,
                                              io::FileId file, uint64_t bytes) {
  const Status sized = co_await io->Truncate(file, bytes);
  if (sized) co_return Status();
  // A file without a row is nothing; it is emptied by whoever makes the object.
  const Status closed = co_await io->Close(file);
  if (closed) static_cast<void>(co_await io->Unlink(PathOf(object->id)));
  if (sized.error().code() == Errc::kFileTooBig) {
    co_return std::unexpected(
        Named(Error(Errc::kFileTooBig,
                    fmt::format("a file of {} bytes is larger than the file system of this OST "
                                "allows; import it with more stripes "
                                "(--imported-file-chunk-size), or put the OST on XFS",
                                bytes)),
              object->id));
  }
  NoteFailure(sized.error());
  co_return std::unexpected(Named(sized.error(), object->id));
}

async::Task<Status> Target::Core::Create(io::FileIo* io, ObjectPointer object, Owner owner,
                                         std::optional<Residency> residency) {
  if (tombstones.Contains(object->id)) {
    co_return std::unexpected(Named(
        Error(Errc::kStale, "was destroyed; a late request does not bring it back"), object->id));
  }
  // The file first, emptied: one without a row is what a power cut left of an object that was never
  // committed. Then the row, then data: a killed process loses nothing that was answered.
  const uint32_t hash = DirectoryHash(object->id);
  const Status made = co_await MakeObjectDirectory(io, hash);
  if (!made) co_return std::unexpected(Named(made.error(), object->id));
  const Result<io::FileId> file = co_await io->Open(PathOf(object->id), O_RDWR | O_CREAT | O_TRUNC);
  if (!file) co_return std::unexpected(Named(file.error(), object->id));
  // The row with a source says how long the file is; what this disk cannot hold gets none.
  if (residency) {
    const Status sized = co_await SizeNewFile(io, object, *file, residency->source.bytes);
    if (!sized) co_return sized;
  }
  const Status recorded = co_await RecordCreation(object, owner, std::move(residency), *file);
  if (!recorded) {
    const Status closed = co_await io->Close(*file);
    co_return closed ? recorded : closed;
  }
  {
    std::lock_guard guard(commit_mutex);
    unsynced_directories.insert(ObjectDirectory(options.directory, hash));
  }
  MarkDirty(object);
  co_return Status();
}

async::Task<Status> Target::Core::RecordCreation(ObjectPointer object, Owner owner,
                                                 std::optional<Residency> residency,
                                                 io::FileId file) {
  IndexRecord record;
  record.created_uncommitted = true;
  record.uid = owner.uid;
  record.gid = owner.gid;
  record.project_id = owner.project_id;
  record.layout_generation = owner.layout_generation;
  record.created_ns = async::Shard::Current()->WallNow().count();
  record.residency = std::move(residency);
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  {
    std::lock_guard guard(object->mutex);
    record.fence_generation = object->record.fence_generation;
  }
  kv::Batch batch;
  batch.Put(kObjectFamily, ObjectKey(object->id), EncodeRecord(record));
  SHEEN_CO_TRY(co_await WriteRows(&batch));
  std::lock_guard guard(object->mutex);
  object->exists = true;
  object->file = file;
  object->record = std::move(record);
  object->size = 0;
  object->mtime_ns = object->ctime_ns = object->record.created_ns;
  object->charged_bytes = object->dense_end = 0;
  object->residency = object->record.residency;
  // What is only copied from S3 has S3's time, which the MDS knows.
  if (object->residency) object->mtime_ns = object->ctime_ns = 0;
  if (object->residency) object->size = object->residency->source.bytes;
  ++object->version;
  co_return Status();
}

Status Target::Core::RefuseAbsent(const layout::ObjectId& id) const {
  return std::unexpected(Named(
      Error(Errc::kBadHandle, "does not exist, and only an open file's request makes one"), id));
}

Status Target::Core::CheckNotDestroyed(const layout::ObjectId& id) const {
  if (!tombstones.Contains(id)) return {};
  return std::unexpected(Named(Error(Errc::kStale, "was destroyed"), id));
}

Status Target::Core::CheckReadable(Object* object) const {
  std::lock_guard guard(object->mutex);
  if (object->destroyed) {
    return std::unexpected(Named(Error(Errc::kStale, "was destroyed"), object->id));
  }
  if (object->damage.code() != Errc::kOk) return std::unexpected(object->damage);
  return {};
}

Status Target::Core::CheckUsable(Object* object, uint32_t layout_generation) const {
  SHEEN_TRY(CheckReadable(object));
  std::lock_guard guard(object->mutex);
  if (layout_generation < object->record.fence_generation) {
    return std::unexpected(Named(
        Error(Errc::kLayoutChanged,
              fmt::format("the request carries layout generation {}, {} is the oldest allowed",
                          layout_generation, object->record.fence_generation)),
        object->id));
  }
  return {};
}

uint64_t Target::Core::NewBytes(Object* object, uint64_t offset, uint64_t length) {
  std::lock_guard guard(object->mutex);
  const uint64_t begin = std::max(RoundDown(offset), object->dense_end);
  const uint64_t end = RoundUp(offset + length);
  return end > begin ? end - begin : 0;
}

async::Task<Result<uint64_t>> Target::Core::Reserve(io::FileIo* io, ObjectPointer object,
                                                    uint64_t offset, uint64_t length,
                                                    uint64_t granted) {
  uint64_t bytes = NewBytes(object.get(), offset, length);
  Status reserved = space.ReserveGranted(bytes, granted);
  if (!reserved) {
    const Status committed = co_await commit_group.Run(io);
    if (!committed) {
      space.ReturnGrant(granted);
      co_return std::unexpected(committed.error());
    }
    const Result<io::DiskSpace> disk = co_await io->Space(options.directory);
    if (disk) space.SetDisk(*disk);
    bytes = NewBytes(object.get(), offset, length);
    reserved = space.ReserveGranted(bytes, granted);
  }
  if (!reserved) space.ReturnGrant(granted);
  if (!reserved) co_return std::unexpected(Named(reserved.error(), object->id));
  co_return bytes;
}

void Target::Core::MarkDirty(const ObjectPointer& object) {
  std::lock_guard guard(commit_mutex);
  if (object->listed) return;
  object->listed = true;
  dirty.push_back(object);
}

ChangeResult Target::Core::Finish(const ObjectPointer& object, const Change& change) {
  const int64_t now_ns = async::Shard::Current()->WallNow().count();
  ChangeResult result;
  std::lock_guard commit_guard(commit_mutex);
  result.transno = TransnoBase(boot) | ++counter;
  if (!object->listed) {
    object->listed = true;
    dirty.push_back(object);
  }
  uncommitted_bytes.fetch_add(change.bytes, std::memory_order_relaxed);

  std::lock_guard guard(object->mutex);
  object->record.last_transno = result.transno;
  const Owner& owner = change.owner;
  if (owner.layout_generation > object->record.layout_generation) {
    object->record.uid = owner.uid;
    object->record.gid = owner.gid;
    object->record.project_id = owner.project_id;
    object->record.layout_generation = owner.layout_generation;
  }
  object->record.preallocated_end =
      change.size ? 0 : std::max(object->record.preallocated_end, change.preallocated_end);
  result.size_before = object->size;
  object->size = change.size ? *change.size : std::max(object->size, change.size_at_least);
  const int64_t seen_ns = std::min(change.ctime_seen_ns, kTimeSeenNsMax);
  const int64_t before_ns = object->ctime_ns;
  object->ctime_ns = std::max({now_ns, object->ctime_ns + 1, seen_ns + 1});
  if (change.decided_ctime_ns > 0) {
    const int64_t decided_ns = std::min(change.decided_ctime_ns, kTimeSeenNsMax);
    object->ctime_ns = std::max(before_ns, decided_ns);
  }
  object->mtime_ns = object->ctime_ns;
  result.attr = {true,           object->size,     object->charged_bytes,
                 object->mtime_ns, object->ctime_ns, result.transno};
  answered.Note(change.request, result.transno, result.attr);
  return result;
}

ChangeResult Target::Core::FinishNothing(const RequestName& request) {
  ChangeResult result;
  if (request.slot == 0) return result;
  std::lock_guard commit_guard(commit_mutex);
  result.transno = TransnoBase(boot) | ++counter;
  answered.Note(request, result.transno, result.attr);
  return result;
}

void Target::Core::RequestCommitIfDue(io::FileIo* io) {
  size_t dirty_count = 0;
  {
    std::lock_guard guard(commit_mutex);
    dirty_count = dirty.size();
  }
  // Half of the descriptors may be held by dirty objects before a commit makes them droppable.
  const bool due = uncommitted_bytes.load(std::memory_order_relaxed) >= options.commit_bytes ||
                   dirty_count > options.open_objects_max / 2;
  if (!due || commit_requested.exchange(true)) return;
  async::Shard::Current()->Spawn(CommitInBackground(this, io));
}

ObjectAttr Target::Core::AttrOf(Object* object) {
  std::lock_guard guard(object->mutex);
  if (!object->exists) return {};
  return {true,           object->size,     object->charged_bytes,
          object->mtime_ns, object->ctime_ns, object->record.last_transno};
}

}  // namespace sheen::ost
