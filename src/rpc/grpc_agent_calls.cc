#include "rpc/grpc_agent_calls.h"

#include <grpcpp/grpcpp.h>

#include <condition_variable>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "async/sync.h"
#include "rpc/address.h"
#include "rpc/grpc_status.h"
#include "sheen/v1/control.grpc.pb.h"

namespace sheen::rpc {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(250);
constexpr int kReconnectMs = 100;
// The time that making a connection may take, whatever its name says: on a busy machine, too.
constexpr int kConnectMs = 5000;

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& address) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(kControlMessageBytesMax);
  arguments.SetMaxSendMessageSize(kControlMessageBytesMax);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, kConnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
}

struct InFlight {
  grpc::ClientContext context;
  v1::AskObjectsRequest request;
  v1::AskObjectsReply reply;
};

// On one shard, from the call's start to its end.
struct Watch {
  async::Shard* shard = nullptr;
  std::shared_ptr<InFlight> call;
  std::function<bool()> wanted;
  bool over = false;
  bool ended = false;  // by this
};

void LookAgain(const std::shared_ptr<Watch>& watch) {
  watch->shard->AddTimer(watch->shard->Now() + kLook, [watch] {
    if (watch->over) return;
    if (watch->wanted()) {
      LookAgain(watch);
      return;
    }
    watch->ended = true;
    watch->call->context.TryCancel();
  });
}

}  // namespace

struct GrpcAgentCalls::State {
  using Stub = v1::AgentControl::Stub;

  std::shared_ptr<Stub> StubOf(const std::string& address) {
    const std::scoped_lock lock(mutex);
    std::shared_ptr<Stub>& stub = stubs[address];
    if (stub == nullptr) stub = std::make_shared<Stub>(MakeChannel(address));
    return stub;
  }
  // False when closing.
  bool Enter(grpc::ClientContext* context) {
    const std::scoped_lock lock(mutex);
    if (closing) return false;
    in_flight.insert(context);
    return true;
  }
  void Leave(grpc::ClientContext* context) {
    const std::scoped_lock lock(mutex);
    in_flight.erase(context);
    if (in_flight.empty()) idle.notify_all();
  }
  void Close() {
    std::unique_lock lock(mutex);
    closing = true;
    for (grpc::ClientContext* context : in_flight) context->TryCancel();
    idle.wait(lock, [this] { return in_flight.empty(); });
  }

  std::mutex mutex;  // guards everything below
  std::condition_variable idle;
  std::map<std::string, std::shared_ptr<Stub>> stubs;  // by address
  std::set<grpc::ClientContext*> in_flight;
  bool closing = false;
};

GrpcAgentCalls::GrpcAgentCalls() : state_(std::make_shared<State>()) {}

GrpcAgentCalls::~GrpcAgentCalls() { state_->Close(); }

async::Task<Result<v1::AskObjectsReply>> GrpcAgentCalls::AskObjects(v1::AgentEntry agent,
                                                                    v1::AskObjectsRequest request,
                                                                    std::function<bool()> wanted) {
  const std::shared_ptr<State> state = state_;
  if (agent.hosts().empty()) co_return Fail(Errc::kUnavailable, agent.name() + " has no address");
  const Address address{agent.hosts(0), static_cast<uint16_t>(agent.control_port())};
  async::Shard* const shard = async::Shard::Current();
  const auto call = std::make_shared<InFlight>();
  call->request = std::move(request);
  call->context.set_deadline(
      std::chrono::system_clock::now() +
      std::chrono::duration_cast<std::chrono::system_clock::duration>(kCallMax));
  if (!state->Enter(&call->context)) co_return Fail(Errc::kCancelled, "the daemon is stopping");
  async::OneShot<grpc::Status> done;
  const std::shared_ptr<State::Stub> stub = state->StubOf(address.ToString());
  stub->async()->AskObjects(&call->context, &call->request, &call->reply,
                            [state, call, shard, stub, &done](const grpc::Status& status) {
                              shard->Post([&done, status] { done.Set(status); });
                              state->Leave(&call->context);
                            });
  const auto watch = std::make_shared<Watch>(
      Watch{.shard = shard, .call = call, .wanted = std::move(wanted)});
  LookAgain(watch);
  const grpc::Status status = co_await done;
  watch->over = true;
  if (status.ok()) co_return std::move(call->reply);
  const std::string whom = "agent " + agent.name() + " at " + address.ToString();
  if (watch->ended) co_return Fail(Errc::kUnavailable, whom + " was not heard of any more");
  Error error = FromGrpcStatus(status, whom, "AskObjects");
  // Whatever the reason: another may be asked.
  if (error.code() == Errc::kTimedOut) error = Error(Errc::kUnavailable, error.message());
  co_return std::unexpected(std::move(error));
}

}  // namespace sheen::rpc
