#include "apps/common/server_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include "apps/common/words.h"

namespace sheen::apps {

void NetworkOptions::AddTo(Settings* settings) {
  settings->Text("listen", &listen,
                 "address to listen on, \"*\" for all (default 127.0.0.1; others need --allow)");
  settings->Number("port", &port,
                   fmt::format("data port, 0: any free one (default {})", port),
                   0, 65535);
  settings->Number(
      "control-port", &control_port,
      fmt::format("control port, 0: any free one (default {})", control_port), 0,
      65535);
  settings->List("allow", &allow, "networks that may connect, as 10.0.0.0/8");
  settings->List("host", &hosts,
                 "name or address under which others reach this server (default: the one of "
                 "--listen, or the host's name)");
  settings->Text("metrics", &metrics,
                 "[HOST:]PORT that answers GET /metrics, for Prometheus (default: none; HOST "
                 "127.0.0.1)");
  settings->Text("checksums", &checksums_word_, "on or off: sum what is sent (default on)");
}

Status NetworkOptions::Check() {
  if (checksums_word_ != "on" && checksums_word_ != "off") {
    return Fail(Errc::kInvalid,
                fmt::format("--checksums is '{}'; it must be on or off", checksums_word_));
  }
  checksums = checksums_word_ == "on";
  return CheckListen(listen, allow);
}

rpc::TcpOptions NetworkOptions::Tcp() const {
  rpc::TcpOptions options;
  options.checksums = checksums;
  options.allow = allow;
  options.reuse_port = true;
  return options;
}

rpc::ServerOptions NetworkOptions::Server() const {
  rpc::ServerOptions options;
  options.checksums = checksums;
  options.allow = allow;
  return options;
}

std::vector<std::string> NetworkOptions::AdvertisedHosts() const {
  if (!hosts.empty()) return hosts;
  if (!IsWildcard(listen)) return {listen};
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return {"127.0.0.1"};
  return {name};
}

Result<std::unique_ptr<rpc::GrpcServer>> NetworkOptions::StartControl(
    const std::function<std::unique_ptr<rpc::GrpcServer>(rpc::GrpcServerOptions)>& make) const {
  rpc::GrpcServerOptions options;
  options.host = listen;
  options.port = static_cast<uint16_t>(control_port);
  options.allow = allow;
  std::unique_ptr<rpc::GrpcServer> server = make(std::move(options));
  SHEEN_TRY(ExplainListening(server->Start(), "--control-port"));
  return server;
}

}  // namespace sheen::apps
