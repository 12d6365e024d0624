// Core: what the parts of one MdsService share. Not a class with behaviour: the operations, the
// runner and the background work each use some of it.
//
// Thread-safe as far as its members are.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "mds/changelog.h"
#include "mds/cluster_map.h"
#include "mds/committer.h"
#include "mds/eviction.h"
#include "mds/file_lock_table.h"
#include "mds/dependencies.h"
#include "mds/handle_table.h"
#include "mds/hsm_queue.h"
#include "mds/idle_marks.h"
#include "mds/idle_sessions.h"
#include "mds/lock_table.h"
#include "mds/op_stats.h"
#include "mds/own_space.h"
#include "mds/pending.h"
#include "mds/root_template.h"
#include "mds/service.h"
#include "mds/session_map.h"
#include "mds/unlisted.h"
#include "mdt/mdt.h"

namespace sheen::mds {

class Questions;

// About 150 bytes each; what a new service begins with.
inline constexpr uint64_t kLocksMax = 2'000'000;

struct Core {
  explicit Core(MdsOptions mds_options) : options(std::move(mds_options)) {}

  const MdsOptions options;
  // Made by Open().
  std::unique_ptr<mdt::Mdt> mdt;
  std::unique_ptr<Committer> committer;
  std::unique_ptr<ClusterMap> cluster;
  std::unique_ptr<OwnSpace> space;
  // Made by StartBackground().
  std::unique_ptr<Eviction> eviction;

  HandleTable handles;
  // Shared with timers that may outlive the service.
  const std::shared_ptr<LockTable> locks = std::make_shared<LockTable>(kLocksMax);
  FileLockTable file_locks;
  SessionMap sessions;
  IdleSessions idle_sessions;
  IdleMarks idle_marks;
  Recovery recovery;
  Dependencies dependencies;
  Changelog changelog;
  OpStats stats;
  HsmQueue hsm;
  PendingCounts pending;
  Questions* questions = nullptr;  // the service's
  RootTemplate root_template;
  std::atomic<uint64_t> next_owner{1};      // of latches: names a running operation
  std::atomic<uint64_t> ost_position{0};    // round robin of layout::ChooseOsts
  std::atomic<bool> outbox_waiting{false};  // the outbox may have rows
  std::atomic<bool> stopping{false};        // nobody is waited for any more
  UnlistedLinks unlisted;

  Nanos Now() const { return options.clock->Monotonic(); }
  int64_t WallNs() const { return options.clock->Wall().count(); }
};

}  // namespace sheen::mds
