// OssService: what one object storage server does for its clients (data plane, opcodes 200 to 209),
// for the MDS (ObjectControlService) and for its own session table (SessionStore), over the
// ost::Targets it was given.
//
// Set-up (AddTarget, RegisterShard) before the first request, from one thread; after that
// thread-safe: a request runs on the shard that received it, with that shard's FileIo.
// Targets and FileIos outlive the service.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "async/rw_lock.h"
#include "async/shard.h"
#include "async/sync.h"
#include "async/task.h"
#include "base/random.h"
#include "io/file_io.h"
#include "oss/away_sessions.h"
#include "oss/grants.h"
#include "oss/in_flight.h"
#include "oss/lazy_loader.h"
#include "oss/object_locks.h"
#include "oss/op_stats.h"
#include "oss/reply_slots.h"
#include "oss/uncommitted.h"
#include "ost/target.h"
#include "rpc/control.h"
#include "rpc/fault_points.h"
#include "rpc/server.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::oss {

struct OssOptions {
  Nanos commit_interval = std::chrono::seconds(1);
  // Sum what is read for the client to check. Sums that come with a write are always checked.
  bool checksums = true;
  rpc::FaultPoints* faults = nullptr;  // outlives the service
};

class OssService final : public rpc::Service,
                         public rpc::ObjectControlService,
                         public rpc::SessionStore {
 public:
  explicit OssService(OssOptions options = {});
  ~OssService() override;

  void AddTarget(uint32_t index, ost::Target* target);
  void RegisterShard(async::Shard* shard, io::FileIo* io);
  // The commit timer, on `shard` (a registered one). Call on that shard, or before it runs.
  void StartBackground(async::Shard* shard);
  // Ends the timer and commits every target. After the rpc::Servers have stopped; on the shard of
  // StartBackground. Errors: the first target's that could not be committed.
  async::Task<Status> Stop();

  // For heartbeats and `sheen status`; a target that stopped has up = false, and no numbers where
  // the disk does not tell them. Runs on any registered shard.
  async::Task<std::vector<v1::TargetSpace>> TargetSpaces();
  // "serving", or "stopped: sheen-OST0001: fdatasync ...". Thread-safe.
  std::string StateText() const;
  // Sessions saved earlier, for rpc::SessionTable::Load; and the fences. All targets are at the
  // highest boot count after it. Before the first request.
  async::Task<Result<std::vector<std::shared_ptr<rpc::Session>>>> LoadSessions();
  // Highest boot count and lowest recovered transno of the targets: for rpc::ServerIdentity.
  uint64_t Boot() const;
  uint64_t RecoveredTransno() const;
  // By OST index; null: not on this server.
  OpStats* StatsOf(uint32_t index) const;
  std::vector<std::pair<uint32_t, ost::Target*>> Targets() const;
  // Write locks that clients hold, on all targets.
  uint64_t lock_count() const { return locks_.kept_count(); }
  uint64_t lock_limit() const { return locks_.kept_max(); }
  void SetLockLimit(uint64_t count) { locks_.SetKeptMax(count); }
  // Lustre's recovery_status of one target. `now`: monotonic.
  std::string RecoveryText(uint32_t index, Nanos now);
  // Space that clients may count on, of one target.
  uint64_t GrantedBytes(uint32_t index) const;

  // rpc::Service
  async::Task<rpc::Response> Handle(rpc::Request request) override;
  uint64_t LastCommitted(uint32_t target) const override;
  Status CheckCommitted(uint32_t target, uint64_t transno) override;
  void OnPeerEnded(std::shared_ptr<rpc::Peer> peer) override;
  void OnSessionIdle(std::shared_ptr<rpc::Session> session) override;

  // What the server's handshakes have to offer (rpc::Feature).
  static constexpr uint64_t kFeatures =
      rpc::kExtentLocks | rpc::kKeptWrites | rpc::kOrigins;
  // nullptr: not on this server.
  ost::Target* TargetOf(uint32_t index) const;
  // For requests.cc. After a restart everybody waits for this session, which may hold locks.
  // "survives power loss".
  async::Task<Status> RememberHolder(uint64_t session_id);
  // kFenced: the session is refused.
  Status CheckFence(const rpc::Session* session) const;
  // Before the rpc::Servers stop: requests that wait for others' locks are refused. Any thread.
  void BeginStop() {
    lazy_.BeginStop();
    locks_.BeginStop();
  }
  // Where the bytes come from that objects have in S3. Before the first request.
  void SetBlockSource(BlockSource* source) { lazy_.SetSource(source); }
  LazyLoader* lazy() { return &lazy_; }

  // rpc::ObjectControlService
  async::Task<Status> DestroyObjects(v1::DestroyObjectsRequest request) override;
  async::Task<Status> SetObjectOwner(v1::SetObjectOwnerRequest request) override;
  // The sessions that the client has had up to now are refused from now on (kFenced), also after a
  // restart; "survives power loss". Requests of theirs that were under way have ended.
  async::Task<Status> FenceSession(v1::FenceSessionRequest request) override;
  async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      v1::RestoreObjectRequest request) override;

  // rpc::SessionStore: rows in the index of the first target. "survives power loss".
  async::Task<Status> Save(uint64_t session_id, Uuid client,
                           std::array<uint8_t, 16> secret) override;
  async::Task<Status> Resumed(uint64_t session_id) override;
  async::Task<Status> Remove(uint64_t session_id) override;

  // The session may have asked for something in an earlier boot, of which nothing is known.
  bool IsOfEarlierBoot(uint64_t session) const { return earlier_sessions_.contains(session); }

 private:
  async::Task<void> ForgetHolders(std::set<uint64_t> sessions);
  // When it had no connection any more.
  struct Gone {
    const rpc::Session* session = nullptr;
    int64_t since_ns = 0;
  };
  // One of those that wait to be settled; of whoever waits.
  struct Leaving {
    Gone gone;
    std::optional<bool> settled;     // false: not yet
    std::optional<std::string> row;  // empty: it has no locks; none: nothing is to be noted
  };
  bool IsBackLocked(const Gone& gone) const;
  // Each keeps its locks, if it has any, and is waited for no more. Alone over the holders' rows.
  async::Task<void> SettleTogether(std::vector<Leaving*> leaving);
  // The next of leaving_, and `first`, which is among them.
  std::vector<Leaving*> TakeLeaving(Leaving* first);
  std::optional<std::string> RowOf(const rpc::Session& session,
                                   std::vector<ObjectLocks::Held> held) const;
  // REQUIRES: it has a row.
  void NoteLeavingLocked(const Leaving& leaving, kv::Batch* batch);
  // Of sessions that have come back: into the batch that they are waited for. Gives which.
  std::set<uint64_t> TakeComing(uint64_t session_id, kv::Batch* batch);
  // Those noted by the last boot: their locks stand again.
  async::Task<Status> TakeGone();
  // A restart need not wait for a client that has gone and has left nothing here.
  async::Task<void> SettleIdle(std::shared_ptr<rpc::Session> session, int64_t since_ns);
  // False: not yet.
  async::Task<bool> SettleOnce(Gone gone);
  async::Task<Status> ForgetAnswers(uint64_t session_id);
  // Gives the sessions of that client.
  async::Task<Result<std::vector<uint64_t>>> NoteFence(Uuid client);
  void TakeRows(const std::vector<std::pair<std::string, std::string>>& rows);
  // Sessions that may hold locks or have kept writes, of an earlier life of the server.
  std::set<uint64_t> Awaited() const;
  std::set<uint64_t> Fenced() const;
  Result<ost::Target*> FindTarget(uint32_t index) const;
  ost::Target* SessionTarget() const;
  io::FileIo* CurrentIo() const;
  // Returns when every request has ended that began before the call.
  async::Task<void> WaitForRequests();
  async::Task<void> BackgroundLoop(async::Shard* shard);

  const OssOptions options_;
  std::map<uint32_t, ost::Target*> targets_;                   // fixed after set-up
  std::map<uint32_t, std::unique_ptr<OpStats>> stats_;         // of each target
  std::vector<std::pair<async::Shard*, io::FileIo*>> shards_;  // fixed after set-up
  InFlight in_flight_;
  ObjectLocks locks_;
  Grants grants_;
  Uncommitted uncommitted_;
  ReplySlots slots_;
  AwaySessions away_;
  async::AsyncRwLock holders_lock_;  // held alone over changes of the holders' rows
  std::atomic<uint64_t> settling_{0};  // SettleIdle under way
  std::atomic<bool> stopping_{false};
  LazyLoader lazy_;

  std::atomic<bool> has_fences_{false};
  mutable std::mutex mutex_;           // guards what follows
  std::map<uint64_t, Uuid> sessions_;  // known, by id
  std::set<uint64_t> fenced_;          // session ids
  std::set<uint64_t> holders_;         // sessions that may hold locks
  std::set<uint64_t> gone_;            // whose locks are noted in a row
  // Who waits for holders_lock_, to be noted with whoever has it next.
  std::vector<Leaving*> leaving_;
  std::set<uint64_t> coming_;

  // Shard-confined to the shard of StartBackground.
  async::Shard* background_shard_ = nullptr;
  bool background_runs_ = false;
  async::TimerId background_timer_;
  async::WaitQueue background_wait_;
  std::set<uint64_t> earlier_sessions_;  // constant once loaded
};

}  // namespace sheen::oss
