#include "kv/rocks_recovery.h"

#include <algorithm>
#include <memory>

#include "base/bytes.h"

namespace sheen::kv {

namespace {

constexpr std::string_view kMarkPrefix = "SYN1";
// The head of a serialized write batch: u64 sequence number, u32 count of entries
// (db/write_batch.cc); PutLogData is not counted.
constexpr size_t kBatchHeaderBytes = 12;

// Takes the marks out of a batch; everything else is passed over.
class MarkReader final : public rocksdb::WriteBatch::Handler {
 public:
  using Slice = rocksdb::Slice;
  using Status = rocksdb::Status;

  Status PutCF(uint32_t, const Slice&, const Slice&) override { return Status::OK(); }
  Status DeleteCF(uint32_t, const Slice&) override { return Status::OK(); }
  Status SingleDeleteCF(uint32_t, const Slice&) override { return Status::OK(); }
  Status DeleteRangeCF(uint32_t, const Slice&, const Slice&) override { return Status::OK(); }
  Status MergeCF(uint32_t, const Slice&, const Slice&) override { return Status::OK(); }
  Status MarkNoop(bool) override { return Status::OK(); }
  void LogData(const Slice& blob) override {
    if (blob.size() != kMarkPrefix.size() + sizeof(uint64_t)) return;
    if (!blob.starts_with(Slice(kMarkPrefix.data(), kMarkPrefix.size()))) return;
    mark_ = std::max(mark_, LoadLittle<uint64_t>(blob.data() + kMarkPrefix.size()));
  }
  uint64_t mark() const { return mark_; }

 private:
  uint64_t mark_ = 0;
};

// Replays the log, with all readings handed to `filter`.
rocksdb::Status Replay(rocksdb::DBOptions options, rocksdb::WALRecoveryMode mode,
                       const std::string& directory,
                       const std::vector<rocksdb::ColumnFamilyDescriptor>& families,
                       LogReplayFilter* filter) {
  options.wal_recovery_mode = mode;
  options.wal_filter = filter;
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  options.error_if_exists = false;
  rocksdb::DB* raw = nullptr;
  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  const rocksdb::Status status =
      rocksdb::DB::OpenForReadOnly(options, directory, families, &handles, &raw);
  const std::unique_ptr<rocksdb::DB> db(raw);
  if (db == nullptr) return status;
  for (rocksdb::ColumnFamilyHandle* handle : handles) db->DestroyColumnFamilyHandle(handle);
  return status;
}

}  // namespace

void PutSyncedMark(uint64_t sequence, rocksdb::WriteBatch* batch) {
  std::string blob(kMarkPrefix);
  blob.append(reinterpret_cast<const char*>(&sequence), sizeof sequence);
  batch->PutLogData(blob);
}

rocksdb::WalFilter::WalProcessingOption LogReplayFilter::LogRecordFound(
    unsigned long long /*log_number*/, const std::string& /*log_name*/,
    const rocksdb::WriteBatch& batch, rocksdb::WriteBatch* /*new_batch*/, bool* /*batch_changed*/) {
  const std::string& bytes = batch.Data();
  if (bytes.size() < kBatchHeaderBytes) return WalProcessingOption::kCorruptedRecord;
  const auto first = LoadLittle<uint64_t>(bytes.data());
  const auto count = LoadLittle<uint32_t>(bytes.data() + sizeof first);
  if (last_sequence_ != 0 && first > last_sequence_ + 1) jumped_ = true;
  if (jumped_ && rules_.stop_at_jump) return WalProcessingOption::kStopReplay;
  if (count != 0) last_sequence_ = std::max(last_sequence_, first + count - 1);
  MarkReader reader;
  if (!batch.Iterate(&reader).ok()) return WalProcessingOption::kCorruptedRecord;
  synced_mark_ = std::max(synced_mark_, reader.mark());
  return rules_.only_look ? WalProcessingOption::kIgnoreCurrentRecord
                          : WalProcessingOption::kContinueProcessing;
}

Result<LogVerdict> InspectLog(const rocksdb::DBOptions& options, const std::string& directory,
                              const std::vector<rocksdb::ColumnFamilyDescriptor>& families) {
  using Mode = rocksdb::WALRecoveryMode;
  LogReplayFilter whole({.only_look = true});
  rocksdb::Status status = Replay(options, Mode::kAbsoluteConsistency, directory, families, &whole);
  if (status.ok() && !whole.jumped()) return LogVerdict{false, whole.last_sequence()};
  if (!status.ok() && !status.IsCorruption()) return std::unexpected(ErrorOf(status, directory));

  LogReplayFilter prefix({.stop_at_jump = true});
  status = Replay(options, Mode::kPointInTimeRecovery, directory, families, &prefix);
  // Not the log then: a table, the manifest, or a log that is gone.
  if (!status.ok()) return std::unexpected(ErrorOf(status, directory));
  LogReplayFilter readable({});
  status = Replay(options, Mode::kSkipAnyCorruptedRecords, directory, families, &readable);
  if (!status.ok()) return std::unexpected(ErrorOf(status, directory));
  if (readable.synced_mark() > prefix.last_sequence()) {
    return Fail(Errc::kCorrupt,
                directory + ": the log is damaged inside data that was synced (good up to " +
                    std::to_string(prefix.last_sequence()) + ", synced up to " +
                    std::to_string(readable.synced_mark()) +
                    "); nothing was changed: restore the target from its copy");
  }
  return LogVerdict{true, prefix.last_sequence()};
}

Error ErrorOf(const rocksdb::Status& status, const std::string& directory) {
  const std::string message = directory + ": " + status.ToString();
  if (status.IsIncomplete()) return Error(Errc::kWouldBlock, message);
  if (status.IsNoSpace()) return Error(Errc::kNoSpace, message);
  if (status.IsCorruption()) return Error(Errc::kCorrupt, message);
  return Error(Errc::kIo, message);
}

}  // namespace sheen::kv
