// MdsDaemon: sheen-mds put together: the store, the metadata service, the data plane and the
// control plane.
//
// Belongs to the main thread.
#pragma once

#include <memory>
#include <string>

#include "apps/common/daemon.h"
#include "apps/common/data_plane.h"
#include "apps/common/node_control.h"
#include "apps/common/server_options.h"
#include "apps/common/shard_set.h"
#include "kv/store.h"
#include "mds/service.h"
#include "rpc/grpc_agent_calls.h"
#include "rpc/grpc_control.h"
#include "rpc/grpc_server.h"

namespace sheen::apps {

struct MdsConfig {
  std::string dir;
  std::string fsname;  // empty: whatever the store was formatted for
  DaemonOptions daemon;
  NetworkOptions network;
};

class MdsDaemon final {
 public:
  explicit MdsDaemon(MdsConfig config);
  ~MdsDaemon();

  // Serves when it returns. Errors: with what to do; nothing is left running then.
  Status Start();
  uint16_t port() const { return plane_->port(); }
  uint16_t control_port() const { return control_->port(); }
  uint16_t metrics_port() const { return node_->metrics_port(); }
  // Ends requests in flight and makes everything durable. Idempotent.
  void Stop();

 private:
  Status OpenStore();
  Status OpenService();
  Status ServeData();
  Status ServeControl();
  Status StartNodeControl();
  Status RegisterSelf();
  v1::GetStatusReply StatusReply();

  const MdsConfig config_;
  // Destroyed in reverse: what is used by others stands above them.
  rpc::FaultPoints faults_{rpc::FaultNode::kMds};
  std::unique_ptr<kv::Store> store_;
  std::unique_ptr<ShardSet> shards_;
  std::unique_ptr<rpc::GrpcObjectControl> objects_;
  std::unique_ptr<rpc::GrpcAgentCalls> agents_;
  std::unique_ptr<mds::MdsService> service_;
  std::unique_ptr<rpc::SessionTable> sessions_;
  std::unique_ptr<DataPlane> plane_;
  std::unique_ptr<NodeControl> node_;
  std::unique_ptr<rpc::GrpcServer> control_;
  bool background_ = false;
};

}  // namespace sheen::apps
