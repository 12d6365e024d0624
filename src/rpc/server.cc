#include "rpc/server.h"

#include <set>

#include "base/log.h"
#include "rpc/address.h"
#include "rpc/server_connection.h"

namespace sheen::rpc {
namespace {

// Stop lets answers that are queued leave, at most so long.
constexpr Nanos kDrainMax = std::chrono::seconds(1);
constexpr Nanos kDrainLook = std::chrono::milliseconds(1);

CidrList ParseAllowOrLoopback(const std::vector<std::string>& networks) {
  Result<CidrList> parsed = CidrList::Parse(networks);
  if (parsed) return std::move(*parsed);
  // Refusing more than was meant is the safe side; daemons check the option before they get here.
  SHEEN_LOG(Error, "{}; only loopback may connect", parsed.error().ToString());
  return {};
}

}  // namespace

Server::State::State(async::Shard* shard_in, SessionTable* sessions_in, Service* service_in,
                     ServerOptions options_in)
    : shard(shard_in),
      sessions(sessions_in),
      service(service_in),
      options(std::move(options_in)),
      allow(ParseAllowOrLoopback(options.allow)) {}

void Server::State::Forget(uint64_t connection) {
  connections.erase(connection);
  Wake();
}

void Server::State::LinkEnded(const std::shared_ptr<Session>& session) {
  const Nanos now = shard->Now();
  // Before the count: whoever sees 0 sees the time too.
  session->idle_since_ns.store(now.count());
  if (session->link_count.fetch_sub(1) != 1 || session->ended.load()) return;
  const Nanos grace = options.disconnect_grace;
  shard->AddTimer(now + grace, [weak = weak_from_this(), session, grace] {
    const auto self = weak.lock();
    if (self == nullptr || self->stopping) return;
    if (session->link_count.load() != 0 || session->ended.load()) return;
    // It came back and left again: a later timer counts.
    if (self->shard->Now().count() - session->idle_since_ns.load() < grace.count()) return;
    self->service->OnSessionIdle(session);
  });
}

void Server::State::ScheduleSilenceCheck() {
  if (silence_check_running || stopping) return;
  silence_check_running = true;
  shard->AddTimer(shard->Now() + options.silent_timeout / 4, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->CheckSilence();
  });
}

void Server::State::CheckSilence() {
  silence_check_running = false;
  const Nanos oldest = shard->Now() - options.silent_timeout;
  for (const auto& [key, connection] : connections) {
    if (connection->last_heard() >= oldest) continue;
    connection->Close(Errc::kTimedOut,
                      "the client was silent for " +
                          std::to_string(options.silent_timeout / std::chrono::seconds(1)) + " s");
  }
  if (!connections.empty()) ScheduleSilenceCheck();
}

Server::Server(async::Shard* shard, SessionTable* sessions, Service* service, ServerOptions options)
    : state_(std::make_shared<State>(shard, sessions, service, std::move(options))) {}

Server::~Server() {
  state_->stopping = true;
  state_->ended = true;
  for (const auto& [key, connection] : state_->connections) {
    connection->Close(Errc::kCancelled, "the server has ended");
  }
}

void Server::Accept(std::unique_ptr<Link> link) {
  if (state_->stopping) return;
  if (!MayConnect(state_->allow, HostOfPeer(link->peer()))) {
    SHEEN_LOG(Warn, "{}: connection from {} closed: not in the networks that may connect (--allow)",
              state_->sessions->identity().server_name, link->peer());
    return;
  }
  if (state_->connections.size() >= state_->options.connections_max) {
    SHEEN_LOG(Warn, "{}: connection from {} closed: {} connections are the most there may be",
              state_->sessions->identity().server_name, link->peer(),
              state_->options.connections_max);
    return;
  }
  auto connection = std::make_shared<Connection>(state_, std::move(link));
  state_->connections.emplace(connection->number(), connection);
  connection->Start();
  state_->ScheduleSilenceCheck();
}

void Server::Broadcast(Opcode opcode, const std::string& body) {
  std::set<uint64_t> told;
  for (const auto& [key, connection] : state_->connections) {
    if (!connection->established() || !told.insert(connection->session()->id()).second) continue;
    connection->SendRequest(opcode, body, state_->next_xid++);
  }
}

async::Task<void> Server::Stop() {
  // The frame keeps its own reference: the Server may be destroyed as the caller is resumed.
  const std::shared_ptr<State> state = state_;
  state->stopping = true;
  co_await state->gate.Close();
  const Nanos until = state->shard->Now() + kDrainMax;
  while (state->shard->Now() < until) {
    size_t queued = 0;
    for (const auto& [key, connection] : state->connections) queued += connection->queued_bytes();
    if (queued == 0) break;
    co_await state->shard->Sleep(kDrainLook);
  }
  for (const auto& [key, connection] : state->connections) {
    connection->Close(Errc::kCancelled, "the server is stopping");
  }
  while (!state->connections.empty()) co_await state->events.Wait();
}

uint64_t Server::connection_count() const { return state_->connections.size(); }

}  // namespace sheen::rpc
