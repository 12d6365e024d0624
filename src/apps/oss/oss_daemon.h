// OssDaemon: sheen-oss put together: targets with their stores, the object service, the data plane,
// the control plane, and the registration with the MGS.
//
// A server that was registered before knows its name and serves at once, whether or not the MGS
// answers; a new one is given its name by the MGS and serves when it has one.
//
// Belongs to the main thread.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "apps/common/daemon.h"
#include "apps/common/data_plane.h"
#include "apps/common/node_control.h"
#include "apps/common/server_options.h"
#include "apps/common/shard_set.h"
#include "apps/oss/registrar.h"
#include "kv/store.h"
#include "oss/agent_pool.h"
#include "oss/service.h"
#include "ost/target.h"
#include "rpc/grpc_server.h"

namespace sheen::apps {

struct OssConfig {
  std::vector<std::string> targets;  // directories
  std::vector<std::string> mgs;      // HOST:CONTROLPORT; empty: what the targets remember
  std::string fsname;                // empty: whatever the targets were formatted for
  std::string name;                  // empty: remembered, or given by the MGS
  DaemonOptions daemon;
  NetworkOptions network;
  std::function<bool()> stop_pending;  // asked while the start waits for the MGS
};

class OssDaemon final {
 public:
  explicit OssDaemon(OssConfig config);
  ~OssDaemon();

  // Serves when it returns. Errors: with what to do; nothing is left running then.
  Status Start();
  uint16_t port() const { return plane_->port(); }
  uint16_t control_port() const { return control_->port(); }
  uint16_t metrics_port() const { return node_->metrics_port(); }
  // Ends requests in flight and commits. Idempotent.
  void Stop();

 private:
  // Destroyed in reverse: the target before the store it works on.
  struct Ost {
    std::string directory;
    std::unique_ptr<kv::Store> index;
    std::unique_ptr<ost::Target> target;
  };

  Status OpenTargets();
  Result<Ost> OpenTarget(const std::string& directory);
  Status ReadNotes();
  Status StartService();
  Status StartControl();
  Status StartNodeControl();
  Status StartRegistrar();
  Status WaitForName();
  Status ServeData();
  void AwaitUp();
  void RememberName(const std::string& name);
  v1::GetStatusReply StatusReply();
  std::vector<v1::TargetSpace> Spaces();
  void SetAgents(const v1::HeartbeatReply& reply);

  OssConfig config_;
  std::vector<rpc::Address> mgs_;
  std::string fsname_;
  // Destroyed in reverse: what is used by others stands above them.
  rpc::FaultPoints faults_{rpc::FaultNode::kOss};
  std::unique_ptr<ShardSet> shards_;
  std::vector<Ost> targets_;
  std::unique_ptr<oss::AgentPool> agents_;
  std::optional<Nanos> agents_seen_;  // the registrar's thread: when the MDS last named any
  std::unique_ptr<oss::OssService> service_;
  std::unique_ptr<rpc::SessionTable> sessions_;
  std::unique_ptr<DataPlane> plane_;
  std::unique_ptr<NodeControl> node_;
  std::unique_ptr<rpc::GrpcServer> control_;
  std::unique_ptr<Registrar> registrar_;
  std::mutex name_mutex_;  // guards registered_name_
  std::string registered_name_;
  bool background_ = false;
  bool stopped_ = false;
};

}  // namespace sheen::apps
