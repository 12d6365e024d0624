#include "rpc/grpc_control.h"

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <condition_variable>
#include <map>
#include <mutex>
#include <set>

#include "async/sync.h"
#include "rpc/grpc_status.h"
#include "sheen/v1/control.grpc.pb.h"

namespace sheen::rpc {
namespace {

constexpr int kReconnectMinMs = 100;
constexpr int kReconnectMaxMs = 1000;

std::shared_ptr<grpc::Channel> MakeChannel(const Address& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kControlMessageBytesMax);
  arguments.SetMaxSendMessageSize(kControlMessageBytesMax);
  // A daemon that comes back is found within a second; http_proxy of the environment is not ours.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMinMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kReconnectMinMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMaxMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address.ToString(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

void SetDeadline(grpc::ClientContext* context, Nanos timeout) {
  context->set_deadline(std::chrono::system_clock::now() +
                        std::chrono::duration_cast<std::chrono::system_clock::duration>(timeout));
}

}  // namespace

// ---- MDS to OSS ----

struct GrpcObjectControl::State {
  using Stub = v1::ObjectControl::Stub;

  std::shared_ptr<Stub> StubOf(const Address& address);
  // False when closing.
  bool Enter(grpc::ClientContext* context);
  void Leave(grpc::ClientContext* context);
  void BeginStop();
  void Close();

  template <class Request, class Reply>
  using Method = void (Stub::async::*)(grpc::ClientContext*, const Request*, Reply*,
                                       std::function<void(grpc::Status)>);
  template <class Request, class Reply>
  static async::Task<Result<Reply>> Ask(std::shared_ptr<State> state, std::string server,
                                        std::string_view name, Method<Request, Reply> method,
                                        Request request);
  // As Ask, of what has an empty reply.
  template <class Request, class Reply>
  static async::Task<Status> Call(std::shared_ptr<State> state, std::string server,
                                  std::string_view name, Method<Request, Reply> method,
                                  Request request);

  Resolver resolve;
  Nanos call_timeout{0};
  std::mutex mutex;  // guards everything below
  std::condition_variable idle;
  std::map<std::string, std::shared_ptr<Stub>> stubs;  // by address
  std::set<grpc::ClientContext*> in_flight;
  bool closing = false;
};

std::shared_ptr<v1::ObjectControl::Stub> GrpcObjectControl::State::StubOf(const Address& address) {
  std::lock_guard lock(mutex);
  std::shared_ptr<Stub>& stub = stubs[address.ToString()];
  if (stub == nullptr) stub = std::make_shared<Stub>(MakeChannel(address));
  return stub;
}

bool GrpcObjectControl::State::Enter(grpc::ClientContext* context) {
  std::lock_guard lock(mutex);
  if (closing) return false;
  in_flight.insert(context);
  return true;
}

void GrpcObjectControl::State::Leave(grpc::ClientContext* context) {
  std::lock_guard lock(mutex);
  in_flight.erase(context);
  if (in_flight.empty()) idle.notify_all();
}

void GrpcObjectControl::State::BeginStop() {
  const std::lock_guard lock(mutex);
  closing = true;
  for (grpc::ClientContext* context : in_flight) context->TryCancel();
}

void GrpcObjectControl::State::Close() {
  BeginStop();
  std::unique_lock lock(mutex);
  idle.wait(lock, [this] { return in_flight.empty(); });
}

template <class Request, class Reply>
async::Task<Result<Reply>> GrpcObjectControl::State::Ask(std::shared_ptr<State> state,
                                                         std::string server, std::string_view name,
                                                         Method<Request, Reply> method,
                                                         Request request) {
  struct InFlight {
    grpc::ClientContext context;
    Request request;
    Reply reply;
  };
  const std::optional<Address> address = state->resolve(server);
  if (!address) {
    co_return Fail(Errc::kUnavailable, server + ": " + std::string(name) +
                                           ": its control address is not known: has it "
                                           "registered with the MGS?");
  }
  async::Shard* const shard = async::Shard::Current();
  const auto call = std::make_shared<InFlight>();
  call->request = std::move(request);
  SetDeadline(&call->context, state->call_timeout);
  if (!state->Enter(&call->context)) {
    co_return Fail(Errc::kCancelled, server + ": the daemon is stopping");
  }
  async::OneShot<grpc::Status> done;
  const std::shared_ptr<Stub> stub = state->StubOf(*address);
  (stub->async()->*method)(&call->context, &call->request, &call->reply,
                           [state, call, shard, stub, &done](const grpc::Status& status) {
                             shard->Post([&done, status] { done.Set(status); });
                             state->Leave(&call->context);
                           });
  const grpc::Status status = co_await done;
  if (status.ok()) co_return std::move(call->reply);
  Error error = FromGrpcStatus(status, server + " at " + address->ToString(), name);
  // Whoever keeps an order to send again asks one question: could it be delivered?
  if (error.code() == Errc::kTimedOut) error = Error(Errc::kUnavailable, error.message());
  co_return std::unexpected(std::move(error));
}

template <class Request, class Reply>
async::Task<Status> GrpcObjectControl::State::Call(std::shared_ptr<State> state, std::string server,
                                                   std::string_view name,
                                                   Method<Request, Reply> method, Request request) {
  const Result<Reply> reply = co_await Ask<Request, Reply>(std::move(state), std::move(server),
                                                           name, method, std::move(request));
  if (!reply) co_return std::unexpected(reply.error());
  co_return Status();
}

GrpcObjectControl::GrpcObjectControl(Resolver resolve, Nanos call_timeout)
    : state_(std::make_shared<State>()) {
  state_->resolve = std::move(resolve);
  state_->call_timeout = call_timeout;
}

GrpcObjectControl::~GrpcObjectControl() { state_->Close(); }

void GrpcObjectControl::BeginStop() { state_->BeginStop(); }

async::Task<Status> GrpcObjectControl::DestroyObjects(std::string server,
                                                      v1::DestroyObjectsRequest request) {
  return State::Call<v1::DestroyObjectsRequest, v1::DestroyObjectsReply>(
      state_, std::move(server), "DestroyObjects", &State::Stub::async::DestroyObjects,
      std::move(request));
}

async::Task<Status> GrpcObjectControl::SetObjectOwner(std::string server,
                                                      v1::SetObjectOwnerRequest request) {
  return State::Call<v1::SetObjectOwnerRequest, v1::SetObjectOwnerReply>(
      state_, std::move(server), "SetObjectOwner", &State::Stub::async::SetObjectOwner,
      std::move(request));
}

async::Task<Status> GrpcObjectControl::FenceSession(std::string server,
                                                    v1::FenceSessionRequest request) {
  return State::Call<v1::FenceSessionRequest, v1::FenceSessionReply>(
      state_, std::move(server), "FenceSession", &State::Stub::async::FenceSession,
      std::move(request));
}

async::Task<Result<v1::RestoreObjectReply>> GrpcObjectControl::RestoreObject(
    std::string server, v1::RestoreObjectRequest request) {
  return State::Ask<v1::RestoreObjectRequest, v1::RestoreObjectReply>(
      state_, std::move(server), "RestoreObject", &State::Stub::async::RestoreObject,
      std::move(request));
}

// ---- to the MGS ----

struct MgsClient::State {
  using Stub = v1::Management::Stub;
  template <class Request, class Reply>
  using Method = grpc::Status (Stub::*)(grpc::ClientContext*, const Request&, Reply*);

  template <class Request, class Reply>
  Result<Reply> Call(std::string_view name, Method<Request, Reply> method, const Request& request);

  std::vector<Address> addresses;
  std::vector<std::unique_ptr<Stub>> stubs;  // of the addresses
  Nanos call_timeout{0};
  std::atomic<size_t> preferred{0};
};

template <class Request, class Reply>
Result<Reply> MgsClient::State::Call(std::string_view name, Method<Request, Reply> method,
                                     const Request& request) {
  const size_t first = preferred.load();
  Error error(Errc::kUnavailable, std::string(name) + ": no address of the MGS is configured");
  for (size_t i = 0; i < stubs.size(); ++i) {
    const size_t index = (first + i) % stubs.size();
    grpc::ClientContext context;
    SetDeadline(&context, call_timeout);
    Reply reply;
    const grpc::Status status = (stubs[index].get()->*method)(&context, request, &reply);
    if (status.ok()) {
      preferred.store(index);
      return reply;
    }
    error = FromGrpcStatus(status, "MGS at " + addresses[index].ToString(), name);
    // Another address helps only against one that cannot be reached or is not serving.
    if (error.error_class() == ErrClass::kFail) break;
  }
  return std::unexpected(std::move(error));
}

MgsClient::MgsClient(std::vector<Address> addresses, Nanos call_timeout)
    : state_(std::make_unique<State>()) {
  for (const Address& address : addresses) {
    state_->stubs.push_back(v1::Management::NewStub(MakeChannel(address)));
  }
  state_->addresses = std::move(addresses);
  state_->call_timeout = call_timeout;
}

MgsClient::~MgsClient() = default;

Result<v1::RegisterServerReply> MgsClient::RegisterServer(
    const v1::RegisterServerRequest& request) {
  return state_->Call<v1::RegisterServerRequest, v1::RegisterServerReply>(
      "RegisterServer", &State::Stub::RegisterServer, request);
}

Result<v1::HeartbeatReply> MgsClient::Heartbeat(const v1::HeartbeatRequest& request) {
  return state_->Call<v1::HeartbeatRequest, v1::HeartbeatReply>("Heartbeat",
                                                                &State::Stub::Heartbeat, request);
}

Result<v1::ClusterMap> MgsClient::GetClusterMap(uint64_t version_seen) {
  v1::ClusterMapRequest request;
  request.set_version_seen(version_seen);
  return state_->Call<v1::ClusterMapRequest, v1::ClusterMap>("GetClusterMap",
                                                             &State::Stub::GetClusterMap, request);
}

// ---- people to a daemon ----

struct AdminClient::State {
  Address address;
  Nanos call_timeout{0};
  std::unique_ptr<v1::Admin::Stub> stub;
};

AdminClient::AdminClient(Address address, Nanos call_timeout) : state_(std::make_unique<State>()) {
  state_->stub = v1::Admin::NewStub(MakeChannel(address));
  state_->address = std::move(address);
  state_->call_timeout = call_timeout;
}

AdminClient::~AdminClient() = default;

Result<v1::GetStatusReply> AdminClient::GetStatus() {
  grpc::ClientContext context;
  SetDeadline(&context, state_->call_timeout);
  v1::GetStatusReply reply;
  const grpc::Status status = state_->stub->GetStatus(&context, {}, &reply);
  if (status.ok()) return reply;
  return std::unexpected(
      FromGrpcStatus(status, "daemon at " + state_->address.ToString(), "GetStatus"));
}

Result<v1::GetParamsReply> AdminClient::GetParams(const v1::GetParamsRequest& request) {
  grpc::ClientContext context;
  SetDeadline(&context, state_->call_timeout);
  v1::GetParamsReply reply;
  const grpc::Status status = state_->stub->GetParams(&context, request, &reply);
  if (status.ok()) return reply;
  return std::unexpected(
      FromGrpcStatus(status, "daemon at " + state_->address.ToString(), "GetParams"));
}

Result<v1::SetParamReply> AdminClient::SetParam(const v1::SetParamRequest& request) {
  grpc::ClientContext context;
  SetDeadline(&context, state_->call_timeout);
  v1::SetParamReply reply;
  const grpc::Status status = state_->stub->SetParam(&context, request, &reply);
  if (status.ok()) return reply;
  return std::unexpected(
      FromGrpcStatus(status, "daemon at " + state_->address.ToString(), "SetParam"));
}

}  // namespace sheen::rpc
