// Looks at a RocksDB's write-ahead log before it is opened for writing, and decides whether the
// damage that it finds is a torn tail (cut it off) or lost data (refuse).
//
// Why not one of RocksDB's recovery modes alone (7.8, db/log_reader.cc):
//   kAbsoluteConsistency          refuses a torn tail, which every power cut may leave;
//   kTolerateCorruptedTailRecords takes a torn tail of EACH log, also of one that is not the last:
//                                 later logs are replayed over the hole;
//   kPointInTimeRecovery          never replays over a bad record, but cuts in silence, also inside
//                                 the part that was synced;
//   and all of them skip a block of zeros, which XFS and ext4 can leave in the middle of unsynced
//   data after a power cut, as if nothing had been there.
// What is needed: the replayed records are a prefix of what was written (a client replays by
// transaction number, so a hole is worse than a shorter log), and the prefix reaches at least to
// the last Sync.
//
// How: every record of the log is a write batch with its first sequence number and its count, so a
// hole shows as a jump. And every batch carries a synced mark (PutLogData, which RocksDB stores in
// the log and nowhere else): the last sequence number that a Sync had covered by then. Every one,
// since a bad record takes the rest of its 32 KiB block with it.
//   1. Read-only replay in kAbsoluteConsistency, no jump: the log is whole. Open so. Nothing is put
//      into memory: every start waits for this, and it is the putting that takes the time.
//   2. Else read-only replay in kPointInTimeRecovery up to the first jump gives the end of the good
//      prefix; in kSkipAnyCorruptedRecords, everything readable, the highest synced mark.
//      Mark beyond the prefix: synced data is damaged, kCorrupt, nothing was changed on the disk.
//      Else: torn tail. Open in kPointInTimeRecovery and stop at the first jump.
// Not seen: damage in the last synced part when not one later batch survived. The clients'
// handshake (highest last_committed seen) finds that, and so do logs that are gone or too short as
// a whole (track_and_verify_wals_in_manifest).
//
// Not thread-safe; used while a store is opened.
#pragma once

#include <rocksdb/db.h>
#include <rocksdb/wal_filter.h>
#include <rocksdb/write_batch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::kv {

// Puts the mark "all sequence numbers up to this one are synced" into the batch.
void PutSyncedMark(uint64_t sequence, rocksdb::WriteBatch* batch);

struct ReplayRules {
  bool stop_at_jump = false;  // of the sequence numbers
  // Rows are not put into memory. Not in kPointInTimeRecovery, where RocksDB compares each record's
  // sequence number with those it has put.
  bool only_look = false;
};

// Sees every record of a replay in order.
class LogReplayFilter final : public rocksdb::WalFilter {
 public:
  explicit LogReplayFilter(ReplayRules rules) : rules_(rules) {}

  WalProcessingOption LogRecordFound(unsigned long long log_number, const std::string& log_name,
                                     const rocksdb::WriteBatch& batch,
                                     rocksdb::WriteBatch* new_batch, bool* batch_changed) override;
  const char* Name() const override { return "sheen.LogReplayFilter"; }

  bool jumped() const { return jumped_; }
  uint64_t last_sequence() const { return last_sequence_; }  // 0: no record
  uint64_t synced_mark() const { return synced_mark_; }      // highest seen

 private:
  const ReplayRules rules_;
  bool jumped_ = false;
  uint64_t last_sequence_ = 0;
  uint64_t synced_mark_ = 0;
};

struct LogVerdict {
  bool torn = false;  // cut: open in kPointInTimeRecovery with a filter that stops at a jump
  uint64_t last_good_sequence = 0;
};

// `options` and `families` are those of the coming open. Changes nothing on the disk.
// Errors: kCorrupt synced data is damaged, kIo.
Result<LogVerdict> InspectLog(const rocksdb::DBOptions& options, const std::string& directory,
                              const std::vector<rocksdb::ColumnFamilyDescriptor>& families);

// Errc and message of a RocksDB status that is not OK.
Error ErrorOf(const rocksdb::Status& status, const std::string& directory);

}  // namespace sheen::kv
