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
#include "base/random.h"
#include "client/filesystem.h"
#include "io/memory_file_io.h"
#include "kv/memory_store.h"
#include "mds/service.h"
#include "oss/service.h"
#include "rpc/fault_points.h"
#include "rpc/server.h"
#include "rpc/sim_transport.h"

namespace sheen::test {

struct SimOptions {
  uint64_t seed = 1;
  uint64_t break_one_in = 0;       // see rpc::SimNetworkOptions
  uint64_t would_block_every = 0;  // see kv::MemoryDisk
  uint32_t ost_count = 2;
  uint64_t ost_bytes = 0;  // size limit of each; 0: none
};

// Seed of a test: SHEEN_SEED, else a fresh one; printed, so that a failure can be repeated.
uint64_t TestSeed();

class SimCluster final {
 public:
  explicit SimCluster(SimOptions options);
  ~SimCluster();

  // Mounted when it returns. `deadline`: client::Options::deadline.
  client::Filesystem* AddClient(const std::string& name, Nanos deadline = Nanos::max());
  // Unmounted, in order.
  void RemoveClient(client::Filesystem* client);
  // Its process dies: nothing of it is heard again.
  void LoseClient(const std::string& name);
  // Objects on all OSTs.
  size_t ObjectCount();
  // Runs until `task` ends; fails the test after an hour of virtual time.
  void Run(async::Task<void> task);
  // The same in two parts, for what happens meanwhile.
  std::shared_ptr<bool> Begin(async::Task<void> task);
  void Finish(std::shared_ptr<bool> done);
  // Stops and starts a daemon on what its store has; clients reconnect. Power: what was not synced
  // is lost.
  void RestartMds();
  void RestartOss();
  // The machine loses power and comes back: of what was not synced any part may be lost, torn,
  // `random` says which.
  void PowerCutMds(Random* random);
  void PowerCutOss(Random* random);
  // As kill -9 and a new start: the process ends where it is, its disk keeps what was written.
  void KillMds();
  void KillOss();
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
  kv::MemoryDisk* mds_disk() { return &mds_disk_; }

 private:
  struct Mds;
  struct Ost;
  struct Oss;
  struct Control;

  void StartMds();
  void StopMds();
  void StartOss();
  void StopOss();
  async::Task<void> OpenTargets();
  async::Task<void> Heartbeats();
  void StopDeadOss();
  void DieMds();
  void DieOss();

  const SimOptions options_;
  ManualClock clock_;
  async::SimPoller poller_{&clock_};
  async::Shard shard_{&poller_, &clock_};
  async::BlockingPool pool_{0};
  rpc::SimNetwork network_;
  kv::MemoryDisk mds_disk_;
  std::unique_ptr<Control> control_;
  std::vector<std::unique_ptr<Ost>> osts_;
  std::unique_ptr<Mds> mds_;
  std::unique_ptr<Oss> oss_;
  struct ClientNode;
  std::vector<std::unique_ptr<ClientNode>> clients_;
  bool stopping_ = false;
  uint64_t machine_boot_ = 1;  // of the OSSs
  uint64_t mds_machine_boot_ = 1;
  bool mds_dead_ = false;  // nothing of it leaves the machine
  bool oss_dead_ = false;
  std::vector<std::string> lost_;
  std::map<std::string, std::unique_ptr<rpc::FaultPoints>> faults_;
};

}  // namespace sheen::test
