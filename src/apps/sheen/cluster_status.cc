#include "apps/sheen/cluster_status.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "rpc/grpc_control.h"

namespace sheen::apps {
namespace {

std::string AsText(const v1::GetStatusReply& reply) {
  std::string out = fmt::format(
      "{} {} of filesystem {}: {}, process {}, boot {}, {} connections, {} "
      "sessions\n",
      reply.program(), reply.server_name(), reply.fsname(), reply.state(), reply.pid(),
      reply.boot(), reply.connections(), reply.sessions());
  for (const v1::TargetSpace& target : reply.targets()) {
    out += fmt::format("  {:<16} {:<5} {:>16} of {:>16} bytes available{}{}\n", target.name(),
                       target.up() ? "up" : "down", target.bytes_available(), target.bytes_total(),
                       target.server().empty() ? "" : " on ", target.server());
  }
  return out;
}

std::string AsJson(const v1::GetStatusReply& reply) {
  nlohmann::json out = {{"program", reply.program()},
                        {"server", reply.server_name()},
                        {"fsname", reply.fsname()},
                        {"state", reply.state()},
                        {"pid", reply.pid()},
                        {"boot", reply.boot()},
                        {"connections", reply.connections()},
                        {"sessions", reply.sessions()},
                        {"targets", nlohmann::json::array()}};
  for (const v1::TargetSpace& target : reply.targets()) {
    out["targets"].push_back({{"name", target.name()},
                              {"up", target.up()},
                              {"server", target.server()},
                              {"bytes_total", target.bytes_total()},
                              {"bytes_free", target.bytes_free()},
                              {"bytes_available", target.bytes_available()},
                              {"files_total", target.files_total()},
                              {"files_free", target.files_free()},
                              {"state", target.state()}});
  }
  return out.dump(2) + "\n";
}

}  // namespace

Result<std::string> ClusterStatus(const rpc::Address& address, bool as_json) {
  rpc::AdminClient client(address);
  SHEEN_TRY_ASSIGN(const v1::GetStatusReply reply, client.GetStatus());
  return as_json ? AsJson(reply) : AsText(reply);
}

}  // namespace sheen::apps
