// State: what a Filesystem is made of, for the library's own files.
//
// Thread-safe: each member is, or is constant once mounted.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "client/client_stats.h"
#include "client/cluster.h"
#include "client/credentials.h"
#include "client/file_lock_book.h"
#include "client/filesystem.h"
#include "client/held_ops.h"
#include "client/idle_layouts.h"
#include "client/kernel_cache.h"
#include "client/kept_requests.h"
#include "client/kept_writes.h"
#include "client/lock_cache.h"
#include "client/lost_data.h"
#include "client/migrations.h"
#include "client/open_file.h"
#include "client/page_registry.h"
#include "client/replay_turns.h"
#include "client/shard_calls.h"
#include "client/shard_context.h"
#include "client/xattr_cache.h"

namespace sheen::client {

// Where MDT0000 and the management service live.
inline constexpr char kMdsName[] = "mds0";
inline constexpr size_t kShardsMax = 256;

class State final {
 public:
  explicit State(Options mount_options)
      : options(std::move(mount_options)), identity(options.fsname), locks(options.locks_max) {}

  // The calling shard's context. REQUIRES: the shard was added.
  ShardContext* Here() const;

  const Options options;
  std::atomic<bool> block_sums{options.checksums};  // of data, from end to end; any time
  rpc::ClientIdentity identity;
  ClientStats stats;
  CredentialCache credentials;
  OpenTable files;
  ClusterHolder cluster;
  LockCache locks;
  KernelCache kernel{&locks};
  FileLockBook file_locks;
  KeptRequests kept_requests;
  KeptWrites kept_writes;
  ReplayTurns replay_turns;
  LostData lost_data{options.lost_data, options.fsname};
  // Write-behind.
  ExtentBook extents;
  GrantPool grants{options.recovery};
  HeldBudget held_budget;
  LateErrors late_errors;
  PageRegistry pages;
  XattrCache xattrs;
  // By file and directory: a change of names or attributes was lost. For the next fsync of it.
  LateErrors lost_changes;
  IdleLayouts idle_layouts;
  Migrations migrations;
  // Of the shards' connections to the MDS; set with the shard.
  std::array<std::shared_ptr<rpc::LinkPulse>, kShardsMax> pulses;
  std::array<std::unique_ptr<ShardContext>, kShardsMax> contexts;
  std::atomic<uint64_t> next_handle{1};
  std::atomic<uint64_t> next_file_lock{1};  // ids of lock requests
  std::atomic<bool> unmounting{false};  // what is kept is committed without delay
  // A server has restarted, and nothing was kept for it (Options::recovery): what it has lost is
  // not known, so that no fsync may say that it is there.
  std::atomic<bool> unkept_lost{false};
  std::atomic<bool> gave_up{false};     // Unmount did not wait for all that was to be stored
  std::atomic<bool> stopping{false};
  // Coroutines that nobody awaits: closes, map refreshes.
  std::atomic<uint64_t> background{0};
  std::atomic<uint64_t> local_opens{0};  // handles that the MDS has not been told of
  Fid root = kRootFid;

  // Which session of the MDS, at which boot of it, knows our handles and credentials.
  uint64_t SessionStamp() const;
  // Grows while the recovery that one shard does comes further. A replay does so by itself: each of
  // its requests has a deadline.
  std::atomic<uint64_t> recovery_steps{0};
  std::atomic<bool> replaying_mds{false};
  // From the beginning of a replay until one has come to its end, by whichever connection.
  std::atomic<bool> replay_unfinished{false};
  // SessionStamp at which the MDS had been told all that it had lost.
  std::atomic<uint64_t> replayed_stamp{0};
  std::mutex recovery_mutex;  // guards the four below
  uint64_t recovered_stamp = 0;
  uint64_t recovered_session = 0;
  bool rejoin_due = false;  // the OSSs refuse the sessions of the time before the last eviction
  bool recovering = false;
};

// Counts a coroutine that nobody awaits, for Unmount.
class BackgroundMark final {
 public:
  explicit BackgroundMark(State* state) : state_(state) { ++state_->background; }
  ~BackgroundMark() { --state_->background; }
  BackgroundMark(const BackgroundMark&) = delete;
  BackgroundMark& operator=(const BackgroundMark&) = delete;

 private:
  State* const state_;
};

}  // namespace sheen::client
