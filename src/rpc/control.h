// The control plane as a seam: what an MDS asks of OSSs and a server of the MGS. GrpcControl
// (rpc/grpc_control.h) is the real thing; the simulator calls the services directly.
//
// Thread-safe. Calls are awaited on the caller's shard.
#pragma once

#include <functional>
#include <string>

#include "async/task.h"
#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::rpc {

// Orders from the MDS to the OSS that has a target. Errors: kUnavailable (not reachable now).
class ObjectControl {
 public:
  virtual ~ObjectControl() = default;
  virtual async::Task<Status> DestroyObjects(std::string server,
                                             v1::DestroyObjectsRequest request) = 0;
  virtual async::Task<Status> SetObjectOwner(std::string server,
                                             v1::SetObjectOwnerRequest request) = 0;
  // When it answers well, no request of the sessions that the client has had there is executed any
  // more, also after power loss.
  virtual async::Task<Status> FenceSession(std::string server, v1::FenceSessionRequest request) = 0;
  virtual async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      std::string server, v1::RestoreObjectRequest request) = 0;
};

// The other side of it, implemented by src/oss; called on one of its shards.
class ObjectControlService {
 public:
  virtual ~ObjectControlService() = default;
  virtual async::Task<Status> DestroyObjects(v1::DestroyObjectsRequest request) = 0;
  virtual async::Task<Status> SetObjectOwner(v1::SetObjectOwnerRequest request) = 0;
  virtual async::Task<Status> FenceSession(v1::FenceSessionRequest request) = 0;
  virtual async::Task<Result<v1::RestoreObjectReply>> RestoreObject(
      v1::RestoreObjectRequest request) = 0;
};

// The MGS, implemented by src/mds (cluster_map.h); thread-safe and never blocks long.
class ManagementService {
 public:
  virtual ~ManagementService() = default;
  virtual Result<v1::RegisterServerReply> RegisterServer(
      const v1::RegisterServerRequest& request) = 0;
  virtual Result<v1::HeartbeatReply> Heartbeat(const v1::HeartbeatRequest& request) = 0;
  virtual v1::ClusterMap GetClusterMap() = 0;
};

// What a daemon answers to administrators. Called on any thread; thread-safe and never blocks long.
struct AdminFunctions {
  std::function<v1::GetStatusReply()> status;
  std::function<Result<v1::GetParamsReply>(const v1::GetParamsRequest&)> get_params;
  std::function<Result<v1::SetParamReply>(const v1::SetParamRequest&)> set_param;
};

}  // namespace sheen::rpc
