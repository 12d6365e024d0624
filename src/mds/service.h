// MdsService: one metadata server as a library. It answers every kMds* request from a metadata
// store (src/mdt), remembers sessions, keeps the cluster map (MGS) and sends to the OSSs what
// durable changes ask for. Each operation is one file in src/mds/ops.
//
//   request -> duplicate? -> [operation over one Txn, latches held] -> Write -> answer
//                               |  would block: again on the BlockingPool
//                               |  latch busy:  parked, then again
//
// Life: construct, Open(), LoadSessions(), hand it to the rpc::Servers, StartBackground() on one
// shard, ... the Servers stop, Stop().
//
// Thread-safe: Handle(), Save(), Remove() run on any shard; the ManagementService functions on any
// thread (they sync the store when they change the map, so never call those on a busy shard).
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/shard.h"
#include "base/clock.h"
#include "kv/store.h"
#include "mds/ost_pools.h"
#include "rpc/control.h"
#include "rpc/fault_points.h"
#include "rpc/repositories.h"
#include "rpc/server.h"
#include "sheen/result.h"

namespace sheen::mds {

class Changelog;
class HsmQueue;
class OpStats;

struct MdsOptions {
  // All pointers must outlive the service. The store was made by mdt::Format with the families of
  // mdt::FamilyNames().
  kv::Store* store = nullptr;
  async::BlockingPool* pool = nullptr;
  rpc::ObjectControl* objects = nullptr;
  rpc::AgentCalls* agents = nullptr;  // null: no agent can be asked
  const Clock* clock = nullptr;
  std::string fsname;
  uint32_t index = 0;
  std::string machine_boot_id;  // mdt::OpenOptions
  // Space of the disk under the store (statvfs). Called on the pool; may block. Only the numbers
  // and `device` of the answer are used. Empty: the MDT shows no space and takes its disk for
  // endless. Below kv::SpaceReserve nothing can be created.
  std::function<Result<v1::TargetSpace>()> own_space;
  // The cluster map has a new version: wire it to rpc::Server::Broadcast(kMapChanged) on each shard
  // by Shard::Post. Called on any thread.
  std::function<void(uint64_t map_version)> on_map_changed;
  // The server has ended a session: wire it to rpc::SessionTable::Erase. Called on the shard of
  // StartBackground().
  std::function<void(uint64_t session_id)> on_session_evicted;

  rpc::FaultPoints* faults = nullptr;

  Nanos commit_interval = std::chrono::seconds(1);
  // After a restart: open-unlinked files wait this long for clients to declare their handles again.
  // Who has been silent until then is evicted when there are such files.
  Nanos recovery_wait = std::chrono::seconds(20);
  // A client without a connection for so long is evicted, whoever waits or not.
  Nanos session_lease = std::chrono::seconds(60);
  // A target whose server has not sent a heartbeat for this long is down.
  Nanos target_timeout = std::chrono::seconds(5);
};

class MdsService final : public rpc::Service,
                         public rpc::SessionStore,
                         public rpc::ManagementService {
 public:
  explicit MdsService(MdsOptions options);
  ~MdsService() override;
  MdsService(const MdsService&) = delete;
  MdsService& operator=(const MdsService&) = delete;

  // Raises the store's boot count durably and reads what must be known before the first request.
  // Blocks. Errors: kNoEntry (not formatted), kBadVersion, kWrongFilesystem, kCorrupt, kIo.
  Status Open();
  // Committer (every commit_interval), sender of outbox rows, removal of open-unlinked files, and
  // the MDT's own space. Call on `shard`'s thread or before it runs; REQUIRES: Open() succeeded.
  void StartBackground(async::Shard* shard);
  // Requests that wait for clients or S3 end soon (kUnavailable), and later ones do not wait.
  // Before the Servers stop. Any thread.
  void BeginStop();
  // Ends the background work, then makes everything durable. Run it on the background shard after
  // the rpc::Servers have stopped.
  async::Task<Status> Stop();

  // Sessions that may come back, for rpc::SessionTable::Load. Before the first request.
  std::vector<std::shared_ptr<rpc::Session>> LoadSessions();
  // For the handshake; server_name is "mds" and the index.
  rpc::ServerIdentity Identity() const;
  uint64_t boot() const;
  uint64_t recovered_transno() const;
  const std::string& mdt_name() const;  // "sheen-MDT0000"
  const Uuid& mdt_uuid() const;
  // The targets with their space, as `lfs df` and GetStatus show them; the MDT first.
  std::vector<v1::TargetSpace> TargetStates() const;
  // Why it stopped serving (a failed write or sync); empty while it serves.
  std::string StopReason() const;
  uint64_t session_count() const;
  OpStats& stats() const;
  void ClearStats();
  struct LockCounts {
    uint64_t granted = 0;  // inodebits locks, one for each connection and inode
    uint64_t limit = 0;
  };
  LockCounts lock_counts() const;
  void SetLockLimit(uint64_t locks_max);
  // Lustre's recovery_status.
  std::string RecoveryText();
  // Settings that the management service keeps and gives to all; see ClusterMap. Blocks.
  Status KeepParam(const std::string& name, const std::string& value, bool forget);
  std::map<std::string, std::string> KeptParams() const;
  // Pools of OSTs; see ClusterMap::ChangePool. Blocks. Errors: also kNotThisServer (another
  // filesystem's).
  Result<v1::PoolReply> HandlePool(const v1::PoolRequest& request);
  std::shared_ptr<const OstPools> Pools() const;

  // Who follows the changelog: one more, or one less. Survives power loss when it is answered. On
  // any shard. Errors: kNotThisServer, kNoEntry (no such user), kInvalid (name or mask).
  async::Task<Result<v1::ChangelogUserReply>> ChangeChangelogUser(v1::ChangelogUserRequest request);
  Changelog& changelog();
  // What the changelog has may have changed: clients are told whether they may open files without
  // this server. Blocks.
  Status TellWhatIsLogged();

  // Ends a client's session without it: for who waits for something that the client holds and does
  // not give back (`reason`, for the log). No request of it is executed any more; then it is fenced
  // at every OSS of the cluster map, which is tried until each has answered or is gone; then its
  // handles are dropped, and the answer comes. Survives power loss and restarts of the server. On
  // any shard, after StartBackground(). Errors: kCancelled (the server stops), the store's.
  async::Task<Status> EvictSession(uint64_t session_id, std::string reason);

  // Restores from S3 that wait and run.
  HsmQueue* hsm();
  // Data repositories, for the control plane.
  rpc::RepositoryService* repositories();

  // rpc::Service
  async::Task<rpc::Response> Handle(rpc::Request request) override;
  uint64_t LastCommitted(uint32_t target) const override;
  Status CheckCommitted(uint32_t target, uint64_t transno) override;
  void OnSessionIdle(std::shared_ptr<rpc::Session> session) override;
  void OnPeerEnded(std::shared_ptr<rpc::Peer> peer) override;
  // rpc::SessionStore: a saved session survives power loss when Save has answered.
  async::Task<Status> Save(uint64_t session_id, Uuid client,
                           std::array<uint8_t, 16> secret) override;
  async::Task<Status> Resumed(uint64_t session_id) override;
  async::Task<Status> Remove(uint64_t session_id) override;
  // rpc::ManagementService: what a registration changes survives power loss when it is answered.
  Result<v1::RegisterServerReply> RegisterServer(const v1::RegisterServerRequest& request) override;
  Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request) override;
  v1::ClusterMap GetClusterMap() override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sheen::mds
