#include "mdt/mdt.h"

#include <algorithm>
#include <cstdio>
#include <utility>

#include "base/log.h"
#include "mdt/inode_table.h"

namespace sheen::mdt {
namespace {

bool ValidFsname(std::string_view fsname) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
  };
  return !fsname.empty() && fsname.size() <= 8 && std::ranges::all_of(fsname, allowed);
}

Result<std::optional<std::string>> ReadConfig(kv::Store* store, std::string_view key) {
  return store->Get(kConfig, key, kv::Blocking::kMayBlock);
}

Result<Superblock> ReadSuperblock(kv::Store* store) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, ReadConfig(store, kSuperblockKey));
  if (!bytes) {
    return Fail(Errc::kNoEntry,
                "the store has no superblock: it was not formatted; run `sheen format` for an MDT");
  }
  return DecodeSuperblock(*bytes);
}

Inode RootInode(const FormatOptions& options) {
  Inode root;
  root.mode = 0040000 | (options.root_mode & 07777);
  root.uid = options.root_uid;
  root.gid = options.root_gid;
  root.nlink = 2;
  root.atime_ns = root.mtime_ns = root.ctime_ns = root.btime_ns = options.now_ns;
  root.parent = kRootFid;
  return root;
}

}  // namespace

Status Format(kv::Store* store, const FormatOptions& options) {
  if (!ValidFsname(options.fsname)) {
    return Fail(Errc::kInvalid,
                "'" + options.fsname + "' is no filesystem name: 1 to 8 letters, digits, '-', '_'");
  }
  SHEEN_TRY_ASSIGN(const std::optional<std::string> before, ReadConfig(store, kSuperblockKey));
  if (before) return Fail(Errc::kExists, "the store holds a metadata target already");
  Superblock superblock;
  superblock.fsname = options.fsname;
  superblock.index = options.index;
  superblock.uuid = options.uuid;
  superblock.hash_key = Uuid::Random().bytes;
  superblock.next_sequence = kFirstClientSequence;
  kv::Batch batch;
  batch.Put(kConfig, std::string(kSuperblockKey), Encode(superblock));
  if (options.index == 0) batch.Put(kInodes, InodeKey(kRootFid), Encode(RootInode(options)));
  SHEEN_TRY(store->Write(batch, kv::Blocking::kMayBlock));
  return store->Sync();
}

Result<std::unique_ptr<Mdt>> Mdt::Open(kv::Store* store, const OpenOptions& options) {
  SHEEN_TRY_ASSIGN(Superblock superblock, ReadSuperblock(store));
  if (!options.fsname.empty() && superblock.fsname != options.fsname) {
    return Fail(Errc::kWrongFilesystem, "the store belongs to filesystem '" + superblock.fsname +
                                            "', not to '" + options.fsname + "'");
  }
  if (superblock.index != options.index) {
    return Fail(Errc::kWrongFilesystem, "the store is MDT " + std::to_string(superblock.index) +
                                            ", not MDT " + std::to_string(options.index));
  }
  SHEEN_TRY_ASSIGN(const std::optional<std::string> mark, ReadConfig(store, kCommittedKey));
  uint64_t recovered = 0;
  if (mark) {
    SHEEN_TRY_ASSIGN(recovered, DecodeCommitted(*mark));
  }
  SHEEN_TRY_ASSIGN(const std::optional<std::string> machine, ReadConfig(store, kMachineBootKey));
  ++superblock.boot;
  kv::Batch batch;
  // What a power cut took is missing until the clients have brought it back, however often the
  // server starts until then.
  const bool lost_power = machine && *machine != options.machine_boot_id;
  if (!lost_power) batch.Put(kConfig, std::string(kMachineBootKey), options.machine_boot_id);
  batch.Put(kConfig, std::string(kSuperblockKey), Encode(superblock));
  SHEEN_TRY(store->Write(batch, kv::Blocking::kMayBlock));
  SHEEN_TRY(store->Sync());
  std::unique_ptr<Mdt> mdt(new Mdt(store, std::move(superblock), recovered, options.hash));
  mdt->lost_power_ = lost_power;
  mdt->machine_boot_id_ = options.machine_boot_id;
  return mdt;
}

Status Mdt::EndRecovery() {
  if (!lost_power_.load() || stopped()) return {};
  kv::Batch batch;
  batch.Put(kConfig, std::string(kMachineBootKey), machine_boot_id_);
  // Before the row says that nothing is missing any more, what was brought back is durable.
  SHEEN_TRY(Sync());
  SHEEN_TRY(store_->Write(batch, kv::Blocking::kMayBlock));
  lost_power_.store(false);
  return {};
}

Mdt::Mdt(kv::Store* store, Superblock superblock, uint64_t recovered, NameHash::Function hash)
    : store_(store),
      superblock_(std::move(superblock)),
      recovered_(recovered),
      hash_{hash, superblock_.hash_key},
      transnos_(superblock_.boot),
      last_committed_(recovered),
      written_(recovered),
      next_sequence_(superblock_.next_sequence) {}

std::string Mdt::name() const {
  char suffix[16];
  std::snprintf(suffix, sizeof suffix, "-MDT%04x", superblock_.index);
  return superblock_.fsname + suffix;
}

void Mdt::StopServing(const Error& cause) {
  {
    std::lock_guard lock(reason_mutex_);
    if (!reason_.empty()) return;
    reason_ = cause.ToString();
  }
  stopped_.store(true, std::memory_order_release);
  SHEEN_LOG(Error, "{}: stopped, nothing more is acknowledged: {}", name(), cause.ToString());
}

std::string Mdt::StopReason() const {
  std::lock_guard lock(reason_mutex_);
  return reason_;
}

Status Mdt::Commit(Txn* txn) {
  if (stopped()) return Fail(Errc::kIo, name() + " is stopped: " + StopReason());
  const uint64_t transno = txn->transno();
  Status written = store_->Write(txn->batch(), txn->blocking());
  if (written) {
    uint64_t highest = written_.load(std::memory_order_relaxed);
    while (highest < transno && !written_.compare_exchange_weak(highest, transno)) {
    }
    Count(txn->batch());
  } else if (written.error().code() == Errc::kIo || written.error().code() == Errc::kCorrupt) {
    StopServing(written.error());
  }
  txn->Abort();
  return written;
}

void Mdt::Count(const kv::Batch& batch) {
  uint64_t bytes = 0;
  uint64_t deleted = 0;
  for (const kv::Batch::Operation& operation : batch.operations()) {
    bytes += operation.key.size() + operation.value.size();
    if (operation.kind != kv::Batch::Operation::Kind::kPut) ++deleted;
  }
  bytes_written_.fetch_add(bytes, std::memory_order_relaxed);
  if (deleted > 0) rows_deleted_.fetch_add(deleted, std::memory_order_relaxed);
}

Status Mdt::Sync() {
  std::lock_guard lock(sync_mutex_);
  if (stopped()) return Fail(Errc::kIo, name() + " is stopped: " + StopReason());
  const uint64_t low = std::max(transnos_.LowWater(), last_committed_.load());
  kv::Batch mark;
  mark.Put(kConfig, std::string(kCommittedKey), EncodeCommitted(low));
  Status synced = store_->Write(mark, kv::Blocking::kMayBlock);
  if (synced) synced = store_->Sync();
  if (!synced) {
    StopServing(synced.error());
    return synced;
  }
  last_committed_.store(low, std::memory_order_release);
  return {};
}

Result<uint64_t> Mdt::GrantSequence(Txn* txn) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> bytes, txn->Get(kConfig, kSuperblockKey));
  if (!bytes) return Fail(Errc::kCorrupt, name() + ": the superblock is gone");
  SHEEN_TRY_ASSIGN(Superblock superblock, DecodeSuperblock(*bytes));
  const uint64_t sequence = superblock.next_sequence++;
  if (!Fid{sequence, 1, 0}.Valid()) {
    return Fail(Errc::kNoSpace, name() + ": all sequences are granted");
  }
  txn->Put(kConfig, std::string(kSuperblockKey), Encode(superblock));
  // Too high when the transaction is given up: the number only refuses FIDs that cannot be.
  next_sequence_.store(superblock.next_sequence, std::memory_order_relaxed);
  return sequence;
}

}  // namespace sheen::mdt
