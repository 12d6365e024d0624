#include "oss/agent_pool.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

// Of the way to the agent, not of S3: another agent may do better.
bool IsOfTheWay(Errc code) {
  switch (code) {
    case Errc::kInterrupted:  // Cancel()
    case Errc::kCancelled:
    case Errc::kDisconnected:
    case Errc::kTimedOut:
    case Errc::kConnectionRefused:
    case Errc::kEvicted:
    case Errc::kNotThisServer:
      return true;
    default:
      return false;
  }
}

}  // namespace

AgentPool::~AgentPool() = default;

void AgentPool::RegisterShard(async::Shard* shard, rpc::Transport* transport) {
  sides_.push_back(std::make_unique<Side>());
  sides_.back()->shard = shard;
  sides_.back()->transport = transport;
}

void AgentPool::SetAgents(std::vector<AgentInfo> agents) {
  const std::scoped_lock lock(mutex_);
  if (agents == agents_) return;
  agents_ = std::move(agents);
  ++version_;
}

AgentPool::Side* AgentPool::CurrentSide() {
  for (const std::unique_ptr<Side>& side : sides_) {
    if (side->shard == async::Shard::Current()) return side.get();
  }
  SHEEN_ASSERT(false && "the calling shard was not registered");
  return nullptr;
}

void AgentPool::Refresh(Side* side) {
  std::vector<AgentInfo> agents;
  {
    const std::scoped_lock lock(mutex_);
    if (side->version == version_) return;
    side->version = version_;
    agents = agents_;
  }
  for (auto& [name, agent] : side->agents) agent->gone = true;
  for (const AgentInfo& info : agents) {
    AgentPointer& agent = side->agents[info.name];
    if (agent == nullptr) agent = std::make_shared<Agent>();
    agent->gone = false;
    if (agent->client != nullptr && agent->info.addresses != info.addresses) {
      agent->client->SetAddresses(info.addresses);
    }
    agent->info = info;
    if (agent->client != nullptr) continue;
    rpc::ClientOptions options;
    options.server_name = info.name;
    options.addresses = info.addresses;
    options.client_name = "oss";
    agent->client = std::make_unique<rpc::Client>(side->shard, side->transport, &identity_,
                                                  std::move(options));
  }
}

AgentPool::AgentPointer AgentPool::Choose(Side* side, const std::string& not_this) {
  AgentPointer best;
  const auto worse = [&](const Agent& a, const Agent& b) {
    const bool a_failed = a.info.name == not_this;
    const bool b_failed = b.info.name == not_this;
    if (a_failed != b_failed) return a_failed;
    if (a.info.near != b.info.near) return b.info.near;
    return a.orders > b.orders;
  };
  for (const auto& [name, agent] : side->agents) {
    if (agent->gone) continue;
    if (best == nullptr || worse(*best, *agent)) best = agent;
  }
  return best;
}

async::Task<Result<io::Buffer>> AgentPool::FetchFrom(Side* side, AgentPointer agent,
                                                     const FetchOrder* order, Nanos deadline) {
  if (!agent->client->connected()) {
    const Status connected =
        co_await agent->client->Connect(std::min(deadline, side->shard->Now() + kConnectBound));
    if (!connected) co_return Fail(Errc::kDisconnected, connected.error().ToString());
  }
  v1::AgentFetchRequest request;
  request.set_link(order->link);
  request.set_key(order->key);
  request.set_etag(order->etag);
  request.set_offset(order->offset);
  request.set_length(order->length);
  request.set_prefetch(order->prefetch);
  io::Buffer bytes = io::Buffer::Allocate(order->length);
  rpc::Call call;
  call.opcode = rpc::Opcode::kAgentFetch;
  call.body = request.SerializeAsString();
  call.bulk_sink = bytes.span();
  call.needs_slot = false;
  call.deadline = deadline;
  uint64_t ticket = 0;
  call.ticket_out = &ticket;
  if (!side->watching) {
    side->watching = true;
    side->shard->Spawn(Watch(side));
  }
  ++agent->orders;
  agent->tickets.insert(&ticket);
  Result<rpc::Answer> answer = co_await agent->client->Execute(std::move(call));
  agent->tickets.erase(&ticket);
  --agent->orders;
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->bulk.empty()) co_return std::move(answer->bulk);
  bytes.Resize(answer->bulk_bytes);
  co_return std::move(bytes);
}

async::Task<Result<io::Buffer>> AgentPool::Fetch(FetchOrder order) {
  Side* const side = CurrentSide();
  const Nanos deadline = side->shard->Now() + kOrderBound;
  std::string failed;
  Error last(Errc::kUnavailable, "no agent is there; start a sheen-agent");
  while (!stopping_.load() && side->shard->Now() < deadline) {
    Refresh(side);
    const AgentPointer agent = Choose(side, failed);
    if (agent == nullptr) {
      co_await side->shard->Sleep(kLook);
      continue;
    }
    Result<io::Buffer> got = co_await FetchFrom(side, agent, &order, deadline);
    if (got || !IsOfTheWay(got.error().code())) co_return got;
    last = Annotate(got.error(), agent->info.name + ": ");
    // With one agent there is nobody else to ask; it may be coming back.
    if (failed == agent->info.name) co_await side->shard->Sleep(kLook);
    failed = agent->info.name;
  }
  co_return Fail(Errc::kUnavailable, last.ToString());
}

async::Task<void> AgentPool::Watch(Side* side) {
  for (;;) {
    co_await side->shard->Sleep(kLook);
    uint64_t orders = 0;
    Refresh(side);
    for (const auto& [name, agent] : side->agents) orders += agent->orders;
    if (orders == 0) break;
    for (const auto& [name, agent] : side->agents) {
      if (agent->orders == 0) continue;
      if (agent->client->connected() && !agent->gone && !stopping_.load()) continue;
      std::vector<uint64_t> tickets;
      for (const uint64_t* ticket : agent->tickets) tickets.push_back(*ticket);
      for (const uint64_t ticket : tickets) agent->client->Cancel(ticket);
    }
  }
  side->watching = false;
}

async::Task<void> AgentPool::StopOnShard() {
  Side* const side = CurrentSide();
  while (side->watching) co_await side->shard->Sleep(kLook);
  for (const auto& [name, agent] : side->agents) {
    co_await agent->client->Stop(std::chrono::milliseconds(200), true);
  }
  side->agents.clear();
}

}  // namespace sheen::oss
