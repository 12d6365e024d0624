// SimAgents: a bucket in memory and agents that bring ranges of its objects, on the simulated
// network: agent0, agent1, ... The OSSs reach them as in life, by their AgentPool.
//
//   auto* agents = SimAgents::Add(&cluster, {.agents = 2, .seed = 7});
//   agents->Put("data/f", 5 << 20);
//   agents->Kill(0);                     // its orders go to the other
//
// Bytes of an object depend on key, version and offset: those of another version are wrong bytes.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/random.h"
#include "oss/agent_pool.h"
#include "support/sim_cluster.h"

namespace sheen::test {

struct SimAgentsOptions {
  uint32_t agents = 1;
  uint64_t seed = 1;
  Nanos slowest = std::chrono::milliseconds(40);  // of a request, up to it
};

class SimAgents final : public SimAgentsBase {
 public:
  // The cluster owns it.
  static SimAgents* Add(SimCluster* cluster, SimAgentsOptions options);
  ~SimAgents() override;

  // A new version, when there is one.
  void Put(const std::string& key, uint64_t bytes);
  void Remove(const std::string& key) { objects_.erase(key); }
  std::string EtagOf(const std::string& key) const;
  std::byte ByteOf(const std::string& key, uint64_t offset) const;
  // The process dies; Start: another takes its place.
  void Kill(uint32_t agent);
  void Start(uint32_t agent);
  // The MDS, and the OSSs after a while, know which are there.
  uint64_t requests() const { return requests_; }
  uint64_t bytes() const { return bytes_; }

  // SimAgentsBase
  void Attach(const std::string& node, oss::OssService* service) override;
  void BeginStop(const std::string& node) override { pools_.at(node)->pool.BeginStop(); }
  async::Task<void> Detach(const std::string& node) override;
  async::Task<void> Stop() override;

 private:
  struct Agent;
  struct Object {
    uint64_t version = 0;
    uint64_t bytes = 0;
  };
  struct Pool {
    Pool(rpc::SimNetwork* network, const std::string& node)
        : transport(network, node), pool("sim") {}
    rpc::SimTransport transport;
    oss::AgentPool pool;
  };
  SimAgents(SimCluster* cluster, SimAgentsOptions options);
  async::Task<rpc::Response> Answer(std::string body);
  std::vector<oss::AgentInfo> Infos() const;

  SimCluster* const cluster_;
  const SimAgentsOptions options_;
  Random random_;
  std::map<std::string, Object> objects_;
  uint64_t versions_ = 0;
  uint64_t requests_ = 0;
  uint64_t bytes_ = 0;
  std::vector<std::unique_ptr<Agent>> agents_;
  std::vector<std::unique_ptr<Agent>> dead_;
  std::map<std::string, std::unique_ptr<Pool>> pools_;
};

}  // namespace sheen::test
