// AgentPool: the agents that this OSS knows, as a BlockSource. Each shard has two connections to
// each agent it uses: one for what somebody waits for, so that no answer queues behind those of
// prefetches. An order goes to an agent on this host if there is one, else to the one with the
// fewest orders. When an agent ends, or is not heard of any more, its orders go to another at once.
//
// Thread-safe after set-up (RegisterShard); Fetch and Stop on registered shards.
#pragma once

#include <atomic>
#include <functional>
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
  // An order is given up when for so long no agent had it in hand, and no other order of this
  // shard got its bytes. While an agent has it, the agent bounds it: it knows whether bytes come.
  static constexpr Nanos kPatience = std::chrono::seconds(60);
  static constexpr Nanos kConnectBound = std::chrono::seconds(2);
  static constexpr Nanos kLook = std::chrono::milliseconds(100);
  // The first look for an agent that was asked for; each further one after twice the time.
  static constexpr Nanos kLookFirst = std::chrono::milliseconds(2);

  explicit AgentPool(std::string fsname) : identity_(std::move(fsname)) {}
  ~AgentPool() override;

  void RegisterShard(async::Shard* shard, rpc::Transport* transport);
  // Called, on a registered shard and again and again, while an order finds no agent that serves:
  // who knows of agents is to be asked now. Any thread.
  void OnWanted(std::function<void()> wanted);
  // Any thread. Orders of agents that are gone move.
  void SetAgents(std::vector<AgentInfo> agents);
  // Instead of kPatience; any thread.
  void SetPatience(Nanos patience) { patience_ns_.store(patience.count()); }
  Nanos patience() const { return Nanos(patience_ns_.load()); }
  async::Task<Result<io::Buffer>> Fetch(FetchOrder order) override;
  void Hasten(uint64_t id) override;
  // Orders are refused from now on; any thread.
  void BeginStop() { stopping_.store(true); }
  // On each registered shard, when no order is under way there.
  async::Task<void> StopOnShard();

 private:
  // A connection, and the orders that are under way on it.
  struct Lane {
    std::unique_ptr<rpc::Client> client;
    std::set<const uint64_t*> tickets;
  };
  struct Agent {
    AgentInfo info;
    Lane demands;
    Lane others;
    uint64_t orders = 0;
    bool gone = false;  // SetAgents does not name it
  };
  using AgentPointer = std::shared_ptr<Agent>;
  // An order under way, which may become a demand.
  struct Current {
    FetchOrder* order = nullptr;
    AgentPointer agent;  // that has it; null: on its way there
  };
  struct Side {
    async::Shard* shard = nullptr;
    rpc::Transport* transport = nullptr;
    std::map<std::string, AgentPointer> agents;
    std::map<uint64_t, Current> current;  // by id; no demands
    uint64_t hastening = 0;               // requests under way
    uint64_t retiring = 0;                // agents that are taken leave of
    uint64_t version = 0;  // of agents_
    Nanos last_progress{0};
    bool watching = false;
  };

  Side* CurrentSide();
  // As SetAgents has it; those that are gone go with their last order.
  void Refresh(Side* side);
  void TakeOver(Side* side);
  AgentPointer Choose(Side* side, const std::string& not_this);
  void Open(Side* side, const AgentInfo& info, Lane* lane);
  async::Task<Result<io::Buffer>> FetchFrom(Side* side, AgentPointer agent,
                                            const FetchOrder* order, Nanos connect_until);
  async::Task<Result<io::Buffer>> FetchFromSome(Side* side, const FetchOrder* order);
  // Until it is worth looking for an agent again.
  async::Task<void> AwaitAgents(Side* side, Nanos* look);
  async::Task<void> SendHasten(Side* side, AgentPointer agent, std::string body);
  // While orders are under way: those of agents whose connection has ended are taken back.
  async::Task<void> Watch(Side* side);
  void TakeBack(Lane* lane, bool gone);
  async::Task<void> Retire(Side* side, AgentPointer agent);

  rpc::ClientIdentity identity_;
  std::vector<std::unique_ptr<Side>> sides_;  // fixed after set-up; each is its shard's
  std::atomic<bool> stopping_{false};
  std::atomic<int64_t> patience_ns_{kPatience.count()};
  std::mutex mutex_;  // guards what follows
  std::vector<AgentInfo> agents_;
  std::function<void()> wanted_;
  uint64_t version_ = 0;
};

}  // namespace sheen::oss
