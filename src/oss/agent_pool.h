// AgentPool: the agents that this OSS knows, as a BlockSource. Each shard has a connection to each
// agent it uses; an order goes to one on this host if there is one, else to the one with the fewest
// orders. When an agent ends, or is not heard of any more, its orders go to another at once.
//
// Thread-safe after set-up (RegisterShard); Fetch and Stop on registered shards.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "oss/block_source.h"
#include "rpc/client.h"

namespace sheen::oss {

struct AgentInfo {
  std::string name;
  std::vector<rpc::Address> addresses;  // data plane
  bool near = false;                    // on this host
  bool operator==(const AgentInfo&) const = default;
};

class AgentPool final : public BlockSource {
 public:
  // An order that has no bytes after so long is given up. The agent gives up after 60 s without
  // progress; this is for when there is none.
  static constexpr Nanos kOrderBound = std::chrono::seconds(75);
  static constexpr Nanos kConnectBound = std::chrono::seconds(2);
  static constexpr Nanos kLook = std::chrono::milliseconds(100);

  explicit AgentPool(std::string fsname) : identity_(std::move(fsname)) {}
  ~AgentPool() override;

  void RegisterShard(async::Shard* shard, rpc::Transport* transport);
  // Any thread. Orders of agents that are gone move.
  void SetAgents(std::vector<AgentInfo> agents);
  async::Task<Result<io::Buffer>> Fetch(FetchOrder order) override;
  // Orders are refused from now on; any thread.
  void BeginStop() { stopping_.store(true); }
  // On each registered shard, when no order is under way there.
  async::Task<void> StopOnShard();

 private:
  struct Agent {
    AgentInfo info;
    std::unique_ptr<rpc::Client> client;
    std::set<const uint64_t*> tickets;  // of orders under way
    uint64_t orders = 0;
    bool gone = false;  // SetAgents does not name it
  };
  using AgentPointer = std::shared_ptr<Agent>;
  struct Side {
    async::Shard* shard = nullptr;
    rpc::Transport* transport = nullptr;
    std::map<std::string, AgentPointer> agents;
    uint64_t version = 0;  // of agents_
    bool watching = false;
  };

  Side* CurrentSide();
  // As SetAgents has it.
  void Refresh(Side* side);
  AgentPointer Choose(Side* side, const std::string& not_this);
  async::Task<Result<io::Buffer>> FetchFrom(Side* side, AgentPointer agent,
                                            const FetchOrder* order, Nanos deadline);
  // While orders are under way: those of agents whose connection has ended are taken back.
  async::Task<void> Watch(Side* side);

  rpc::ClientIdentity identity_;
  std::vector<std::unique_ptr<Side>> sides_;  // fixed after set-up; each is its shard's
  std::atomic<bool> stopping_{false};
  std::mutex mutex_;  // guards what follows
  std::vector<AgentInfo> agents_;
  uint64_t version_ = 0;
};

}  // namespace sheen::oss
