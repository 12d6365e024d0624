// What sheen-mds and sheen-oss let one say about the network. Values; not thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "apps/common/data_plane.h"
#include "apps/common/settings.h"
#include "rpc/grpc_server.h"
#include "sheen/result.h"

namespace sheen::apps {

struct NetworkOptions {
  std::string listen = "127.0.0.1";
  int64_t port = 0;
  int64_t control_port = 0;
  std::vector<std::string> allow;
  std::vector<std::string> hosts;  // told to clients and servers
  bool checksums = true;
  std::string metrics;  // [HOST:]PORT for Prometheus; empty: none

  // --listen, --port, --control-port, --allow, --host, --checksums, --metrics. The ports' present
  // values are the defaults.
  void AddTo(Settings* settings);
  // After Settings::Parse(). Errors: kInvalid.
  Status Check();

  rpc::TcpOptions Tcp() const;
  rpc::ServerOptions Server() const;
  // Addresses under which others find this server: --host, else --listen, else the host's name.
  std::vector<std::string> AdvertisedHosts() const;
  // Starts a control server on the control port. `make` gives an unstarted one with its services.
  Result<std::unique_ptr<rpc::GrpcServer>> StartControl(
      const std::function<std::unique_ptr<rpc::GrpcServer>(rpc::GrpcServerOptions)>& make) const;

 private:
  std::string checksums_word_ = "on";
};

}  // namespace sheen::apps
