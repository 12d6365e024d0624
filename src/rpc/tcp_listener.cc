#include "rpc/tcp_listener.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "base/log.h"

namespace sheen::rpc {
namespace {

constexpr int kBacklog = 1024;
// Pause after accept failed for want of descriptors or memory, so that it does not spin.
constexpr Nanos kAcceptRetry = std::chrono::milliseconds(100);

// Ports that listeners of this process share by SO_REUSEPORT, with their counts. Any process of the
// same user could join such a port unnoticed, so the first listener here checks that nobody has it.
struct SharedPorts {
  std::mutex mutex;  // guards counts; held from the check to the entry, so shards take turns
  std::map<std::string, int> counts;

  static SharedPorts& Instance() {
    static SharedPorts ports;
    return ports;
  }
};

std::unexpected<Error> ListenFailure(int error_number, const Address& address) {
  const std::string what = "listen on " + address.ToString();
  switch (error_number) {
    case EADDRINUSE:
      return Fail(Errc::kBusy, what +
                                   ": the port is in use; stop the program that has it (ss -ltnp "
                                   "shows it) or choose another port");
    case EADDRNOTAVAIL:
      return Fail(Errc::kNoEntry, what + ": no interface of this host has this address");
    case EACCES:
    case EPERM:
      return Fail(Errc::kAccess, what + ": not permitted; ports below 1024 need root");
    default:
      return FailErrno(error_number, what);
  }
}

class Socket final {
 public:
  explicit Socket(int fd) : fd_(fd) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  int fd() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

void SetFlag(int fd, int level, int option, int value) {
  (void)setsockopt(fd, level, option, &value, sizeof value);
}

// Gives the listening descriptor, or -errno.
int BindAndListen(const SocketAddress& address, bool reuse_port) {
  Socket socket(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (socket.fd() < 0) return -errno;
  SetFlag(socket.fd(), SOL_SOCKET, SO_REUSEADDR, 1);
  if (reuse_port) SetFlag(socket.fd(), SOL_SOCKET, SO_REUSEPORT, 1);
  if (address.family() == AF_INET6) SetFlag(socket.fd(), IPPROTO_IPV6, IPV6_V6ONLY, 0);
  if (bind(socket.fd(), address.get(), address.size) != 0) return -errno;
  if (listen(socket.fd(), kBacklog) != 0) return -errno;
  return socket.Release();
}

// What to bind. `any`: all addresses; IPv6 takes IPv4 peers too, hosts without IPv6 get IPv4.
struct Place {
  SocketAddress address;
  bool any = false;

  int Bind(bool reuse_port) const {
    const int fd = BindAndListen(address, reuse_port);
    if (!any || (fd != -EAFNOSUPPORT && fd != -EADDRNOTAVAIL)) return fd;
    return BindAndListen(*ParseLiteral("0.0.0.0", address.port()), reuse_port);
  }
  // In the list of shared ports.
  std::string KeyFor(const SocketAddress& bound) const {
    return any ? "*:" + std::to_string(bound.port()) : bound.ToString();
  }
};

Result<Place> PlaceOf(const Address& address) {
  if (address.host.empty() || address.host == "*") {
    return Place{*ParseLiteral("::", address.port), true};
  }
  SHEEN_TRY_ASSIGN(const std::vector<SocketAddress> found, ResolveBlocking(address));
  return Place{found.front(), false};
}

// A plain bind fails when anybody has the port, also those that would share it.
int ProbeAndBindShared(const Place& place, TcpAcceptor::Options* options) {
  SharedPorts& ports = SharedPorts::Instance();
  std::lock_guard lock(ports.mutex);
  if (place.address.port() != 0 && !ports.counts.contains(place.KeyFor(place.address))) {
    const int probe = place.Bind(false);
    if (probe < 0) return probe;
    close(probe);
  }
  const int fd = place.Bind(true);
  if (fd < 0) return fd;
  options->shared_key = place.KeyFor(SocketAddress::LocalOf(fd));
  ++ports.counts[options->shared_key];
  return fd;
}

void ForgetShared(const std::string& key) {
  if (key.empty()) return;
  SharedPorts& ports = SharedPorts::Instance();
  std::lock_guard lock(ports.mutex);
  if (--ports.counts[key] == 0) ports.counts.erase(key);
}

}  // namespace

Result<TcpAcceptor::Options> OpenListeningSocket(const Address& address, bool reuse_port) {
  SHEEN_TRY_ASSIGN(const Place place, PlaceOf(address));
  TcpAcceptor::Options options;
  const int fd = reuse_port ? ProbeAndBindShared(place, &options) : place.Bind(false);
  if (fd < 0) return ListenFailure(-fd, address);
  options.fd = fd;
  options.local = SocketAddress::LocalOf(fd);
  return options;
}

std::shared_ptr<TcpAcceptor> TcpAcceptor::Open(std::shared_ptr<TcpState> state, Options options) {
  auto acceptor = std::make_shared<TcpAcceptor>(std::move(state), std::move(options));
  acceptor->keep_ = acceptor;
  acceptor->Arm();
  return acceptor;
}

TcpAcceptor::TcpAcceptor(std::shared_ptr<TcpState> state, Options options)
    : state_(std::move(state)), options_(std::move(options)) {
  state_->Add(this);
}

TcpAcceptor::~TcpAcceptor() = default;

void TcpAcceptor::Arm() {
  io_uring_sqe* sqe = state_->uring->NextSqe();
  io_uring_prep_multishot_accept(sqe, options_.fd, nullptr, nullptr, SOCK_CLOEXEC);
  io::UringPoller::Attach(sqe, this);
  pending_ = true;
}

void TcpAcceptor::ArmLater() {
  timer_set_ = true;
  timer_ = state_->shard->AddTimer(state_->shard->Now() + kAcceptRetry, [this] {
    timer_set_ = false;
    Arm();
  });
}

void TcpAcceptor::Complete(int32_t result, uint32_t flags) {
  const std::shared_ptr<TcpAcceptor> self = shared_from_this();
  pending_ = (flags & IORING_CQE_F_MORE) != 0;
  if (result >= 0) Accepted(result);
  if (pending_) return;
  if (closing_) {
    Finish();
    return;
  }
  const bool short_of_something =
      result == -EMFILE || result == -ENFILE || result == -ENOBUFS || result == -ENOMEM;
  if (short_of_something) {
    SHEEN_LOG(Error, "accept on port {}: {}; new connections wait", port(), std::strerror(-result));
    ArmLater();
  } else {
    Arm();
  }
}

void TcpAcceptor::Accepted(int fd) {
  // Before a byte is parsed: who is it, and is there room?
  const SocketAddress peer = SocketAddress::PeerOf(fd);
  const bool allowed = options_.allow.Contains(peer);
  const bool room = state_->accepted_count < state_->options.connections_max;
  if (closing_ || state_->stopping || !allowed || !room) {
    if (!allowed) {
      SHEEN_LOG(Warn, "connection from {} to port {} refused: no network of --allow has it",
                peer.ToString(), port());
    } else if (!room) {
      SHEEN_LOG(Warn, "connection from {} to port {} refused: {} connections are open",
                peer.ToString(), port(), state_->accepted_count);
    }
    close(fd);
    return;
  }
  options_.accept(std::make_unique<TcpLink>(
      TcpConnection::Open(state_, {.fd = fd, .accepted = true, .peer = peer.ToString()})));
}

void TcpAcceptor::Close() {
  if (closing_) return;
  closing_ = true;
  if (timer_set_) state_->shard->CancelTimer(timer_);
  // Refuses from now on; what the kernel had queued is reset.
  (void)shutdown(options_.fd, SHUT_RDWR);
  if (pending_) {
    state_->uring->Cancel(this);
  } else {
    Finish();
  }
}

void TcpAcceptor::Finish() {
  close(options_.fd);
  ForgetShared(options_.shared_key);
  state_->Remove(this);
  keep_.reset();
}

}  // namespace sheen::rpc
