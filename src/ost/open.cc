// Opening a target: who is it, is it whole, may it be served here; then what a crash interrupted is
// finished, before the first request:
//
//   tombstones         the file is removed, if it is still there
//   pending rows       an intent whose operation was not done, or may be lost by a power cut, is
//                      done again; its file is synced and the intent cleared
//   created rows       left to the object's first use: no file means that it never was
//
// A power cut is told from a killed process by the kernel's boot id, kept with the boot count.
#include <fcntl.h>
#include <fmt/core.h>
#include <linux/falloc.h>

#include <algorithm>

#include "base/log.h"
#include "base/machine_boot.h"
#include "ost/core.h"
#include "ost/index_meta.h"

namespace sheen::ost {
namespace {

// transno = boot << 40 | counter.
constexpr uint64_t kBootMax = (1ULL << 24) - 1;

// FNV-1a.
uint64_t MachineHash(const std::string& machine_boot_id) {
  uint64_t hash = 0xcbf29ce484222325;
  for (const char c : machine_boot_id) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

Status CheckSuperblock(const Superblock& superblock, const OpenOptions& options) {
  if (!options.fsname.empty() && superblock.fsname != options.fsname) {
    return Fail(Errc::kWrongFilesystem,
                fmt::format("{} holds {}, of filesystem '{}', not of '{}'", options.directory,
                            superblock.TargetName(), superblock.fsname, options.fsname));
  }
  if (options.ost_index && superblock.ost_index != *options.ost_index) {
    return Fail(Errc::kInvalid, fmt::format("{} holds {}, not OST index {}", options.directory,
                                            superblock.TargetName(), *options.ost_index));
  }
  return {};
}

// A directory that cannot be written to is refused now, not at the first request.
async::Task<Status> CheckWritable(io::FileIo* io, std::string directory) {
  const std::string path = directory + "/probe";
  const Result<io::FileId> file = co_await io->Open(path, O_RDWR | O_CREAT | O_TRUNC);
  if (!file) {
    co_return std::unexpected(
        Annotate(file.error(), fmt::format("{} cannot be written to: ", directory)));
  }
  const std::string block(kAllocationUnit, 'x');
  const Status written = co_await io->Write(*file, AsBytes(block), 0);
  const Status closed = co_await io->Close(*file);
  const Status gone = co_await io->Unlink(path);
  if (!written) {
    co_return std::unexpected(
        Annotate(written.error(), fmt::format("{} cannot be written to: ", directory)));
  }
  SHEEN_CO_TRY(closed);
  co_return gone;
}

// A row of the meta family; the value of a target that has none yet when it is absent.
template <class T>
async::Task<Result<T>> ReadMeta(Target::Core* core, std::string_view name,
                                Result<T> (*decode)(std::string_view)) {
  SHEEN_CO_TRY_ASSIGN(const std::optional<std::string> row,
                      co_await core->GetRow(kMetaFamily, std::string(name)));
  if (!row) co_return T();
  Result<T> value = decode(*row);
  if (!value) co_return std::unexpected(Annotate(value.error(), core->name + ": "));
  co_return value;
}

struct KeyValue {
  std::string key;
  std::string value;
};

Result<std::vector<KeyValue>> ReadFamily(kv::Store* store, kv::Family family) {
  std::vector<KeyValue> out;
  const auto cursor = store->NewCursor(family, kv::Blocking::kMayBlock);
  for (cursor->Seek(""); cursor->Valid(); cursor->Next()) {
    out.push_back({std::string(cursor->key()), std::string(cursor->value())});
  }
  SHEEN_TRY(cursor->status());
  return out;
}

async::Task<Result<std::vector<KeyValue>>> ReadAllRows(Target::Core* core, kv::Family family) {
  using Rows = Result<std::vector<KeyValue>>;
  co_return co_await core->pool->Run<Rows>(
      [core, family] { return ReadFamily(core->index, family); });
}

// Does the file operation of an intent. A file that is already shorter than it may be is left so:
// its first use reports the damage.
async::Task<Status> RedoOnFile(io::FileIo* io, io::FileId file, PendingOperation pending) {
  SHEEN_CO_TRY_ASSIGN(const io::FileStat stat, co_await io->Stat(file));
  if (pending.kind == PendingKind::kTruncate) {
    if (stat.size <= pending.offset) co_return Status();
    co_return co_await io->Truncate(file, pending.offset);
  }
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  co_return co_await io->Allocate(file, kPunch, pending.offset, pending.length);
}

}  // namespace

async::Task<Status> Target::Core::RedoOne(io::FileIo* io, layout::ObjectId id,
                                          bool same_machine_boot, kv::Batch* batch) {
  const std::string key = ObjectKey(id);
  batch->Delete(kPendingFamily, key);
  SHEEN_CO_TRY_ASSIGN(const std::optional<std::string> row, co_await GetRow(kObjectFamily, key));
  if (!row) co_return Status();
  Result<IndexRecord> record = DecodeRecord(*row);
  // Damage is told at the object's use, not by refusing all others.
  if (!record || record->pending.kind == PendingKind::kNone) co_return Status();
  const Result<io::FileId> file = co_await io->Open(PathOf(id), O_RDWR);
  if (!file && file.error().code() != Errc::kNoEntry) {
    co_return std::unexpected(Named(file.error(), id));
  }
  if (file) {
    Status done;
    if (!record->pending_done || !same_machine_boot) {
      SHEEN_LOG(Info, "{}: object {}: operation {} at {} is done again", name, id.ToString(),
                static_cast<uint32_t>(record->pending.kind), record->pending.offset);
      done = co_await RedoOnFile(io, *file, record->pending);
    }
    if (done) done = co_await io->SyncData(*file);
    const Status closed = co_await io->Close(*file);
    if (!done) co_return std::unexpected(Named(done.error(), id));
    SHEEN_CO_TRY(closed);
  }
  record->pending = {};
  record->pending_done = false;
  batch->Put(kObjectFamily, key, EncodeRecord(*record));
  co_return Status();
}

async::Task<Status> Target::Core::RedoPending(io::FileIo* io, bool same_machine_boot) {
  SHEEN_CO_TRY_ASSIGN(const std::vector<KeyValue> rows, co_await ReadAllRows(this, kPendingFamily));
  kv::Batch batch;
  for (const KeyValue& row : rows) {
    SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, DecodeObjectKey(row.key));
    SHEEN_CO_TRY(co_await RedoOne(io, id, same_machine_boot, &batch));
  }
  if (batch.empty()) co_return Status();
  co_return co_await WriteRows(&batch);
}

async::Task<Status> Target::Core::RedoDestroys(io::FileIo* io) {
  SHEEN_CO_TRY_ASSIGN(std::vector<KeyValue> rows, co_await ReadAllRows(this, kTombstoneFamily));
  std::vector<std::pair<int64_t, layout::ObjectId>> by_time;
  for (const KeyValue& row : rows) {
    SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, DecodeObjectKey(row.key));
    SHEEN_CO_TRY_ASSIGN(const int64_t destroyed_ns, DecodeTombstone(row.value));
    by_time.emplace_back(destroyed_ns, id);
  }
  std::ranges::sort(by_time);
  for (size_t begin = 0; begin < by_time.size(); begin += kParallelCalls) {
    const size_t end = std::min(by_time.size(), begin + kParallelCalls);
    std::vector<async::Task<Status>> tasks;
    for (size_t i = begin; i < end; ++i) tasks.push_back(io->Unlink(PathOf(by_time[i].second)));
    const std::vector<Status> results = co_await async::WhenAll(std::move(tasks));
    for (const Status& result : results) {
      if (!result && result.error().code() != Errc::kNoEntry) co_return result;
    }
  }
  for (const auto& [destroyed_ns, id] : by_time) tombstones.Add(id, destroyed_ns);
  co_return Status();
}

// Only a target with a limit needs to know what its objects hold.
async::Task<Status> Target::Core::CountUsed() {
  if (!space.limited()) co_return Status();
  using Sum = Result<uint64_t>;
  SHEEN_CO_TRY_ASSIGN(const uint64_t used, co_await pool->Run<Sum>([this]() -> Sum {
    uint64_t sum = 0;
    const auto cursor = index->NewCursor(kObjectFamily, kv::Blocking::kMayBlock);
    for (cursor->Seek(""); cursor->Valid(); cursor->Next()) {
      const Result<IndexRecord> record = DecodeRecord(cursor->value());
      if (record) sum += record->allocated_bytes;
    }
    SHEEN_TRY(cursor->status());
    return sum;
  }));
  space.Charge(used);
  co_return Status();
}

async::Task<Status> Target::Core::Start(io::FileIo* io, std::string machine_boot_id) {
  SHEEN_CO_TRY_ASSIGN(const std::optional<std::string> identity,
                      co_await GetRow(kMetaFamily, std::string(kIdentityRow)));
  if (!identity) {
    co_return Fail(Errc::kCorrupt,
                   fmt::format("{}: the index in {}/index is empty; restore it (every object would "
                               "read as zeros without it)",
                               name, options.directory));
  }
  const Status matches = CheckIdentity(*identity, superblock);
  if (!matches) co_return std::unexpected(Annotate(matches.error(), name + ": "));
  SHEEN_CO_TRY(co_await CheckWritable(io, options.directory));

  SHEEN_CO_TRY_ASSIGN(const BootRow previous, co_await ReadMeta(this, kBootRow, DecodeBoot));
  SHEEN_CO_TRY_ASSIGN(const CommittedRow committed,
                      co_await ReadMeta(this, kCommittedRow, DecodeCommitted));
  SHEEN_CO_TRY_ASSIGN(const uint64_t closed_boot,
                      co_await ReadMeta(this, kClosedRow, DecodeClosed));
  if (previous.boot >= kBootMax) {
    co_return Fail(Errc::kOverflow, fmt::format("{}: boot count {} is the last", name, kBootMax));
  }
  boot = previous.boot + 1;
  machine = MachineHash(machine_boot_id);
  recovered_transno = committed.transno;
  last_committed.store(committed.transno);
  SHEEN_CO_TRY_ASSIGN(const std::vector<KeyValue> rows, co_await ReadAllRows(this, kMetaFamily));
  for (const KeyValue& row : rows) {
    if (Answered::IsKey(row.key)) SHEEN_CO_TRY(answered.Load(row.key, row.value));
  }

  const bool same_machine_boot =
      !machine_boot_id.empty() && previous.machine_boot_id == machine_boot_id;
  inherits_unsynced =
      same_machine_boot && (previous.inherits_unsynced || closed_boot != previous.boot);
  SHEEN_CO_TRY(co_await RedoDestroys(io));
  SHEEN_CO_TRY(co_await RedoPending(io, same_machine_boot));
  // The new boot with what was redone, all durable before the first request.
  kv::Batch batch;
  batch.Put(kMetaFamily, std::string(kBootRow),
            EncodeBoot({boot, inherits_unsynced, machine_boot_id}));
  SHEEN_CO_TRY(co_await WriteRows(&batch));
  SHEEN_CO_TRY(co_await SyncIndex(io));
  SHEEN_CO_TRY(co_await CountUsed());
  SHEEN_CO_TRY_ASSIGN(const io::DiskSpace disk, co_await io->Space(options.directory));
  space.SetDisk(disk);
  co_return Status();
}

async::Task<Status> Target::RaiseBoot(io::FileIo* io, uint64_t boot) {
  Core* const core = core_.get();
  if (core->boot >= boot) co_return Status();
  SHEEN_CO_TRY(core->CheckServing());
  SHEEN_CO_TRY_ASSIGN(BootRow row, co_await ReadMeta(core, kBootRow, DecodeBoot));
  row.boot = boot;
  kv::Batch batch;
  batch.Put(kMetaFamily, std::string(kBootRow), EncodeBoot(row));
  SHEEN_CO_TRY(co_await core->WriteRows(&batch));
  SHEEN_CO_TRY(co_await core->SyncIndex(io));
  SHEEN_LOG(Info, "{}: boot {}, as the other targets of this server", core->name, boot);
  core->boot = boot;
  co_return Status();
}

async::Task<Result<std::unique_ptr<Target>>> Target::Open(io::FileIo* io, OpenOptions options) {
  std::unique_ptr<DirectoryLock> lock = std::move(options.lock);
  if (lock == nullptr && options.lock_directory) {
    SHEEN_CO_TRY_ASSIGN(lock, DirectoryLock::Acquire(options.directory));
  }
  SHEEN_CO_TRY_ASSIGN(const Superblock superblock, co_await ReadSuperblock(io, options.directory));
  SHEEN_CO_TRY(CheckSuperblock(superblock, options));
  const std::string machine_boot_id =
      options.machine_boot_id.empty() ? MachineBootId() : options.machine_boot_id;
  auto core = std::make_unique<Core>(std::move(options), superblock);
  core->lock = std::move(lock);
  SHEEN_CO_TRY(co_await core->Start(io, machine_boot_id));
  SHEEN_LOG(Info, "{} open: boot {}, committed up to {:#x}, {} tombstones", core->name, core->boot,
            core->recovered_transno, core->tombstones.size());
  co_return std::unique_ptr<Target>(new Target(std::move(core)));
}

}  // namespace sheen::ost
