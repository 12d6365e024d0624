#include "apps/common/data_plane.h"

#include <fmt/format.h>

namespace sheen::apps {
namespace {

async::Task<Status> StopServer(rpc::Server* server) {
  co_await server->Stop();
  co_return Status{};
}

}  // namespace

Status ExplainListening(Status listening, std::string_view flag) {
  if (listening || listening.error().code() != Errc::kBusy) return listening;
  return Fail(Errc::kBusy,
              fmt::format("{}; stop what uses the port (ss -ltnp shows it), or choose another with "
                          "{} (0: any free one)",
                          listening.error().message(), flag));
}

DataPlane::DataPlane(ShardSet* shards) : shards_(shards) {
  for (uint32_t i = 0; i < shards->size(); ++i) sides_.push_back(std::make_unique<Side>());
}

DataPlane::~DataPlane() { Stop(); }

Result<std::unique_ptr<DataPlane>> DataPlane::Listen(ShardSet* shards,
                                                     const ListenOptions& options) {
  std::unique_ptr<DataPlane> plane(new DataPlane(shards));
  SHEEN_TRY(ExplainListening(plane->ListenOn(options.port, options.host), "--port"));
  return plane;
}

Status DataPlane::ListenOn(uint16_t port, const std::string& host) {
  const Status listening = shards_->RunOnEach([this, port, &host](ShardSet::Member* member) {
    Side* side = sides_[member->index].get();
    const rpc::Address address{host, member->index == 0 ? port : port_};
    auto listener = member->transport->Listen(address, [side](std::unique_ptr<rpc::Link> link) {
      if (side->server != nullptr) side->server->Accept(std::move(link));
    });
    if (!listener) return Status(std::unexpected(listener.error()));
    side->listener = std::move(*listener);
    port_ = side->listener->port();
    return Status{};
  });
  if (listening) return {};
  (void)shards_->RunOnEach([this](ShardSet::Member* member) {
    sides_[member->index]->listener.reset();
    return Status{};
  });
  return listening;
}

void DataPlane::Serve(rpc::SessionTable* sessions, rpc::Service* service,
                      const rpc::ServerOptions& options) {
  (void)shards_->RunOnEach([&](ShardSet::Member* member) {
    sides_[member->index]->server =
        std::make_unique<rpc::Server>(member->shard.get(), sessions, service, options);
    return Status{};
  });
}

void DataPlane::Broadcast(rpc::Opcode opcode, const std::string& body) {
  for (uint32_t i = 0; i < shards_->size(); ++i) {
    Side* side = sides_[i].get();
    shards_->At(i)->shard->Post([side, opcode, body] {
      if (side->server != nullptr) side->server->Broadcast(opcode, body);
    });
  }
}

uint64_t DataPlane::connection_count() {
  uint64_t count = 0;
  (void)shards_->RunOnEach([this, &count](ShardSet::Member* member) {
    const Side* side = sides_[member->index].get();
    if (side->server != nullptr) count += side->server->connection_count();
    return Status{};
  });
  return count;
}

void DataPlane::Stop() {
  if (std::exchange(stopped_, true)) return;
  (void)shards_->RunOnEach([this](ShardSet::Member* member) {
    sides_[member->index]->listener.reset();
    return Status{};
  });
  for (uint32_t i = 0; i < shards_->size(); ++i) {
    rpc::Server* server = sides_[i]->server.get();
    if (server == nullptr) continue;
    (void)shards_->Await<Status>(i, [server] { return StopServer(server); });
  }
  (void)shards_->RunOnEach([this](ShardSet::Member* member) {
    sides_[member->index]->server.reset();
    return Status{};
  });
}

}  // namespace sheen::apps
