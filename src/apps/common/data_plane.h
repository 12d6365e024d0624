// DataPlane: a server daemon's side of the data plane: every shard listens on one port and has one
// rpc::Server.
//
//   SHEEN_TRY_ASSIGN(auto plane, DataPlane::Listen(shards, {.host = "127.0.0.1", .port = 7988}));
//   plane->Serve(&sessions, &service, {});      // until now connections are closed at once
//   ...
//   plane->Stop();
//
// Belongs to the main thread, except Broadcast() and connection_count(), which are thread-safe
// between Serve() and Stop().
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "apps/common/shard_set.h"
#include "rpc/server.h"
#include "sheen/result.h"

namespace sheen::apps {

struct ListenOptions {
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: the kernel chooses
};

class DataPlane final {
 public:
  // `shards` outlives the plane. Errors: kBusy (taken; says what to do), kNoEntry (no such host).
  static Result<std::unique_ptr<DataPlane>> Listen(ShardSet* shards, const ListenOptions& options);
  ~DataPlane();
  DataPlane(const DataPlane&) = delete;
  DataPlane& operator=(const DataPlane&) = delete;

  uint16_t port() const { return port_; }
  // `sessions` and `service` must outlive Stop().
  void Serve(rpc::SessionTable* sessions, rpc::Service* service, const rpc::ServerOptions& options);
  // To every connected session once on each shard it has a connection to.
  void Broadcast(rpc::Opcode opcode, const std::string& body);
  uint64_t connection_count();
  // No new connections and requests; those in flight end; connections are closed. Idempotent.
  void Stop();

 private:
  struct Side {
    std::unique_ptr<rpc::Listener> listener;
    std::unique_ptr<rpc::Server> server;
  };

  explicit DataPlane(ShardSet* shards);
  Status ListenOn(uint16_t port, const std::string& host);

  ShardSet* const shards_;
  uint16_t port_ = 0;
  // One a shard; what is in them is touched on that shard only.
  std::vector<std::unique_ptr<Side>> sides_;
  bool stopped_ = false;
};

// The error of listening on a port, with what to do when it is taken. No other port is tried: who
// looks for the server would not find it, or find another.
Status ExplainListening(Status listening, std::string_view flag);

}  // namespace sheen::apps
