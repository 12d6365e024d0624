// Adapters from the generated control services to the interfaces of rpc/control.h. Each call passes
// ControlCalls first: authorization, then the bound on calls in flight.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string_view>

#include "async/shard.h"
#include "rpc/control.h"
#include "rpc/grpc_authorization.h"
#include "sheen/v1/control.grpc.pb.h"

namespace sheen::rpc {

class ControlCalls final {
 public:
  ControlCalls(GrpcAuthorization authorization, uint32_t in_flight_max)
      : authorization_(std::move(authorization)), in_flight_max_(in_flight_max) {}
  // Errors: kPerm, kUnavailable (too many calls now). On success End() must follow.
  Status Begin(std::string_view method, const std::string& peer);
  void End() { in_flight_.fetch_sub(1); }
  const GrpcAuthorization& authorization() const { return authorization_; }

 private:
  const GrpcAuthorization authorization_;
  const uint32_t in_flight_max_;
  std::atomic<uint32_t> in_flight_{0};
};

class ManagementAdapter final : public v1::Management::CallbackService {
 public:
  ManagementAdapter(ControlCalls* calls, ManagementService* service)
      : calls_(calls), service_(service) {}
  grpc::ServerUnaryReactor* RegisterServer(grpc::CallbackServerContext* context,
                                           const v1::RegisterServerRequest* request,
                                           v1::RegisterServerReply* reply) override;
  grpc::ServerUnaryReactor* Heartbeat(grpc::CallbackServerContext* context,
                                      const v1::HeartbeatRequest* request,
                                      v1::HeartbeatReply* reply) override;
  grpc::ServerUnaryReactor* GetClusterMap(grpc::CallbackServerContext* context,
                                          const v1::ClusterMapRequest* request,
                                          v1::ClusterMap* reply) override;

 private:
  ControlCalls* const calls_;
  ManagementService* const service_;
};

// The coroutines run on the shard; gRPC's thread goes on at once.
class ObjectControlAdapter final : public v1::ObjectControl::CallbackService {
 public:
  ObjectControlAdapter(ControlCalls* calls, ObjectControlService* service, async::Shard* shard)
      : calls_(calls), service_(service), shard_(shard) {}
  grpc::ServerUnaryReactor* DestroyObjects(grpc::CallbackServerContext* context,
                                           const v1::DestroyObjectsRequest* request,
                                           v1::DestroyObjectsReply* reply) override;
  grpc::ServerUnaryReactor* SetObjectOwner(grpc::CallbackServerContext* context,
                                           const v1::SetObjectOwnerRequest* request,
                                           v1::SetObjectOwnerReply* reply) override;
  grpc::ServerUnaryReactor* FenceSession(grpc::CallbackServerContext* context,
                                         const v1::FenceSessionRequest* request,
                                         v1::FenceSessionReply* reply) override;
  grpc::ServerUnaryReactor* RestoreObject(grpc::CallbackServerContext* context,
                                          const v1::RestoreObjectRequest* request,
                                          v1::RestoreObjectReply* reply) override;

 private:
  ControlCalls* const calls_;
  ObjectControlService* const service_;
  async::Shard* const shard_;
};

class AdminAdapter final : public v1::Admin::CallbackService {
 public:
  AdminAdapter(ControlCalls* calls, AdminFunctions functions)
      : calls_(calls), functions_(std::move(functions)) {}
  grpc::ServerUnaryReactor* GetStatus(grpc::CallbackServerContext* context,
                                      const v1::GetStatusRequest* request,
                                      v1::GetStatusReply* reply) override;
  grpc::ServerUnaryReactor* GetParams(grpc::CallbackServerContext* context,
                                      const v1::GetParamsRequest* request,
                                      v1::GetParamsReply* reply) override;
  grpc::ServerUnaryReactor* SetParam(grpc::CallbackServerContext* context,
                                     const v1::SetParamRequest* request,
                                     v1::SetParamReply* reply) override;

 private:
  ControlCalls* const calls_;
  const AdminFunctions functions_;
};

}  // namespace sheen::rpc
