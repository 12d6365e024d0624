#include "rpc/tcp_transport.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "async/sync.h"
#include "rpc/socket_address.h"
#include "rpc/tcp_connection.h"
#include "rpc/tcp_listener.h"

namespace sheen::rpc {
namespace {

// One connect(2) on the ring that a timer or Stop() can end.
class ConnectOperation final : public io::Completion, public TcpActivity {
 public:
  explicit ConnectOperation(TcpState* state) : state_(state) { state_->Add(this); }
  ~ConnectOperation() { state_->Remove(this); }
  ConnectOperation(const ConnectOperation&) = delete;
  ConnectOperation& operator=(const ConnectOperation&) = delete;

  // Gives connect's 0 or -errno; -ETIMEDOUT at `deadline`, -ECANCELED when stopped.
  async::Task<int32_t> Run(int fd, SocketAddress address, Nanos deadline) {
    io_uring_sqe* sqe = state_->uring->NextSqe();
    io_uring_prep_connect(sqe, fd, address.get(), address.size);
    io::UringPoller::Attach(sqe, this);
    pending_ = true;
    const async::TimerId timer = state_->shard->AddTimer(deadline, [this] { Cancel(-ETIMEDOUT); });
    const int32_t result = co_await done_;
    state_->shard->CancelTimer(timer);
    co_return result == -ECANCELED ? cancel_result_ : result;
  }

 private:
  void Complete(int32_t result, uint32_t) override {
    pending_ = false;
    done_.Set(result);
  }
  void StopActivity() override { Cancel(-ECANCELED); }
  void Cancel(int32_t result) {
    if (!pending_) return;
    cancel_result_ = result;
    state_->uring->Cancel(this);
  }

  TcpState* const state_;
  bool pending_ = false;
  int32_t cancel_result_ = -ECANCELED;
  async::OneShot<int32_t> done_;
};

Error ConnectFailure(int error_number, const Address& address, const SocketAddress& tried) {
  std::string what = "connect to " + address.ToString();
  if (tried.ToString() != address.ToString()) what += " (" + tried.ToString() + ")";
  switch (error_number) {
    case ECONNREFUSED:
      return Error(Errc::kConnectionRefused,
                   what + ": nothing listens there; is the server running, and is this its port?");
    case ETIMEDOUT:
      return Error(Errc::kTimedOut, what +
                                        ": no answer; is the host up, and does a firewall "
                                        "let the port through?");
    case ECANCELED:
      return Error(Errc::kCancelled, what + ": stopped");
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
      return Error(Errc::kUnavailable, what + ": " + std::strerror(error_number));
    default:
      return FailErrno(error_number, what).error();
  }
}

async::Task<Result<std::vector<SocketAddress>>> Resolve(std::shared_ptr<TcpState> state,
                                                        Address address) {
  using Addresses = Result<std::vector<SocketAddress>>;
  if (const auto literal = ParseLiteral(address.host, address.port)) {
    co_return std::vector<SocketAddress>{*literal};
  }
  const std::function<Addresses()> look_up = [&address] { return ResolveBlocking(address); };
  co_return co_await state->pool->Run<Addresses>(look_up);
}

async::Task<Result<std::unique_ptr<Link>>> ConnectOne(std::shared_ptr<TcpState> state,
                                                      Address address, SocketAddress target,
                                                      Nanos deadline) {
  const int fd = socket(target.family(), SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) co_return std::unexpected(ConnectFailure(errno, address, target));
  ConnectOperation operation(state.get());
  const int32_t result = co_await operation.Run(fd, target, deadline);
  if (result < 0 || state->stopping) {
    close(fd);
    co_return std::unexpected(ConnectFailure(result < 0 ? -result : ECANCELED, address, target));
  }
  co_return std::make_unique<TcpLink>(
      TcpConnection::Open(state, {.fd = fd, .accepted = false, .peer = target.ToString()}));
}

async::Task<Result<std::unique_ptr<Link>>> ConnectAny(std::shared_ptr<TcpState> state,
                                                      Address address, Nanos timeout) {
  const Nanos now = state->shard->Now();
  const Nanos deadline = timeout > Nanos::max() - now ? Nanos::max() : now + timeout;
  if (state->stopping) co_return Fail(Errc::kCancelled, "the transport has stopped");
  SHEEN_CO_TRY_ASSIGN(const std::vector<SocketAddress> targets, co_await Resolve(state, address));
  Error last;
  for (const SocketAddress& target : targets) {
    if (state->stopping || state->shard->Now() >= deadline) {
      co_return std::unexpected(
          ConnectFailure(state->stopping ? ECANCELED : ETIMEDOUT, address, target));
    }
    Result<std::unique_ptr<Link>> link = co_await ConnectOne(state, address, target, deadline);
    if (link) co_return link;
    last = std::move(link).error();
  }
  co_return std::unexpected(std::move(last));
}

async::Task<void> StopAll(std::shared_ptr<TcpState> state) {
  state->stopping = true;
  const std::vector<TcpActivity*> activities(state->activities.begin(), state->activities.end());
  for (TcpActivity* activity : activities) {
    // Ending one may have ended another.
    if (state->activities.contains(activity)) activity->StopActivity();
  }
  while (!state->activities.empty()) co_await state->idle.Wait();
}

}  // namespace

TcpTransport::TcpTransport(async::Shard* shard, io::UringPoller* uring, async::BlockingPool* pool,
                           TcpOptions options)
    : state_(std::make_shared<TcpState>(shard, uring, pool, std::move(options))) {}

TcpTransport::~TcpTransport() = default;

async::Task<Result<std::unique_ptr<Link>>> TcpTransport::Connect(Address address, Nanos timeout) {
  return ConnectAny(state_, std::move(address), timeout);
}

Result<std::unique_ptr<Listener>> TcpTransport::Listen(const Address& address,
                                                       AcceptFunction accept) {
  if (state_->stopping) return Fail(Errc::kCancelled, "the transport has stopped");
  SHEEN_TRY_ASSIGN(CidrList allow, CidrList::Parse(state_->options.allow));
  SHEEN_TRY_ASSIGN(TcpAcceptor::Options options,
                   OpenListeningSocket(address, state_->options.reuse_port));
  // Only a hint: without it the kernel spreads connections by a hash.
  if (const int core = state_->options.incoming_core; core >= 0) {
    (void)setsockopt(options.fd, SOL_SOCKET, SO_INCOMING_CPU, &core, sizeof core);
  }
  options.allow = std::move(allow);
  options.accept = std::move(accept);
  return std::make_unique<TcpListener>(TcpAcceptor::Open(state_, std::move(options)));
}

async::Task<void> TcpTransport::Stop() { return StopAll(state_); }

size_t TcpTransport::link_count() const { return state_->connection_count; }

}  // namespace sheen::rpc
