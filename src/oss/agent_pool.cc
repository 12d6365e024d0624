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

void AgentPool::OnWanted(std::function<void()> wanted) {
  const std::scoped_lock lock(mutex_);
  wanted_ = std::move(wanted);
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
  TakeOver(side);
  if (side->hastening > 0) return;
  std::erase_if(side->agents, [this, side](const auto& entry) {
    const AgentPointer& agent = entry.second;
    const bool over = agent->gone && agent->orders == 0 && agent->demands.client != nullptr;
    if (over) {
      ++side->retiring;
      side->shard->Spawn(Retire(side, agent));
    }
    return over;
  });
}

void AgentPool::TakeOver(Side* side) {
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
    const bool moved = agent->info.addresses != info.addresses;
    agent->info = info;
    for (Lane* const lane : {&agent->demands, &agent->others}) {
      if (lane->client == nullptr) {
        Open(side, info, lane);
      } else if (moved) {
        lane->client->SetAddresses(info.addresses);
      }
    }
  }
}

// Gone, and nothing of it is under way: else it would be looked for as long as this server runs.
async::Task<void> AgentPool::Retire(Side* side, AgentPointer agent) {
  co_await agent->demands.client->Stop(std::chrono::milliseconds(200), true);
  co_await agent->others.client->Stop(std::chrono::milliseconds(200), true);
  --side->retiring;
}

void AgentPool::Open(Side* side, const AgentInfo& info, Lane* lane) {
  rpc::ClientOptions options;
  options.server_name = info.name;
  options.addresses = info.addresses;
  options.client_name = "oss";
  lane->client = std::make_unique<rpc::Client>(side->shard, side->transport, &identity_,
                                               std::move(options));
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
                                                     const FetchOrder* order,
                                                     Nanos connect_until) {
  // From now on, not when it is connected: others choose meanwhile.
  struct Counted {
    explicit Counted(Agent* one) : agent(one) { ++agent->orders; }
    ~Counted() { --agent->orders; }
    Agent* const agent;
  };
  const Counted counted(agent.get());
  Lane* const lane = order->urgency == Urgency::kDemand ? &agent->demands : &agent->others;
  if (!lane->client->connected()) {
    const Status connected = co_await lane->client->Connect(connect_until);
    if (!connected) co_return Fail(Errc::kDisconnected, connected.error().ToString());
  }
  v1::AgentFetchRequest request;
  request.set_link(order->link);
  request.set_key(order->key);
  request.set_etag(order->etag);
  request.set_offset(order->offset);
  request.set_length(order->length);
  request.set_prefetch(order->urgency != Urgency::kDemand);
  request.set_ahead(order->urgency == Urgency::kAhead);
  io::Buffer bytes = io::Buffer::Allocate(order->length);
  rpc::Call call;
  call.opcode = rpc::Opcode::kAgentFetch;
  call.body = request.SerializeAsString();
  call.bulk_sink = bytes.span();
  call.needs_slot = false;
  // No deadline: Watch takes it back when the agent goes.
  uint64_t ticket = 0;
  call.ticket_out = &ticket;
  if (!side->watching) {
    side->watching = true;
    side->shard->Spawn(Watch(side));
  }
  const auto found = side->current.find(order->id);
  const bool listed = found != side->current.end() && found->second.order == order;
  if (listed) found->second.agent = agent;
  lane->tickets.insert(&ticket);
  Result<rpc::Answer> answer = co_await lane->client->Execute(std::move(call));
  lane->tickets.erase(&ticket);
  if (listed) found->second.agent = nullptr;
  if (!answer) co_return std::unexpected(answer.error());
  if (!answer->bulk.empty()) co_return std::move(answer->bulk);
  bytes.Resize(answer->bulk_bytes);
  co_return std::move(bytes);
}

async::Task<Result<io::Buffer>> AgentPool::Fetch(FetchOrder order) {
  Side* const side = CurrentSide();
  const bool listed = order.urgency != Urgency::kDemand;
  if (listed) side->current[order.id] = {.order = &order};
  Result<io::Buffer> got = co_await FetchFromSome(side, &order);
  if (listed) side->current.erase(order.id);
  co_return got;
}

// On the connection of the order, so that it comes after it.
async::Task<void> AgentPool::SendHasten(Side* side, AgentPointer agent, std::string body) {
  rpc::Call call;
  call.opcode = rpc::Opcode::kAgentHasten;
  call.body = std::move(body);
  call.needs_slot = false;
  call.deadline = side->shard->Now() + kConnectBound;
  const Result<rpc::Answer> answer = co_await agent->others.client->Execute(std::move(call));
  // An older agent does not know it.
  if (!answer) SHEEN_LOG(Debug, "{}: {}", agent->info.name, answer.error().ToString());
  --side->hastening;
}

void AgentPool::Hasten(uint64_t id) {
  Side* const side = CurrentSide();
  const auto found = side->current.find(id);
  if (found == side->current.end() || stopping_.load()) return;
  const Current& current = found->second;
  if (current.order->urgency == Urgency::kDemand) return;
  // Wherever it is sent from now on.
  current.order->urgency = Urgency::kDemand;
  if (current.agent == nullptr) return;
  v1::AgentHastenRequest request;
  request.set_link(current.order->link);
  request.set_key(current.order->key);
  request.set_offset(current.order->offset);
  ++side->hastening;
  side->shard->Spawn(SendHasten(side, current.agent, request.SerializeAsString()));
}

async::Task<void> AgentPool::AwaitAgents(Side* side, Nanos* look) {
  std::function<void()> wanted;
  {
    const std::scoped_lock lock(mutex_);
    wanted = wanted_;
  }
  // The ordinary heartbeats find those that come later.
  if (wanted && *look < kLook) wanted();
  co_await side->shard->Sleep(*look);
  *look = std::min(*look * 2, kLook);
}

async::Task<Result<io::Buffer>> AgentPool::FetchFromSome(Side* side, const FetchOrder* order) {
  const Nanos since = side->shard->Now();
  Nanos look = kLookFirst;
  std::string failed;
  Error last(Errc::kUnavailable, "no agent is there; start a sheen-agent");
  for (;;) {
    const Nanos until = std::max(since, side->last_progress) + patience();
    if (stopping_.load() || side->shard->Now() >= until) break;
    Refresh(side);
    const AgentPointer agent = Choose(side, failed);
    if (agent == nullptr) {
      co_await AwaitAgents(side, &look);
      continue;
    }
    Result<io::Buffer> got = co_await FetchFrom(
        side, agent, order, std::min(until, side->shard->Now() + kConnectBound));
    if (got) side->last_progress = side->shard->Now();
    if (got || !IsOfTheWay(got.error().code())) co_return got;
    last = Annotate(got.error(), agent->info.name + ": ");
    // With one agent there is nobody else to ask; it may be coming back.
    if (failed == agent->info.name) co_await AwaitAgents(side, &look);
    failed = agent->info.name;
  }
  const double seconds = std::chrono::duration<double>(patience()).count();
  co_return Fail(Errc::kUnavailable,
                 fmt::format("{}; given up after {:.0f} s without progress", last.ToString(),
                             seconds));
}

async::Task<void> AgentPool::Watch(Side* side) {
  for (;;) {
    co_await side->shard->Sleep(kLook);
    uint64_t orders = 0;
    Refresh(side);
    for (const auto& [name, agent] : side->agents) orders += agent->orders;
    if (orders == 0) break;
    // What is taken back goes on at once, and may find that an agent is to leave the list.
    std::vector<AgentPointer> busy;
    for (const auto& [name, agent] : side->agents) {
      if (agent->orders > 0) busy.push_back(agent);
    }
    for (const AgentPointer& agent : busy) {
      const bool gone = agent->gone || stopping_.load();
      TakeBack(&agent->demands, gone);
      TakeBack(&agent->others, gone);
    }
  }
  side->watching = false;
}

void AgentPool::TakeBack(Lane* lane, bool gone) {
  if (lane->client->connected() && !gone) return;
  std::vector<uint64_t> tickets;
  for (const uint64_t* ticket : lane->tickets) tickets.push_back(*ticket);
  for (const uint64_t ticket : tickets) lane->client->Cancel(ticket);
}

async::Task<void> AgentPool::StopOnShard() {
  Side* const side = CurrentSide();
  while (side->watching || side->hastening > 0 || side->retiring > 0) {
    co_await side->shard->Sleep(kLook);
  }
  for (const auto& [name, agent] : side->agents) {
    co_await agent->demands.client->Stop(std::chrono::milliseconds(200), true);
    co_await agent->others.client->Stop(std::chrono::milliseconds(200), true);
  }
  side->agents.clear();
}

}  // namespace sheen::oss
