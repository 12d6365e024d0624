#include "client/cluster.h"

namespace sheen::client {

Result<Cluster> ClusterFromWire(const v1::ClusterMap& map, const std::string& fsname) {
  if (map.fsname() != fsname) {
    return Fail(Errc::kWrongFilesystem,
                "the server has filesystem '" + map.fsname() + "', not '" + fsname + "'");
  }
  Cluster cluster;
  cluster.version = map.version();
  cluster.opens_are_logged = map.opens_are_logged();
  for (const v1::ServerEntry& server : map.servers()) {
    if (server.data_port() == 0 || server.data_port() > UINT16_MAX) {
      return Fail(Errc::kProtocol, "cluster map: bad port of server " + server.name());
    }
    std::vector<rpc::Address>& addresses = cluster.servers[server.name()];
    for (const std::string& host : server.hosts()) {
      addresses.push_back({host, static_cast<uint16_t>(server.data_port())});
    }
  }
  for (const v1::TargetEntry& target : map.targets()) {
    if (target.is_mdt()) continue;
    cluster.ost_servers[target.index()] = target.server();
  }
  return cluster;
}

}  // namespace sheen::client
