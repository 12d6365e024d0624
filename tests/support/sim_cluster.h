// SimCluster: an MDS, an OSS with two OSTs and any number of clients, real code over the fakes of
// every seam, on one thread with a virtual clock. One seed decides delays and lost connections.
//
//   SimCluster cluster({.seed = 7});
//   client::Filesystem* alice = cluster.AddClient("alice");
//   cluster.Run(Workload(alice));            // until the task ends, else the test fails
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/sim_poller.h"
#include "base/random_source.h"
#include "client/filesystem.h"
#include "io/memory_file_io.h"
#include "kv/memory_store.h"
#include "mds/service.h"
#include "oss/service.h"
#include "rpc/fault_points.h"
#include "rpc/server.h"
#include "rpc/sim_transport.h"

namespace sheen::test {

struct DiskTrouble;

struct SimOptions {
  uint64_t seed = 1;
  uint64_t break_one_in = 0;       // see rpc::SimNetworkOptions
  uint64_t would_block_every = 0;  // see kv::MemoryDisk
  uint32_t ost_count = 2;
  uint64_t ost_bytes = 0;  // size limit of each; 0: none
  bool one_oss = false;    // oss0 serves all of them, from one disk; else each has its own
  // CheckExclusive() every few turns.
  bool checks_exclusive = false;
};

// Seed of the test that runs: SHEEN_SEED, else a fresh one; the same however often it is asked for.
// Printed, so that a failure can be repeated: everything in a SimCluster comes from its seed.
uint64_t TestSeed();

// Who brings what is in S3 (sim_agents.h). By the OSS's node: from its start to its end.
class SimAgentsBase {
 public:
  virtual ~SimAgentsBase() = default;
  virtual void Attach(const std::string& node, oss::OssService* service) = 0;
  virtual void BeginStop(const std::string& node) = 0;
  virtual async::Task<void> Detach(const std::string& node) = 0;
  virtual async::Task<void> Stop() = 0;
};

class SimCluster final {
 public:
  explicit SimCluster(SimOptions options);
  ~SimCluster();

  // Mounted when it returns. `deadline`: client::Options::deadline.
  client::Filesystem* AddClient(const std::string& name, Nanos deadline = Nanos::max());
  client::Filesystem* AddClient(const std::string& name, client::Options options);
  // Before the first client.
  void SetAgents(std::unique_ptr<SimAgentsBase> agents);
  // Unmounted, in order. Gives what Unmount said.
  Status RemoveClient(client::Filesystem* client, Nanos patience = Nanos::max());
  // Its process dies: nothing of it is heard again.
  void LoseClient(const std::string& name);
  // Objects on all OSTs.
  size_t ObjectCount();
  // Fails the test when two clients hold what only one may, or one keeps what has been changed. No
  // client may be cut off, evicted or ahead of an MDS that lost power.
  void CheckExclusive();
  // What was looked at by it, in all.
  struct ExclusiveSeen {
    uint64_t locks = 0;  // write locks
    uint64_t attrs = 0;  // attributes kept under locks
  };
  const ExclusiveSeen& exclusive_seen() const { return seen_; }
  // Runs until `task` ends; fails the test after an hour of virtual time.
  void Run(async::Task<void> task);
  // The same in two parts, for what happens meanwhile.
  std::shared_ptr<bool> Begin(async::Task<void> task);
  void Finish(std::shared_ptr<bool> done);
  // Stops and starts a daemon on what its store has; clients reconnect. Power: what was not synced
  // is lost.
  void RestartMds() {
    StopMds();
    StartMds();
  }
  void RestartOss() {
    StopOss();
    StartOss();
  }
  // The two parts of RestartMds.
  void StopMds();
  void StartMds();
  // The machine loses power and comes back: of what was not synced any part may be lost, torn,
  // `random` says which; nullptr: of the MDS all.
  void PowerCutMds(Random* random);
  void PowerCutOss(Random* random);
  // As kill -9 and a new start: the process ends where it is, its disk keeps what was written.
  void KillMds() {
    DieMds();
    Revive();
  }
  void KillOss() {
    DieOss();
    Revive();
  }
  // Of a node ("mds0", "oss1", a client's name). kKill at a server's point kills it there; it comes
  // back with Revive().
  rpc::FaultPoints* faults(const std::string& node);
  // Starts the servers that have died. True: there were some.
  bool Revive();
  // The MDS ends the client's session (MdsService::EvictSession).
  void Evict(client::Filesystem* client);
  async::Shard* shard() { return &shard_; }
  rpc::SimNetwork* network() { return &network_; }
  mds::MdsService* mds();
  oss::OssService* oss(uint32_t ost);
  kv::MemoryDisk* mds_disk() { return &mds_disk_; }
  // What is wrong with the disk of an OST, whoever serves it; and the store of its index.
  DiskTrouble* disk(uint32_t ost);
  kv::MemoryDisk* index_disk(uint32_t ost);
  // Everybody's wall clock jumps, forth or back.
  void JumpClocks(Nanos by) { clock_.jumped += by; }

 private:
  struct Mds;
  struct Ost;
  struct Oss;
  struct Control;

  void StartOss();
  // An OSS of the OSTs from `first` on, before `end`.
  void StartServer(size_t first, size_t end);
  io::FileIo* IoOf(const Ost& ost) const;
  void StopOss();
  async::Task<void> OpenTargets();
  async::Task<void> Heartbeats();
  void AwaitControlCalls();
  void StopDeadOss();
  void CheckWriteLocks();
  void CheckKeptAttributes();
  void DieMds();
  void DieOss();

  const SimOptions options_;
  const SeededRandomness randomness_;  // UUIDs, sessions and their secrets
  // Virtual time, and a wall clock that can be set.
  struct JumpingClock final : Clock {
    Nanos Monotonic() const override { return time.Monotonic(); }
    Nanos Wall() const override { return time.Wall() + jumped; }
    ManualClock time;
    Nanos jumped{0};
  };
  JumpingClock clock_;
  async::SimPoller poller_{&clock_.time};
  async::Shard shard_{&poller_, &clock_};
  async::BlockingPool pool_{0};
  rpc::SimNetwork network_;
  kv::MemoryDisk mds_disk_;
  std::unique_ptr<Control> control_;
  uint64_t control_calls_ = 0;
  std::vector<std::unique_ptr<Ost>> osts_;
  std::unique_ptr<Mds> mds_;
  std::unique_ptr<Oss> oss_;
  struct ClientNode;
  std::vector<std::unique_ptr<ClientNode>> clients_;
  bool stopping_ = false;
  std::unique_ptr<SimAgentsBase> agents_;
  uint64_t machine_boot_ = 1;  // of the OSSs
  uint64_t mds_machine_boot_ = 1;
  bool mds_dead_ = false;  // nothing of it leaves the machine
  bool oss_dead_ = false;
  std::vector<std::string> lost_;
  uint64_t turns_ = 0;
  ExclusiveSeen seen_;
  std::map<std::string, std::unique_ptr<rpc::FaultPoints>> faults_;
};

}  // namespace sheen::test
