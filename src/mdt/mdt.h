// Mdt: one metadata target, the engine under the MDS. It owns the format of the store, the boot
// count, the numbering and the commit point of transactions, and the latches.
//
//   Format(store, {...});                           // once
//   auto mdt = Mdt::Open(store, {.fsname = ...});   // raises the boot count durably
//   Txn txn = ...; SHEEN_TRY(mdt->Commit(&txn));    // buffered
//   mdt->Sync();                                    // survives power loss; blocks
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "kv/store.h"
#include "mdt/directory.h"
#include "mdt/latch_table.h"
#include "mdt/records.h"
#include "mdt/transno.h"
#include "mdt/txn.h"

namespace sheen::mdt {

struct FormatOptions {
  std::string fsname;  // 1 to 8 letters, digits, '-' or '_'
  uint32_t index = 0;
  Uuid uuid = Uuid::Random();
  uint32_t root_mode = 0755;
  uint32_t root_uid = 0;
  uint32_t root_gid = 0;
  int64_t now_ns = 0;  // the root's times
};

// Writes the superblock and, on MDT0000, the root directory; survives power loss when it returns.
// Errors: kExists (the store has a superblock), kInvalid (fsname), and the store's. Blocks.
Status Format(kv::Store* store, const FormatOptions& options);

struct OpenOptions {
  std::string fsname;  // empty: whatever it is
  uint32_t index = 0;
  NameHash::Function hash = &SipHash;
  // Tells a restarted process from a restarted machine, which may have lost what was not synced.
  // Empty: it is not known.
  std::string machine_boot_id;
};

class Mdt final {
 public:
  // The boot count is raised and durable when it returns. Blocks. Errors: kNoEntry (no
  // superblock), kBadVersion (format or feature), kWrongFilesystem (other fsname or index),
  // kCorrupt.
  static Result<std::unique_ptr<Mdt>> Open(kv::Store* store, const OpenOptions& options);

  // As read at open, boot count raised.
  const Superblock& superblock() const { return superblock_; }
  // Up to it everything of earlier boots is in the store; LastCommitted() starts there.
  uint64_t recovered_transno() const { return recovered_; }
  kv::Store* store() const { return store_; }
  TransnoTracker* transnos() { return &transnos_; }
  LatchTable* latches() { return &latches_; }
  const NameHash& hash() const { return hash_; }
  // "sheen-MDT0000"
  std::string name() const;

  // Writes the batch: it survives the death of the process. Takes a transno if the operation has
  // not, and finishes it. kWouldBlock (non-blocking transactions): nothing happened, run again.
  // After any other failure of the store the target is stopped: nothing more is committed.
  Status Commit(Txn* txn);
  // Everything committed before the call survives power loss when it returns. Blocks; calls take
  // turns. Errors: the store's; they stop the target.
  Status Sync();
  // The machine was another one, or has been started, since the store was open last, or since a
  // recovery ended last.
  bool lost_power() const { return lost_power_.load(std::memory_order_relaxed); }
  // The clients have brought back what they know, or will not any more. Blocks.
  Status EndRecovery();
  // Every transno up to it survives power loss.
  uint64_t LastCommitted() const { return last_committed_.load(std::memory_order_acquire); }
  // Highest transno whose batch is in the log; numbers below it may be in flight.
  uint64_t LastWritten() const { return written_.load(std::memory_order_acquire); }
  // Something is committed that a Sync would make durable.
  bool Dirty() const { return written_.load(std::memory_order_acquire) > LastCommitted(); }
  // Since the start, of all batches: bytes of keys and values, and rows deleted.
  uint64_t BytesWritten() const { return bytes_written_.load(std::memory_order_relaxed); }
  uint64_t RowsDeleted() const { return rows_deleted_.load(std::memory_order_relaxed); }
  // Why it was stopped; empty: it was not.
  std::string StopReason() const;
  bool stopped() const { return stopped_.load(std::memory_order_acquire); }

  // Takes the next sequence in `txn`. REQUIRES: kSuperblockLatch is held.
  Result<uint64_t> GrantSequence(Txn* txn);
  // Sequences from it on have not been granted.
  uint64_t NextSequence() const { return next_sequence_.load(std::memory_order_relaxed); }
  // The pseudo-FIDs that stand for the superblock row, moves of directories between parents, and:
  static constexpr Fid kSuperblockLatch{0, 1, 0};
  static constexpr Fid kMoveLatch{0, 2, 0};
  static constexpr Fid kHsmLatch{0, 3, 0};  // the queue of restores

 private:
  Mdt(kv::Store* store, Superblock superblock, uint64_t recovered, NameHash::Function hash);
  void StopServing(const Error& cause);
  void Count(const kv::Batch& batch);

  kv::Store* const store_;
  const Superblock superblock_;
  std::atomic<bool> lost_power_{false};
  std::string machine_boot_id_;  // fixed by Open
  const uint64_t recovered_;
  const NameHash hash_;
  TransnoTracker transnos_;
  LatchTable latches_;
  std::mutex sync_mutex_;  // one sync at a time
  std::atomic<uint64_t> last_committed_;
  std::atomic<uint64_t> written_;  // highest transno whose batch is in the log
  std::atomic<uint64_t> next_sequence_;
  std::atomic<uint64_t> bytes_written_{0};
  std::atomic<uint64_t> rows_deleted_{0};
  std::atomic<bool> stopped_{false};
  mutable std::mutex reason_mutex_;  // guards reason_
  std::string reason_;
};

}  // namespace sheen::mdt
