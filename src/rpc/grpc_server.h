// GrpcServer: the control plane's listening side, the same for all daemons.
//
//   rpc::GrpcServer control({.host = "127.0.0.1", .port = 7989, .allow = allow});
//   control.AddManagement(&cluster_map);                     // MDT0000's server
//   control.AddObjectControl(&oss_service, &shard);          // every OSS
//   control.AddAdmin([&] { return Status(); });              // every daemon
//   SHEEN_TRY(control.Start());                              // control.port() is known now
//   ...
//   control.Stop(std::chrono::seconds(2));
//
// Connections are accepted by one thread of this class, which closes those of peers that are
// neither loopback nor in `allow` before a byte of them is read; each call is then checked against
// the authorization table. Calls are served by gRPC's callback threads; none of them blocks on a
// shard. No gRPC header is needed to include this one.
//
// Thread-safe after Start(). The services must outlive Stop().
#pragma once

#include <concepts>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "async/shard.h"
#include "rpc/control.h"
#include "rpc/grpc_authorization.h"
#include "rpc/repositories.h"

namespace grpc {
class Service;
}

namespace sheen::rpc {

struct GrpcServerOptions {
  std::string host = "127.0.0.1";  // address literal or name to listen on; "" or "*": all
  uint16_t port = 0;               // 0: the kernel chooses
  std::vector<std::string> allow;  // CIDR of peers besides loopback
  AuthorizationTable authorization = DefaultAuthorizationTable();
  uint32_t calls_in_flight_max = 128;  // more are refused with kUnavailable
};

class GrpcServer final {
 public:
  explicit GrpcServer(GrpcServerOptions options);
  ~GrpcServer();  // stops

  // REQUIRES for all Add: not started.
  void AddManagement(ManagementService* service);
  // Runs the service's coroutines on `shard`, which must run until Stop() has returned.
  void AddObjectControl(ObjectControlService* service, async::Shard* shard);
  // As AddObjectControl.
  void AddRepositories(RepositoryService* service, async::Shard* shard);
  void AddAgentControl(AgentControlService* service, async::Shard* shard);
  void AddAdmin(AdminFunctions functions);
  // Another service: Definition is the generated class (v1::Admin), Adapter derives from its
  // Service, so that the methods that are checked are those that are served.
  template <class Definition, std::derived_from<typename Definition::Service> Adapter>
  void Add(std::unique_ptr<Adapter> adapter) {
    AddService(std::move(adapter), Definition::service_full_name());
  }

  // Errors: kInvalid (a method without a row in the authorization table, a bad allow list, a
  // non-loopback address without one), kBusy (port in use), kNoEntry (no such host).
  Status Start();
  // The port listened on. REQUIRES: started.
  uint16_t port() const;
  // No new calls; those in flight get `grace` to end and are cancelled then. Idempotent.
  void Stop(Nanos grace);
  // For adapters: asked before each call.
  const GrpcAuthorization& authorization() const;

 private:
  struct State;
  void AddService(std::unique_ptr<grpc::Service> service, std::string full_name);
  std::unique_ptr<State> state_;
};

}  // namespace sheen::rpc
