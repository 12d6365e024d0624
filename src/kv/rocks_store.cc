#include "kv/rocks_store.h"

#include <fcntl.h>
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/experimental.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/listener.h>
#include <rocksdb/slice.h>
#include <rocksdb/table.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <filesystem>
#include <mutex>
#include <utility>

#include "base/log.h"
#include "kv/rocks_recovery.h"
#include "kv/rocks_space.h"
#include "kv/rocks_start.h"

namespace sheen::kv {

namespace {

constexpr uint64_t kMebibyte = 1 << 20;
// In write buffers. Bounds the log that an open has to replay, and with it the time of a restart.
constexpr uint64_t kLogBuffersMax = 16;
constexpr int kOpenTablesMax = 256;
constexpr double kBloomBitsPerKey = 10;

rocksdb::Slice SliceOf(std::string_view text) { return {text.data(), text.size()}; }
std::string_view TextOf(const rocksdb::Slice& slice) { return {slice.data(), slice.size()}; }

// An flock on DIRECTORY/sheen.lock, held while the store is open. RocksDB's own LOCK comes too
// late: the log is read before. A crash leaves no stale lock, since the kernel drops it.
class DirectoryLock final {
 public:
  static Result<DirectoryLock> Take(const std::string& directory) {
    const std::string path = directory + "/sheen.lock";
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return FailErrno(errno, "open " + path);
    DirectoryLock lock(fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK) return FailErrno(errno, "flock " + path);
      return Fail(Errc::kBusy, directory + ": another process has this store open (its lock is " +
                                   path + ", held by process " + lock.Holder() +
                                   "): stop it first");
    }
    const std::string pid = std::to_string(::getpid());
    // The number only helps people; a failure to write it costs nothing.
    if (::ftruncate(fd, 0) == 0) [[maybe_unused]]
      const ssize_t written = ::pwrite(fd, pid.data(), pid.size(), 0);
    return lock;
  }
  DirectoryLock(DirectoryLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  DirectoryLock& operator=(DirectoryLock&&) = delete;
  ~DirectoryLock() {
    if (fd_ >= 0) ::close(fd_);
  }

 private:
  explicit DirectoryLock(int fd) : fd_(fd) {}
  std::string Holder() const {
    char text[32];
    const ssize_t size = ::pread(fd_, text, sizeof text, 0);
    return size > 0 ? std::string(text, static_cast<size_t>(size)) : std::string("unknown");
  }
  int fd_;
};

// Remembers the first failure after which nothing may be acknowledged any more. Thread-safe.
class FailureLatch final {
 public:
  void Set(const Error& error) {
    const std::scoped_lock lock(mutex_);
    if (failed_.load(std::memory_order_relaxed)) return;
    error_ = error;
    failed_.store(true, std::memory_order_release);
    SHEEN_LOG(Error, "store stopped, restart the daemon after repairing the cause: {}",
              error.ToString());
  }
  Status Check() const {
    if (!failed_.load(std::memory_order_acquire)) return {};
    const std::scoped_lock lock(mutex_);
    return Fail(Errc::kIo, "store stopped after an earlier error: " + error_.ToString());
  }

 private:
  mutable std::mutex mutex_;  // guards error_
  Error error_;
  std::atomic<bool> failed_ = false;
};

// RocksDB resumes by itself after "no space" and after errors that it calls retryable. Only two
// kinds are safe to go on from: a log append or a compaction that found the disk full. After a
// failed sync the kernel may have dropped dirty pages, and a second sync would tell a lie.
class ErrorListener final : public rocksdb::EventListener {
 public:
  explicit ErrorListener(std::shared_ptr<FailureLatch> latch) : latch_(std::move(latch)) {}

  void OnBackgroundError(rocksdb::BackgroundErrorReason reason, rocksdb::Status* status) override {
    if (!MayResume(reason, *status)) latch_->Set(ErrorOf(*status, "background work"));
  }
  void OnErrorRecoveryBegin(rocksdb::BackgroundErrorReason reason, rocksdb::Status status,
                            bool* auto_recovery) override {
    *auto_recovery = MayResume(reason, status) && latch_->Check().has_value();
  }

 private:
  static bool MayResume(rocksdb::BackgroundErrorReason reason, const rocksdb::Status& status) {
    return status.IsNoSpace() && (reason == rocksdb::BackgroundErrorReason::kWriteCallback ||
                                  reason == rocksdb::BackgroundErrorReason::kCompaction);
  }
  const std::shared_ptr<FailureLatch> latch_;
};

rocksdb::ReadOptions ReadOptionsOf(Blocking blocking) {
  rocksdb::ReadOptions options;
  // Memory only (memtables and the block cache); what is not there answers Incomplete.
  if (blocking == Blocking::kNever) options.read_tier = rocksdb::kBlockCacheTier;
  return options;
}

class RocksCursor final : public Cursor {
 public:
  RocksCursor(std::unique_ptr<rocksdb::Iterator> iterator, std::string directory)
      : iterator_(std::move(iterator)), directory_(std::move(directory)) {}
  void Seek(std::string_view key) override { iterator_->Seek(SliceOf(key)); }
  void Next() override { iterator_->Next(); }
  bool Valid() const override { return iterator_->Valid(); }
  std::string_view key() const override { return TextOf(iterator_->key()); }
  std::string_view value() const override { return TextOf(iterator_->value()); }
  Status status() const override {
    const rocksdb::Status status = iterator_->status();
    if (status.ok()) return {};
    return std::unexpected(ErrorOf(status, directory_));
  }

 private:
  const std::unique_ptr<rocksdb::Iterator> iterator_;
  const std::string directory_;
};

class RocksStore final : public Store {
 public:
  RocksStore(DirectoryLock lock, std::string directory, std::unique_ptr<rocksdb::Env> env,
             std::unique_ptr<rocksdb::DB> db, std::vector<rocksdb::ColumnFamilyHandle*> handles,
             std::shared_ptr<FailureLatch> latch)
      : lock_(std::move(lock)),
        directory_(std::move(directory)),
        env_(std::move(env)),
        db_(std::move(db)),
        handles_(std::move(handles)),
        latch_(std::move(latch)) {}
  ~RocksStore() override {
    if (latch_->Check() && !Sync()) SHEEN_LOG(Error, "{}: the last sync failed", directory_);
    for (rocksdb::ColumnFamilyHandle* handle : handles_) {
      if (!db_->DestroyColumnFamilyHandle(handle).ok()) SHEEN_LOG(Warn, "{}: close", directory_);
    }
    if (!db_->Close().ok()) SHEEN_LOG(Warn, "{}: close", directory_);
  }

  Result<std::optional<std::string>> Get(Family family, std::string_view key,
                                         Blocking blocking) override {
    std::string value;
    const rocksdb::Status status =
        db_->Get(ReadOptionsOf(blocking), HandleOf(family), SliceOf(key), &value);
    if (status.IsNotFound()) return std::optional<std::string>();
    if (!status.ok()) return std::unexpected(ErrorOf(status, directory_));
    // A table that is not open, and may not be opened now, counts for RocksDB as one that may have
    // the key: it answers "found" without a value (7.8, TableCache::Get with kBlockCacheTier).
    if (value.empty() && blocking == Blocking::kNever) {
      return Fail(Errc::kWouldBlock, directory_ + ": the row's table may not be open");
    }
    return std::optional<std::string>(std::move(value));
  }

  std::unique_ptr<Cursor> NewCursor(Family family, Blocking blocking) override {
    return std::make_unique<RocksCursor>(std::unique_ptr<rocksdb::Iterator>(db_->NewIterator(
                                             ReadOptionsOf(blocking), HandleOf(family))),
                                         directory_);
  }

  Status Write(const Batch& batch, Blocking blocking) override {
    SHEEN_TRY(latch_->Check());
    if (batch.empty()) return {};
    rocksdb::WriteBatch native = Convert(batch);
    PutSyncedMark(synced_sequence_.load(std::memory_order_acquire), &native);
    rocksdb::WriteOptions options;
    // Incomplete instead of a sleep when flushes or compactions are behind.
    options.no_slowdown = blocking == Blocking::kNever;
    const rocksdb::Status status = db_->Write(options, &native);
    if (status.ok()) return {};
    Error error = ErrorOf(status, directory_);
    if (error.code() != Errc::kWouldBlock && error.code() != Errc::kNoSpace) latch_->Set(error);
    return std::unexpected(std::move(error));
  }

  Status Sync() override {
    SHEEN_TRY(latch_->Check());
    const uint64_t covered = db_->GetLatestSequenceNumber();
    const rocksdb::Status status = db_->SyncWAL();
    if (!status.ok()) {
      Error error = ErrorOf(status, directory_);
      latch_->Set(error);
      return std::unexpected(std::move(error));
    }
    uint64_t before = synced_sequence_.load(std::memory_order_relaxed);
    while (before < covered &&
           !synced_sequence_.compare_exchange_weak(before, covered, std::memory_order_release)) {
    }
    return latch_->Check();
  }

  Status ReclaimSpace(Reclaim what) override {
    SHEEN_TRY(latch_->Check());
    rocksdb::Status status = db_->Flush(rocksdb::FlushOptions(), handles_);
    for (size_t i = 1; what == Reclaim::kDeletedRows && status.ok() && i < handles_.size(); ++i) {
      status = StepDown(handles_[i]);
    }
    if (status.ok()) return {};
    return std::unexpected(ErrorOf(status, directory_));
  }

  uint64_t ApproximateBytes() const override {
    uint64_t tables = 0;
    uint64_t memory = 0;
    db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kLiveSstFilesSize, &tables);
    db_->GetAggregatedIntProperty(rocksdb::DB::Properties::kCurSizeAllMemTables, &memory);
    return tables + memory;
  }

  uint64_t DeletedRows() const override {
    uint64_t rows = 0;
    for (rocksdb::ColumnFamilyHandle* const family : handles_) {
      rocksdb::ColumnFamilyMetaData files;
      db_->GetColumnFamilyMetaData(family, &files);
      for (const rocksdb::LevelMetaData& level : files.levels) {
        for (const rocksdb::SstFileMetaData& file : level.files) rows += file.num_deletions;
      }
    }
    return rows;
  }

 private:
  // Rows above the last level go one down, and those that are deleted below meet their end.
  // CompactRange would take as much of a level at once as it likes, up to the whole store, and need
  // room for that; files that are marked go one by one.
  rocksdb::Status StepDown(rocksdb::ColumnFamilyHandle* family) {
    uint64_t pending = 0;
    db_->GetIntProperty(family, rocksdb::DB::Properties::kCompactionPending, &pending);
    if (pending > 0) return rocksdb::Status::OK();
    rocksdb::ColumnFamilyMetaData files;
    db_->GetColumnFamilyMetaData(family, &files);
    const size_t top = files.levels.empty() ? 0 : files.levels.front().files.size();
    if (top == 0 || files.file_count > top) {
      return rocksdb::experimental::SuggestCompactRange(db_.get(), family, nullptr, nullptr);
    }
    // Of a family that has no other level yet nothing is ever marked. These are few.
    rocksdb::CompactRangeOptions options;
    options.exclusive_manual_compaction = false;
    rocksdb::Status status = db_->CompactRange(options, family, nullptr, nullptr);
    return status.IsNoSpace() || status.IsCompactionTooLarge() ? rocksdb::Status::OK() : status;
  }

  // handles_[0] is RocksDB's "default", which holds nothing.
  rocksdb::ColumnFamilyHandle* HandleOf(Family family) const {
    SHEEN_ASSERT(family + 1 < handles_.size());
    return handles_[family + 1];
  }

  rocksdb::WriteBatch Convert(const Batch& batch) const {
    rocksdb::WriteBatch native;
    for (const Batch::Operation& operation : batch.operations()) {
      rocksdb::ColumnFamilyHandle* const handle = HandleOf(operation.family);
      rocksdb::Status status;
      switch (operation.kind) {
        case Batch::Operation::Kind::kPut:
          status = native.Put(handle, operation.key, operation.value);
          break;
        case Batch::Operation::Kind::kDelete:
          status = native.Delete(handle, operation.key);
          break;
        case Batch::Operation::Kind::kDeleteRange:
          if (operation.key < operation.value)
            status = native.DeleteRange(handle, operation.key, operation.value);
          break;
      }
      SHEEN_ASSERT(status.ok());  // fails only above 4 GiB
    }
    return native;
  }

  const DirectoryLock lock_;  // first in, last out
  const std::string directory_;
  const std::unique_ptr<rocksdb::Env> env_;  // null: RocksDB's own; outlives db_
  const std::unique_ptr<rocksdb::DB> db_;
  const std::vector<rocksdb::ColumnFamilyHandle*> handles_;
  const std::shared_ptr<FailureLatch> latch_;
  std::atomic<uint64_t> synced_sequence_ = 0;  // what the last Sync covered
};

// The arithmetic is in kv/space_reserve.h.
uint64_t WriteBufferBytes(const RocksOptions& options) {
  if (options.reserve_bytes == 0) return options.write_buffer_bytes;
  return std::clamp<uint64_t>(options.reserve_bytes / 32, 256 << 10, options.write_buffer_bytes);
}

rocksdb::DBOptions DbOptionsOf(const RocksOptions& options, std::shared_ptr<FailureLatch> latch) {
  rocksdb::DBOptions db;
  db.create_if_missing = options.create;
  db.create_missing_column_families = true;  // an upgrade may add families
  // The log: written through at once, never reused, its files checked against the manifest.
  db.manual_wal_flush = false;
  db.recycle_log_file_num = 0;
  db.track_and_verify_wals_in_manifest = true;
  db.max_total_wal_size = kLogBuffersMax * WriteBufferBytes(options);
  db.max_bgerror_resume_count = 0;
  db.paranoid_checks = true;
  db.listeners.push_back(std::make_shared<ErrorListener>(std::move(latch)));
  // Small: one daemon may have several stores.
  db.max_background_jobs = 2;
  db.max_open_files = kOpenTablesMax;
  db.db_write_buffer_size = 4 * WriteBufferBytes(options);
  db.skip_stats_update_on_db_open = true;
  db.stats_dump_period_sec = 0;
  db.stats_persist_period_sec = 0;
  db.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  db.max_log_file_size = kMebibyte;
  db.keep_log_file_num = 2;
  return db;
}

rocksdb::ColumnFamilyOptions FamilyOptionsOf(const RocksOptions& options,
                                             const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  // Indexes and filters count against the cache, so that memory stays bounded.
  table.cache_index_and_filter_blocks = true;
  table.cache_index_and_filter_blocks_with_high_priority = true;
  table.pin_l0_filter_and_index_blocks_in_cache = true;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kBloomBitsPerKey));
  table.format_version = 5;
  rocksdb::ColumnFamilyOptions family;
  family.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  family.write_buffer_size = WriteBufferBytes(options);
  family.max_write_buffer_number = 3;
  family.arena_block_size = std::min<uint64_t>(256 << 10, WriteBufferBytes(options) / 8);
  if (options.reserve_bytes > 0) {
    family.max_bytes_for_level_base =
        std::min(family.max_bytes_for_level_base, options.reserve_bytes / 8);
    family.target_file_size_base = std::clamp<uint64_t>(options.reserve_bytes / 48, 256 << 10,
                                                        family.target_file_size_base);
    family.max_compaction_bytes = options.reserve_bytes / 4;
  }
  family.level_compaction_dynamic_level_bytes = true;
  family.compression = rocksdb::kLZ4Compression;
  return family;
}

// Creates the directory, or checks that there is, or is not, a store in it.
Status CheckDirectory(const RocksOptions& options) {
  std::error_code error;
  const bool exists = std::filesystem::exists(options.directory + "/CURRENT", error);
  if (options.create) {
    if (exists)
      return Fail(Errc::kExists, options.directory + ": there is a store already; remove it first");
    std::filesystem::create_directories(options.directory, error);
    if (error) return FailErrno(error.value(), "create directory " + options.directory);
    return {};
  }
  if (error) return FailErrno(error.value(), "look into " + options.directory);
  for (const auto& file : std::filesystem::directory_iterator(options.directory, error)) {
    const std::string name = file.path().filename();
    if (exists || !(name.starts_with("MANIFEST-") || name.ends_with(".sst"))) continue;
    return Fail(Errc::kCorrupt, options.directory + "/CURRENT is gone, though " + name +
                                    " of a store is there");
  }
  if (!exists)
    return Fail(Errc::kNoEntry, options.directory + ": there is no store here; format it first");
  return {};
}

// A family that this program does not know belongs to a newer format.
Status CheckFamilies(const RocksOptions& options, std::vector<std::string>* existing) {
  const rocksdb::Status status =
      rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), options.directory, existing);
  if (!status.ok()) return std::unexpected(ErrorOf(status, options.directory));
  for (const std::string& name : *existing) {
    if (name == rocksdb::kDefaultColumnFamilyName) continue;
    if (std::ranges::find(options.families, name) == options.families.end())
      return Fail(Errc::kBadVersion, options.directory + ": unknown column family '" + name +
                                         "': written by a newer version of Sheen");
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<Store>> OpenRocksStore(const RocksOptions& options) {
  SHEEN_TRY(CheckDirectory(options));
  SHEEN_TRY_ASSIGN(DirectoryLock lock, DirectoryLock::Take(options.directory));
  SHEEN_TRY(MakeRoomToStart(options.directory));
  auto latch = std::make_shared<FailureLatch>();
  rocksdb::DBOptions db_options = DbOptionsOf(options, latch);
  LimitedEnv limited;
  if (options.compaction_room) {
    limited = LimitCompactions(options.compaction_room);
    db_options.env = limited.env.get();
    db_options.listeners.push_back(limited.listener);
  }
  const auto cache = rocksdb::NewLRUCache(options.cache_bytes, /*num_shard_bits=*/4);
  std::vector<rocksdb::ColumnFamilyDescriptor> families;
  families.emplace_back(rocksdb::kDefaultColumnFamilyName, FamilyOptionsOf(options, cache));
  for (const std::string& name : options.families)
    families.emplace_back(name, FamilyOptionsOf(options, cache));

  LogReplayFilter stop_at_jump({.stop_at_jump = true});
  db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kAbsoluteConsistency;
  if (!options.create) {
    std::vector<std::string> existing;
    SHEEN_TRY(CheckFamilies(options, &existing));
    std::vector<rocksdb::ColumnFamilyDescriptor> present;
    for (const rocksdb::ColumnFamilyDescriptor& family : families) {
      if (std::ranges::find(existing, family.name) != existing.end()) present.push_back(family);
    }
    SHEEN_TRY_ASSIGN(const LogVerdict verdict, InspectLog(db_options, options.directory, present));
    if (verdict.torn) {
      SHEEN_LOG(Warn, "{}: the end of the log is torn, as after a power cut; going on from {}",
                options.directory, verdict.last_good_sequence);
      db_options.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
      db_options.wal_filter = &stop_at_jump;
    }
  }
  rocksdb::DB* raw = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status =
      rocksdb::DB::Open(db_options, options.directory, families, &handles, &raw);
  if (!status.ok()) return std::unexpected(ErrorOf(status, options.directory));
  KeepStartReserve(options.directory);
  return std::unique_ptr<Store>(std::make_unique<RocksStore>(
      std::move(lock), options.directory, std::move(limited.env), std::unique_ptr<rocksdb::DB>(raw),
      std::move(handles), std::move(latch)));
}

}  // namespace sheen::kv
