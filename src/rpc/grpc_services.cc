#include "rpc/grpc_services.h"

#include "base/log.h"
#include "rpc/grpc_status.h"

namespace sheen::rpc {
namespace {

// A call that is answered on gRPC's own thread. `work` gives the Status.
template <class Work>
grpc::ServerUnaryReactor* ServeNow(ControlCalls* calls, grpc::CallbackServerContext* context,
                                   std::string_view method, Work work) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  Status status = calls->Begin(method, context->peer());
  if (status) {
    status = work();
    calls->End();
  }
  reactor->Finish(ToGrpcStatus(status));
  return reactor;
}

template <class Request>
using ObjectMethod = async::Task<Status> (ObjectControlService::*)(Request);

template <class Request>
async::Task<void> RunOnShard(ControlCalls* calls, ObjectControlService* service,
                             ObjectMethod<Request> method, Request request,
                             grpc::ServerUnaryReactor* reactor) {
  const Status status = co_await (service->*method)(std::move(request));
  calls->End();
  reactor->Finish(ToGrpcStatus(status));
}

// A call that a coroutine on `shard` answers. The request stays valid until Finish.
template <class Request>
grpc::ServerUnaryReactor* ServeOnShard(ControlCalls* calls, grpc::CallbackServerContext* context,
                                       std::string_view name, async::Shard* shard,
                                       ObjectControlService* service, ObjectMethod<Request> method,
                                       const Request* request) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const Status status = calls->Begin(name, context->peer());
  if (!status) {
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
  shard->Post([=] { shard->Spawn(RunOnShard(calls, service, method, *request, reactor)); });
  return reactor;
}

async::Task<void> RunRestore(ControlCalls* calls, ObjectControlService* service,
                             v1::RestoreObjectRequest request, v1::RestoreObjectReply* reply,
                             grpc::ServerUnaryReactor* reactor) {
  Result<v1::RestoreObjectReply> result = co_await service->RestoreObject(std::move(request));
  calls->End();
  if (result) *reply = std::move(*result);
  reactor->Finish(result ? grpc::Status::OK : ToGrpcStatus(result.error()));
}

template <class Reply>
Status Take(Result<Reply> result, Reply* out) {
  if (!result) return std::unexpected(std::move(result).error());
  *out = std::move(*result);
  return {};
}

}  // namespace

Status ControlCalls::Begin(std::string_view method, const std::string& peer) {
  if (Status allowed = authorization_.Check(method, peer); !allowed) {
    SHEEN_LOG(Warn, "control call refused: {}", allowed.error().ToString());
    return allowed;
  }
  if (in_flight_.fetch_add(1) >= in_flight_max_) {
    in_flight_.fetch_sub(1);
    return Fail(Errc::kUnavailable, "too many control calls at a time (" +
                                        std::to_string(in_flight_max_) + "): try again");
  }
  return {};
}

grpc::ServerUnaryReactor* ManagementAdapter::RegisterServer(
    grpc::CallbackServerContext* context, const v1::RegisterServerRequest* request,
    v1::RegisterServerReply* reply) {
  return ServeNow(calls_, context, "sheen.v1.Management/RegisterServer",
                  [&] { return Take(service_->RegisterServer(*request), reply); });
}

grpc::ServerUnaryReactor* ManagementAdapter::Heartbeat(grpc::CallbackServerContext* context,
                                                       const v1::HeartbeatRequest* request,
                                                       v1::HeartbeatReply* reply) {
  return ServeNow(calls_, context, "sheen.v1.Management/Heartbeat",
                  [&] { return Take(service_->Heartbeat(*request), reply); });
}

grpc::ServerUnaryReactor* ManagementAdapter::GetClusterMap(grpc::CallbackServerContext* context,
                                                           const v1::ClusterMapRequest*,
                                                           v1::ClusterMap* reply) {
  return ServeNow(calls_, context, "sheen.v1.Management/GetClusterMap", [&] {
    *reply = service_->GetClusterMap();
    return Status{};
  });
}

grpc::ServerUnaryReactor* ObjectControlAdapter::DestroyObjects(
    grpc::CallbackServerContext* context, const v1::DestroyObjectsRequest* request,
    v1::DestroyObjectsReply*) {
  return ServeOnShard(calls_, context, "sheen.v1.ObjectControl/DestroyObjects", shard_, service_,
                      &ObjectControlService::DestroyObjects, request);
}

grpc::ServerUnaryReactor* ObjectControlAdapter::SetObjectOwner(
    grpc::CallbackServerContext* context, const v1::SetObjectOwnerRequest* request,
    v1::SetObjectOwnerReply*) {
  return ServeOnShard(calls_, context, "sheen.v1.ObjectControl/SetObjectOwner", shard_, service_,
                      &ObjectControlService::SetObjectOwner, request);
}

grpc::ServerUnaryReactor* ObjectControlAdapter::FenceSession(grpc::CallbackServerContext* context,
                                                             const v1::FenceSessionRequest* request,
                                                             v1::FenceSessionReply*) {
  return ServeOnShard(calls_, context, "sheen.v1.ObjectControl/FenceSession", shard_, service_,
                      &ObjectControlService::FenceSession, request);
}

grpc::ServerUnaryReactor* ObjectControlAdapter::RestoreObject(
    grpc::CallbackServerContext* context, const v1::RestoreObjectRequest* request,
    v1::RestoreObjectReply* reply) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const Status status = calls_->Begin("sheen.v1.ObjectControl/RestoreObject", context->peer());
  if (!status) {
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
  shard_->Post([this, request, reply, reactor] {
    shard_->Spawn(RunRestore(calls_, service_, *request, reply, reactor));
  });
  return reactor;
}

grpc::ServerUnaryReactor* AdminAdapter::GetStatus(grpc::CallbackServerContext* context,
                                                  const v1::GetStatusRequest*,
                                                  v1::GetStatusReply* reply) {
  return ServeNow(calls_, context, "sheen.v1.Admin/GetStatus", [&] {
    *reply = functions_.status();
    return Status{};
  });
}

grpc::ServerUnaryReactor* AdminAdapter::GetParams(grpc::CallbackServerContext* context,
                                                  const v1::GetParamsRequest* request,
                                                  v1::GetParamsReply* reply) {
  return ServeNow(calls_, context, "sheen.v1.Admin/GetParams", [&] {
    if (!functions_.get_params) return Status(Fail(Errc::kNoSys, "this daemon has no parameters"));
    return Take(functions_.get_params(*request), reply);
  });
}

grpc::ServerUnaryReactor* AdminAdapter::SetParam(grpc::CallbackServerContext* context,
                                                 const v1::SetParamRequest* request,
                                                 v1::SetParamReply* reply) {
  return ServeNow(calls_, context, "sheen.v1.Admin/SetParam", [&] {
    if (!functions_.set_param) return Status(Fail(Errc::kNoSys, "this daemon has no parameters"));
    return Take(functions_.set_param(*request), reply);
  });
}

}  // namespace sheen::rpc
