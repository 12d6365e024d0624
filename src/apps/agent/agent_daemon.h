// AgentDaemon: sheen-agent put together: the service, its data and control planes, and a thread
// that tells the MDS once a second that it is there.
//
// Belongs to the main thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "agent/agent_service.h"
#include "apps/common/daemon.h"
#include "apps/common/data_plane.h"
#include "apps/common/node_control.h"
#include "apps/common/server_options.h"
#include "apps/common/shard_set.h"
#include "rpc/grpc_repositories.h"
#include "rpc/grpc_server.h"

namespace sheen::apps {

struct AgentConfig {
  std::string mgs = "127.0.0.1:7989";
  std::string fsname = "sheen";
  std::string name;  // empty: of host and process
  int64_t s3_timeout = 60;  // seconds without progress, of a request to S3
  DaemonOptions daemon;
  NetworkOptions network;
};

class AgentDaemon final {
 public:
  explicit AgentDaemon(AgentConfig config) : config_(std::move(config)) {}
  ~AgentDaemon() { Stop(); }

  // Serves when it returns. Errors: with what to do; nothing is left running then.
  Status Start();
  uint16_t port() const { return plane_->port(); }
  uint16_t control_port() const { return control_->port(); }
  void Stop();

 private:
  Status StartPlanes();
  Status StartNodeControl();
  v1::AgentHeartbeatRequest Beat(bool leaving) const;
  Result<v1::ListRepositoriesReply> SayHello();
  void ThreadMain();
  v1::GetStatusReply StatusReply() const;

  AgentConfig config_;
  std::unique_ptr<ShardSet> shards_;
  std::unique_ptr<rpc::RepositoryClient> mds_;    // imports: slow calls
  std::unique_ptr<rpc::RepositoryClient> beats_;  // heartbeats and looks: quick ones
  std::unique_ptr<agent::AgentService> service_;
  std::unique_ptr<rpc::SessionTable> sessions_;
  std::unique_ptr<DataPlane> plane_;
  std::unique_ptr<NodeControl> node_;
  std::unique_ptr<rpc::GrpcServer> control_;
  std::thread thread_;
  std::mutex mutex_;  // guards stopping_
  std::condition_variable changed_;
  bool stopping_ = false;
  bool stopped_ = false;
};

}  // namespace sheen::apps
