#include "support/sim_agents.h"

#include "rpc/server.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::test {
namespace {

constexpr uint16_t kPort = 7992;

std::string NameOf(uint32_t agent) { return "agent" + std::to_string(agent); }

}  // namespace

struct SimAgents::Agent final : rpc::Service {
  Agent(SimAgents* agents, uint32_t number)
      : owner(agents),
        table({.fsname = "sim",
               .server_name = NameOf(number),
               .boot = static_cast<uint64_t>(agents->cluster_->shard()->WallNow().count())},
              nullptr),
        server(agents->cluster_->shard(), &table, this, {}),
        transport(agents->cluster_->network(), NameOf(number)) {
    auto made = transport.Listen({"", kPort}, [this](std::unique_ptr<rpc::Link> link) {
      server.Accept(std::move(link));
    });
    SHEEN_ASSERT(made.has_value());
    listener = std::move(*made);
  }
  async::Task<rpc::Response> Handle(rpc::Request request) override {
    if (request.header.opcode == rpc::Opcode::kAgentHasten) return Hastened();
    return owner->Answer(std::move(request.body));
  }
  static async::Task<rpc::Response> Hastened() {
    rpc::Response response;
    response.body = v1::AgentHastenReply().SerializeAsString();
    co_return std::move(response);
  }
  uint64_t LastCommitted(uint32_t /*target*/) const override { return 0; }

  SimAgents* const owner;
  rpc::SessionTable table;
  rpc::Server server;
  rpc::SimTransport transport;
  std::unique_ptr<rpc::Listener> listener;
};

SimAgents::SimAgents(SimCluster* cluster, SimAgentsOptions options)
    : cluster_(cluster), options_(options), random_(options.seed) {
  for (uint32_t i = 0; i < options_.agents; ++i) {
    agents_.push_back(std::make_unique<Agent>(this, i));
  }
}

SimAgents::~SimAgents() = default;

SimAgents* SimAgents::Add(SimCluster* cluster, SimAgentsOptions options) {
  std::unique_ptr<SimAgents> agents(new SimAgents(cluster, options));
  SimAgents* const added = agents.get();
  cluster->SetAgents(std::move(agents));
  return added;
}

void SimAgents::Put(const std::string& key, uint64_t bytes) {
  objects_[key] = {.version = ++versions_, .bytes = bytes};
}

std::string SimAgents::EtagOf(const std::string& key) const {
  return "\"v" + std::to_string(objects_.at(key).version) + "\"";
}

std::byte SimAgents::ByteOf(const std::string& key, uint64_t offset) const {
  const uint64_t version = objects_.at(key).version;
  return static_cast<std::byte>((offset / 4096 * 7 + offset % 251 + version * 101) % 256);
}

async::Task<rpc::Response> SimAgents::Answer(std::string body) {
  v1::AgentFetchRequest request;
  SHEEN_ASSERT(request.ParseFromString(body));
  const auto most = static_cast<uint64_t>(options_.slowest / std::chrono::milliseconds(1));
  co_await cluster_->shard()->Sleep(std::chrono::milliseconds(1 + random_.Below(most)));
  ++requests_;
  const auto found = objects_.find(request.key());
  if (found == objects_.end()) {
    co_return rpc::Response::Of(Error(Errc::kNoEntry, request.key() + " is gone"));
  }
  if (EtagOf(request.key()) != request.etag()) {
    co_return rpc::Response::Of(Error(Errc::kStale, request.key() + " was changed"));
  }
  rpc::Response response;
  response.bulk = io::Buffer::Allocate(request.length());
  bytes_ += request.length();
  for (uint32_t i = 0; i < request.length(); ++i) {
    response.bulk.data()[i] = ByteOf(request.key(), request.offset() + i);
  }
  response.body = v1::AgentFetchReply().SerializeAsString();
  co_return std::move(response);
}

std::vector<oss::AgentInfo> SimAgents::Infos() const {
  std::vector<oss::AgentInfo> out;
  for (uint32_t i = 0; i < agents_.size(); ++i) {
    if (agents_[i] != nullptr) out.push_back({NameOf(i), {{NameOf(i), kPort}}, i == 0});
  }
  return out;
}

void SimAgents::Kill(uint32_t agent) {
  if (agents_[agent] == nullptr) return;
  cluster_->network()->Kill(NameOf(agent));
  agents_[agent]->listener.reset();
  dead_.push_back(std::move(agents_[agent]));
}

void SimAgents::Start(uint32_t agent) {
  if (agents_[agent] == nullptr) agents_[agent] = std::make_unique<Agent>(this, agent);
}

void SimAgents::Attach(const std::string& node, oss::OssService* service) {
  auto pool = std::make_unique<Pool>(cluster_->network(), node);
  pool->pool.RegisterShard(cluster_->shard(), &pool->transport);
  pool->pool.SetAgents(Infos());
  service->SetBlockSource(&pool->pool);
  pools_[node] = std::move(pool);
}

async::Task<void> SimAgents::Detach(const std::string& node) {
  co_await pools_.at(node)->pool.StopOnShard();
  pools_.erase(node);
}

async::Task<void> SimAgents::Stop() {
  for (auto& agent : agents_) {
    if (agent != nullptr) dead_.push_back(std::move(agent));
  }
  for (auto& agent : dead_) {
    agent->listener.reset();
    co_await agent->server.Stop();
  }
}

}  // namespace sheen::test
