#include "rpc/grpc_repositories.h"

#include <grpcpp/grpcpp.h>

#include "rpc/grpc_calls_under_way.h"
#include "rpc/grpc_repository_services.h"
#include "rpc/grpc_status.h"

namespace sheen::rpc {
namespace {

// The time that making a connection may take, whatever its name says: on a busy machine, too.
constexpr int kConnectMs = 5000;

std::shared_ptr<grpc::Channel> MakeChannel(const Address& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kControlMessageBytesMax);
  arguments.SetMaxSendMessageSize(kControlMessageBytesMax);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 250);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address.ToString(), grpc::InsecureChannelCredentials(),
                                   arguments);
}

template <class Stub>
struct Caller {
  Caller(Address to, Nanos timeout, std::string who)
      : address(std::move(to)),
        call_timeout(timeout),
        whom(who + " at " + address.ToString()),
        stub(MakeChannel(address)) {}

  template <class Request, class Reply>
  Result<Reply> Call(std::string_view name,
                     grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Reply*),
                     const Request& request) {
    grpc::ClientContext context;
    context.set_deadline(
        std::chrono::system_clock::now() +
        std::chrono::duration_cast<std::chrono::system_clock::duration>(call_timeout));
    if (!under_way.Enter(&context)) return Fail(Errc::kCancelled, std::string(name) + ": stopping");
    Reply reply;
    const grpc::Status status = (stub.*method)(&context, request, &reply);
    under_way.Leave(&context);
    if (status.ok()) return reply;
    return std::unexpected(FromGrpcStatus(status, whom, name));
  }

  const Address address;
  const Nanos call_timeout;
  const std::string whom;
  Stub stub;
  CallsUnderWay under_way;
};

template <class Reply>
async::Task<void> Serve(ControlCalls* calls, async::Task<Result<Reply>> task, Reply* out,
                        grpc::ServerUnaryReactor* reactor) {
  Result<Reply> result = co_await std::move(task);
  calls->End();
  if (!result) {
    reactor->Finish(ToGrpcStatus(result.error()));
    co_return;
  }
  *out = std::move(*result);
  reactor->Finish(grpc::Status::OK);
}

// A call that a coroutine on `shard` answers. Request and reply stay valid until Finish.
template <class Service, class Request, class Reply>
grpc::ServerUnaryReactor* ServeOnShard(ControlCalls* calls, grpc::CallbackServerContext* context,
                                       std::string_view name, async::Shard* shard,
                                       Service* service,
                                       async::Task<Result<Reply>> (Service::*method)(Request),
                                       const Request* request, Reply* reply) {
  grpc::ServerUnaryReactor* const reactor = context->DefaultReactor();
  const Status status = calls->Begin(name, context->peer());
  if (!status) {
    reactor->Finish(ToGrpcStatus(status));
    return reactor;
  }
  shard->Post([=] { shard->Spawn(Serve(calls, (service->*method)(*request), reply, reactor)); });
  return reactor;
}

}  // namespace

// ---- callers ----

struct RepositoryClient::State : Caller<v1::Repositories::Stub> {
  using Stub = v1::Repositories::Stub;
  using Caller::Caller;
};

RepositoryClient::RepositoryClient(Address address, Nanos call_timeout)
    : state_(std::make_unique<State>(std::move(address), call_timeout, "the MDS")) {}
RepositoryClient::~RepositoryClient() = default;
void RepositoryClient::BeginStop() { state_->under_way.BeginStop(); }

Result<v1::AddRepositoryReply> RepositoryClient::AddRepository(
    const v1::AddRepositoryRequest& request) {
  return state_->Call<v1::AddRepositoryRequest, v1::AddRepositoryReply>(
      "AddRepository", &State::Stub::AddRepository, request);
}

Result<v1::UpdateRepositoryReply> RepositoryClient::UpdateRepository(
    const v1::UpdateRepositoryRequest& request) {
  return state_->Call<v1::UpdateRepositoryRequest, v1::UpdateRepositoryReply>(
      "UpdateRepository", &State::Stub::UpdateRepository, request);
}

Result<v1::RemoveRepositoryReply> RepositoryClient::RemoveRepository(
    const v1::RemoveRepositoryRequest& request) {
  return state_->Call<v1::RemoveRepositoryRequest, v1::RemoveRepositoryReply>(
      "RemoveRepository", &State::Stub::RemoveRepository, request);
}

Result<v1::ListRepositoriesReply> RepositoryClient::ListRepositories() {
  return state_->Call<v1::ListRepositoriesRequest, v1::ListRepositoriesReply>(
      "ListRepositories", &State::Stub::ListRepositories, {});
}

Result<v1::ImportEntriesReply> RepositoryClient::ImportEntries(
    const v1::ImportEntriesRequest& request) {
  return state_->Call<v1::ImportEntriesRequest, v1::ImportEntriesReply>(
      "ImportEntries", &State::Stub::ImportEntries, request);
}

Result<v1::ListImportedReply> RepositoryClient::ListImported(
    const v1::ListImportedRequest& request) {
  return state_->Call<v1::ListImportedRequest, v1::ListImportedReply>(
      "ListImported", &State::Stub::ListImported, request);
}

Result<v1::DropDeletedReply> RepositoryClient::DropDeleted(
    const v1::DropDeletedRequest& request) {
  return state_->Call<v1::DropDeletedRequest, v1::DropDeletedReply>(
      "DropDeleted", &State::Stub::DropDeleted, request);
}

Result<v1::ListPendingReply> RepositoryClient::ListPending(
    const v1::ListPendingRequest& request) {
  return state_->Call<v1::ListPendingRequest, v1::ListPendingReply>(
      "ListPending", &State::Stub::ListPending, request);
}

Result<v1::FinishPendingReply> RepositoryClient::FinishPending(
    const v1::FinishPendingRequest& request) {
  return state_->Call<v1::FinishPendingRequest, v1::FinishPendingReply>(
      "FinishPending", &State::Stub::FinishPending, request);
}

Result<v1::ListRepositoriesReply> RepositoryClient::AgentHeartbeat(
    const v1::AgentHeartbeatRequest& request) {
  return state_->Call<v1::AgentHeartbeatRequest, v1::ListRepositoriesReply>(
      "AgentHeartbeat", &State::Stub::AgentHeartbeat, request);
}

struct AgentControlClient::State : Caller<v1::AgentControl::Stub> {
  using Stub = v1::AgentControl::Stub;
  using Caller::Caller;
};

AgentControlClient::AgentControlClient(Address address, Nanos call_timeout)
    : state_(std::make_unique<State>(std::move(address), call_timeout, "the agent")) {}
AgentControlClient::~AgentControlClient() = default;

Result<v1::CheckRepositoryReply> AgentControlClient::CheckRepository(
    const v1::CheckRepositoryRequest& request) {
  return state_->Call<v1::CheckRepositoryRequest, v1::CheckRepositoryReply>(
      "CheckRepository", &State::Stub::CheckRepository, request);
}

Result<v1::StartImportReply> AgentControlClient::StartImport(
    const v1::StartImportRequest& request) {
  return state_->Call<v1::StartImportRequest, v1::StartImportReply>(
      "StartImport", &State::Stub::StartImport, request);
}

Result<v1::ImportProgress> AgentControlClient::GetImport(const v1::GetImportRequest& request) {
  return state_->Call<v1::GetImportRequest, v1::ImportProgress>("GetImport",
                                                                &State::Stub::GetImport, request);
}

Result<v1::ImportProgress> AgentControlClient::CancelImport(const v1::GetImportRequest& request) {
  return state_->Call<v1::GetImportRequest, v1::ImportProgress>(
      "CancelImport", &State::Stub::CancelImport, request);
}

// ---- adapters ----

#define SHEEN_SERVE(Adapter, Service, package, Method, Request, Reply)                       \
  grpc::ServerUnaryReactor* Adapter::Method(grpc::CallbackServerContext* context,            \
                                            const v1::Request* request, v1::Reply* reply) {  \
    return ServeOnShard(calls_, context, "sheen.v1." package "/" #Method, shard_, service_,  \
                        &Service::Method, request, reply);                                   \
  }
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", AddRepository,
            AddRepositoryRequest, AddRepositoryReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", UpdateRepository,
            UpdateRepositoryRequest, UpdateRepositoryReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", ListImported,
            ListImportedRequest, ListImportedReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", DropDeleted,
            DropDeletedRequest, DropDeletedReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", ListPending,
            ListPendingRequest, ListPendingReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", FinishPending,
            FinishPendingRequest, FinishPendingReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", RemoveRepository,
            RemoveRepositoryRequest, RemoveRepositoryReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", ListRepositories,
            ListRepositoriesRequest, ListRepositoriesReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", ImportEntries,
            ImportEntriesRequest, ImportEntriesReply)
SHEEN_SERVE(RepositoriesAdapter, RepositoryService, "Repositories", AgentHeartbeat,
            AgentHeartbeatRequest, ListRepositoriesReply)
SHEEN_SERVE(AgentControlAdapter, AgentControlService, "AgentControl", CheckRepository,
            CheckRepositoryRequest, CheckRepositoryReply)
SHEEN_SERVE(AgentControlAdapter, AgentControlService, "AgentControl", StartImport,
            StartImportRequest, StartImportReply)
SHEEN_SERVE(AgentControlAdapter, AgentControlService, "AgentControl", GetImport, GetImportRequest,
            ImportProgress)
SHEEN_SERVE(AgentControlAdapter, AgentControlService, "AgentControl", CancelImport,
            GetImportRequest, ImportProgress)
SHEEN_SERVE(AgentControlAdapter, AgentControlService, "AgentControl", AskObjects,
            AskObjectsRequest, AskObjectsReply)
#undef SHEEN_SERVE

}  // namespace sheen::rpc
