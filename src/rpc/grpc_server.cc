#include "rpc/grpc_server.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <thread>

#include "base/log.h"
#include "rpc/address.h"
#include "rpc/grpc_repository_services.h"
#include "rpc/grpc_services.h"
#include "rpc/grpc_status.h"

namespace sheen::rpc {
namespace {

// All memory of gRPC's own for requests; an idle daemon must stay far below 64 MiB.
constexpr size_t kQuotaBytes = size_t{32} << 20;
constexpr int kStreamsMax = 64;  // of one connection
constexpr int kListenBacklog = 128;
// After accept(2) fails for want of files or memory.
constexpr auto kAcceptRetry = std::chrono::milliseconds(100);

class Fd final {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    Reset();
    fd_ = std::exchange(other.fd_, -1);
    return *this;
  }
  ~Fd() { Reset(); }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  int fd_ = -1;
};

Result<SocketAddress> ListenAddress(const GrpcServerOptions& options) {
  if (options.host.empty() || options.host == "*") {
    const Fd probe(socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
    return *ParseLiteral(probe.get() >= 0 ? "::" : "0.0.0.0", options.port);
  }
  SHEEN_TRY_ASSIGN(const auto found, ResolveBlocking({options.host, options.port}));
  return found.front();
}

Result<Fd> ListenOn(const SocketAddress& address) {
  Fd fd(socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const std::string what = "listen on control address " + address.ToString();
  if (fd.get() < 0) return FailErrno(errno, what);
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // "*" takes IPv4 as well.
  if (address.family() == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
  }
  if (bind(fd.get(), address.get(), address.size) != 0 || listen(fd.get(), kListenBacklog) != 0) {
    if (errno == EADDRINUSE) {
      return Fail(Errc::kBusy, what + ": another process has the port: stop it or choose another");
    }
    return FailErrno(errno, what);
  }
  return fd;
}

}  // namespace

struct GrpcServer::State {
  using Acceptor = grpc::experimental::ExternalConnectionAcceptor;

  void AcceptLoop();
  void AcceptOne();

  GrpcServerOptions options;
  std::optional<Error> bad_options;
  std::unique_ptr<ControlCalls> calls;
  std::vector<std::pair<std::unique_ptr<grpc::Service>, std::string>> services;
  Fd listening;
  Fd stop_event;
  uint16_t port = 0;
  std::unique_ptr<Acceptor> acceptor;
  std::unique_ptr<grpc::Server> server;
  std::thread accept_thread;
};

GrpcServer::GrpcServer(GrpcServerOptions options) : state_(std::make_unique<State>()) {
  state_->options = std::move(options);
  Result<CidrList> allow = CidrList::Parse(state_->options.allow);
  if (!allow) {
    state_->bad_options = allow.error();
    allow = CidrList();
  }
  state_->calls = std::make_unique<ControlCalls>(
      GrpcAuthorization(state_->options.authorization, std::move(*allow)),
      state_->options.calls_in_flight_max);
}

GrpcServer::~GrpcServer() { Stop(Nanos(0)); }

void GrpcServer::AddManagement(ManagementService* service) {
  Add<v1::Management>(std::make_unique<ManagementAdapter>(state_->calls.get(), service));
}

void GrpcServer::AddObjectControl(ObjectControlService* service, async::Shard* shard) {
  Add<v1::ObjectControl>(
      std::make_unique<ObjectControlAdapter>(state_->calls.get(), service, shard));
}

void GrpcServer::AddRepositories(RepositoryService* service, async::Shard* shard) {
  Add<v1::Repositories>(
      std::make_unique<RepositoriesAdapter>(state_->calls.get(), service, shard));
}

void GrpcServer::AddAgentControl(AgentControlService* service, async::Shard* shard) {
  Add<v1::AgentControl>(
      std::make_unique<AgentControlAdapter>(state_->calls.get(), service, shard));
}

void GrpcServer::AddAdmin(AdminFunctions functions) {
  Add<v1::Admin>(std::make_unique<AdminAdapter>(state_->calls.get(), std::move(functions)));
}

void GrpcServer::AddService(std::unique_ptr<grpc::Service> service, std::string full_name) {
  SHEEN_ASSERT(state_->server == nullptr);
  state_->services.emplace_back(std::move(service), std::move(full_name));
}

Status GrpcServer::Start() {
  State* const state = state_.get();
  SHEEN_ASSERT(state->server == nullptr);
  if (state->bad_options) return std::unexpected(*state->bad_options);
  for (const auto& [service, name] : state->services) {
    SHEEN_TRY(state->calls->authorization().CheckService(name));
  }
  SHEEN_TRY_ASSIGN(const SocketAddress address, ListenAddress(state->options));
  if (state->options.allow.empty() && !IsLoopback(HostOfPeer(address.ToString()))) {
    return Fail(Errc::kInvalid, "control address " + address.ToString() +
                                    " is not loopback: --allow must say which networks may "
                                    "connect, for example --allow 10.0.0.0/8");
  }
  SHEEN_TRY_ASSIGN(state->listening, ListenOn(address));
  state->port = SocketAddress::LocalOf(state->listening.get()).port();
  state->stop_event = Fd(eventfd(0, EFD_CLOEXEC));
  if (state->stop_event.get() < 0) return FailErrno(errno, "eventfd");

  SHEEN_ASSERT(!state->services.empty());
  grpc::ServerBuilder builder;
  grpc::ResourceQuota quota("control");
  quota.Resize(kQuotaBytes);
  builder.SetResourceQuota(quota);
  builder.SetMaxReceiveMessageSize(kControlMessageBytesMax);
  builder.SetMaxSendMessageSize(kControlMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsMax);
  for (const auto& [service, name] : state->services) builder.RegisterService(service.get());
  state->acceptor = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD,
      grpc::InsecureServerCredentials());
  state->server = builder.BuildAndStart();
  if (state->server == nullptr) {
    return Fail(Errc::kIo, "the control server on " + address.ToString() + " did not start");
  }
  state->accept_thread = std::thread([state] { state->AcceptLoop(); });
  return {};
}

void GrpcServer::State::AcceptLoop() {
  pollfd waits[2] = {{listening.get(), POLLIN, 0}, {stop_event.get(), POLLIN, 0}};
  while (true) {
    if (poll(waits, 2, -1) < 0 && errno != EINTR) break;
    if (waits[1].revents != 0) return;
    if (waits[0].revents != 0) AcceptOne();
  }
  SHEEN_LOG(Error, "the control port {} takes no more connections: poll failed, errno {}", port,
            errno);
}

void GrpcServer::State::AcceptOne() {
  Fd fd(accept4(listening.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (fd.get() < 0) {
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      SHEEN_LOG(Warn, "control connection not accepted: {}",
                FailErrno(errno, "accept").error().ToString());
      std::this_thread::sleep_for(kAcceptRetry);
    }
    return;
  }
  const std::string peer = SocketAddress::PeerOf(fd.get()).ToString();
  if (!calls->authorization().Admits(HostOfPeer(peer))) {
    SHEEN_LOG(Warn, "control connection from {} closed: its address is not in --allow", peer);
    return;
  }
  const int on = 1;
  setsockopt(fd.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  Acceptor::NewConnectionParameters connection;
  connection.listener_fd = listening.get();
  connection.fd = fd.Release();  // gRPC's from here on
  acceptor->HandleNewConnection(&connection);
}

uint16_t GrpcServer::port() const { return state_->port; }

const GrpcAuthorization& GrpcServer::authorization() const {
  return state_->calls->authorization();
}

void GrpcServer::Stop(Nanos grace) {
  State* const state = state_.get();
  if (state->server == nullptr) return;
  const uint64_t one = 1;
  const ssize_t written = write(state->stop_event.get(), &one, sizeof one);
  SHEEN_ASSERT(written == sizeof one);
  state->accept_thread.join();
  state->listening = Fd();
  state->server->Shutdown(std::chrono::system_clock::now() +
                          std::chrono::duration_cast<std::chrono::system_clock::duration>(grace));
  state->server.reset();
  state->acceptor.reset();
}

}  // namespace sheen::rpc
