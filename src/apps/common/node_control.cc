#include "apps/common/node_control.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>

#include "apps/common/local_messages.h"
#include "apps/common/run_directory.h"
#include "apps/common/version.h"
#include "base/log.h"
#include "base/slow.h"
#include "rpc/address.h"
#include "rpc/socket_address.h"

namespace sheen::apps {
namespace {

constexpr int kBacklog = 16;
constexpr size_t kHttpRequestMax = 8192;

void PutError(const Error& error, v1::LocalReply* reply) {
  reply->set_errc(static_cast<uint32_t>(error.code()));
  reply->set_message(error.message());
}

// Who may turn things.
bool MaySet(int fd) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return false;
  return peer.uid == 0 || peer.uid == ::geteuid();
}

Param Reader(std::string name, std::function<std::string()> get) {
  return {std::move(name), std::move(get), nullptr};
}

// [HOST:]PORT; port 0: any free one.
Result<rpc::Address> ParseMetricsAddress(const std::string& text) {
  const size_t colon = text.rfind(':');
  const std::string digits = colon == std::string::npos ? text : text.substr(colon + 1);
  const Result<uint64_t> port = ParseParamNumber(digits, 0, UINT16_MAX);
  if (!port) {
    return Fail(Errc::kInvalid,
                fmt::format("--metrics '{}': it must be PORT or HOST:PORT, as 9169", text));
  }
  rpc::Address address{"127.0.0.1", 0};
  if (colon != std::string::npos && colon > 0) {
    SHEEN_TRY_ASSIGN(address, rpc::ParseAddress(text.substr(0, colon), 1));
  }
  address.port = static_cast<uint16_t>(*port);
  return address;
}

std::string_view NameOfLevel() {
  for (const LogLevel level : {LogLevel::Debug, LogLevel::Info, LogLevel::Warn}) {
    if (!LogEnabled(level)) continue;
    return level == LogLevel::Debug ? "debug" : level == LogLevel::Info ? "info" : "warn";
  }
  return "error";
}

Status SetLevel(const std::string& value) {
  for (const auto& [name, level] : {std::pair("debug", LogLevel::Debug),
                                    {"info", LogLevel::Info},
                                    {"warn", LogLevel::Warn},
                                    {"error", LogLevel::Error}}) {
    if (value != name) continue;
    SetLogLevel(level);
    return {};
  }
  return Fail(Errc::kInvalid, "it must be debug, info, warn or error");
}

Status SetSlow(const std::string& value) {
  constexpr uint64_t kDayMs = 86'400'000;
  SHEEN_TRY_ASSIGN(const uint64_t ms, ParseParamNumber(value, 0, kDayMs));
  SetSlowAfter(ms == 0 ? Nanos::max() : Nanos(std::chrono::milliseconds(ms)));
  return {};
}

std::string SlowText() {
  const Nanos after = SlowAfter();
  if (after == Nanos::max()) return "0";
  return fmt::format("{}", std::chrono::duration_cast<std::chrono::milliseconds>(after).count());
}

}  // namespace

NodeControl::NodeControl(NodeControlOptions options) : options_(std::move(options)) {
  AddParams([this](ParamList* list) { AddOwnParams(list); });
}

NodeControl::~NodeControl() { Stop(); }

Status NodeControl::SetFailLoc(const std::string& name) {
  if (faults_ == nullptr) return Fail(Errc::kNotSupported, "this program has no fault points");
  const bool none = name.empty() || name == "0";
  if (none) faults_->Disarm();
  // That there is such a point is seen at once, not only when it is armed.
  if (!none) SHEEN_TRY(faults_->Arm(name, {.action = rpc::FaultAction::kCount, .count = 0}));
  const std::lock_guard lock(mutex_);
  fail_loc_ = none ? "0" : name;
  fail_val_ = "0";
  return {};
}

Status NodeControl::SetFailVal(const std::string& order) {
  if (faults_ == nullptr) return Fail(Errc::kNotSupported, "this program has no fault points");
  SHEEN_TRY_ASSIGN(const rpc::FaultOrder parsed, rpc::FaultPoints::ParseOrder(order));
  std::string name;
  {
    const std::lock_guard lock(mutex_);
    name = fail_loc_;
  }
  if (name == "0") return Fail(Errc::kInvalid, "set fail_loc first: it names the fault point");
  SHEEN_TRY(faults_->Arm(name, parsed));
  const std::lock_guard lock(mutex_);
  fail_val_ = order;
  return {};
}

void NodeControl::AddFaultParams(ParamList* list) {
  const auto text = [this](const std::string* value) {
    const std::lock_guard lock(mutex_);
    return *value;
  };
  list->push_back({"fail_loc", [this, text] { return text(&fail_loc_); },
                   [this](const std::string& value) { return SetFailLoc(value); }});
  list->push_back({"fail_val", [this, text] { return text(&fail_val_); },
                   [this](const std::string& value) { return SetFailVal(value); }});
  if (faults_ != nullptr) {
    list->push_back(Reader("fault_points", [this] { return faults_->ListText(); }));
  }
}

void NodeControl::AddOwnParams(ParamList* list) {
  list->push_back(Reader("version", [] { return std::string(kVersion); }));
  list->push_back({"debug", [] { return std::string(NameOfLevel()); }, SetLevel});
  list->push_back({"slow_operation_ms", SlowText, SetSlow});
  if (metrics_port_ != 0) {
    list->push_back(Reader("metrics_port", [this] { return std::to_string(metrics_port_); }));
  }
  // How long a client may take to give a lock back.
  list->push_back(Reader("timeout", [] { return std::string("20"); }));
  list->push_back(Reader("ldlm_timeout", [] { return std::string("20"); }));
  AddFaultParams(list);
}

void NodeControl::AddMetrics(MetricsSource source) {
  const std::lock_guard lock(mutex_);
  metrics_.push_back(std::move(source));
}

Status NodeControl::Start() {
  stop_fd_ = ::eventfd(0, EFD_CLOEXEC);
  if (stop_fd_ < 0) return FailErrno(errno, "eventfd");
  const Status local = ListenLocal();
  if (!local)
    SHEEN_LOG(Warn, "no control socket, lctl will not find this daemon: {}",
              local.error().ToString());
  SHEEN_TRY(ListenMetrics());
  thread_ = std::thread([this] { ThreadMain(); });
  return {};
}

Status NodeControl::ListenLocal() {
  SHEEN_TRY_ASSIGN(const std::string directory, MakeRunDirectory());
  RemoveDeadSockets(directory);
  const std::string path = fmt::format("{}/{}-{}.sock", directory, options_.program, ::getpid());
  // It gets its name when it listens: until then it looks like one that is dead.
  const std::string made = path + ".new";
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (made.size() >= sizeof address.sun_path) {
    return Fail(Errc::kNameTooLong, path + " is too long for a socket; set SHEEN_RUN_DIR");
  }
  made.copy(address.sun_path, made.size());
  ::unlink(made.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return FailErrno(errno, "socket");
  if (::bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::chmod(made.c_str(), 0666) != 0 || ::listen(fd, kBacklog) != 0 ||
      ::rename(made.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::close(fd);
    return FailErrno(error, "listen on " + path);
  }
  local_fd_ = fd;
  socket_path_ = path;
  return {};
}

Status NodeControl::ListenMetrics() {
  if (options_.metrics.empty()) return {};
  SHEEN_TRY_ASSIGN(const rpc::Address wanted, ParseMetricsAddress(options_.metrics));
  SHEEN_TRY_ASSIGN(const auto found, rpc::ResolveBlocking(wanted));
  const rpc::SocketAddress& address = found.front();
  if (options_.allow.empty() && !rpc::IsLoopback(rpc::HostOfPeer(address.ToString()))) {
    return Fail(Errc::kInvalid,
                fmt::format("--metrics {} is not loopback: --allow must say which networks may "
                            "connect, for example --allow 10.0.0.0/8",
                            options_.metrics));
  }
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return FailErrno(errno, "socket");
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(fd, address.get(), address.size) != 0 || ::listen(fd, kBacklog) != 0) {
    const int error = errno;
    ::close(fd);
    return Fail(error == EADDRINUSE ? Errc::kBusy : ErrcOfErrno(error),
                fmt::format("cannot listen on --metrics {}: {}; choose another port",
                            options_.metrics, FailErrno(error, "bind").error().message()));
  }
  metrics_fd_ = fd;
  metrics_port_ = rpc::SocketAddress::LocalOf(fd).port();
  return {};
}

void NodeControl::Stop() {
  if (thread_.joinable()) {
    const uint64_t one = 1;
    const ssize_t written = ::write(stop_fd_, &one, sizeof one);
    SHEEN_ASSERT(written == sizeof one);
    thread_.join();
  }
  if (!socket_path_.empty()) ::unlink(socket_path_.c_str());
  socket_path_.clear();
  for (int* fd : {&local_fd_, &metrics_fd_, &stop_fd_}) {
    if (*fd >= 0) ::close(*fd);
    *fd = -1;
  }
}

void NodeControl::ThreadMain() {
  pollfd waits[3] = {{stop_fd_, POLLIN, 0}, {local_fd_, POLLIN, 0}, {metrics_fd_, POLLIN, 0}};
  while (::poll(waits, 3, -1) >= 0 || errno == EINTR) {
    if (waits[0].revents != 0) return;
    for (const pollfd& wait : {waits[1], waits[2]}) {
      if ((wait.revents & POLLIN) == 0) continue;
      const int fd = ::accept4(wait.fd, nullptr, nullptr, SOCK_CLOEXEC);
      if (fd < 0) continue;
      BoundTimes(fd);
      if (wait.fd == local_fd_) {
        ServeLocal(fd);
      } else {
        ServeMetrics(fd);
      }
      ::close(fd);
    }
  }
}

void NodeControl::ServeChangelogUser(int fd, const v1::ChangelogUserRequest& request,
                                     v1::LocalReply* reply) {
  if (!changelog_user_) {
    PutError(Error(Errc::kNoSys, "this daemon has no changelog"), reply);
  } else if (!MaySet(fd)) {
    PutError(Error(Errc::kPerm, "changelog users: only root may"), reply);
  } else {
    Result<v1::ChangelogUserReply> changed = changelog_user_(request);
    if (changed) {
      *reply->mutable_changelog_user() = std::move(*changed);
    } else {
      PutError(changed.error(), reply);
    }
  }
}

void NodeControl::ServePool(int fd, const v1::PoolRequest& request, v1::LocalReply* reply) {
  if (!pools_) {
    PutError(Error(Errc::kNoSys, "this daemon has no pools"), reply);
  } else if (request.action() != v1::POOL_LIST && !MaySet(fd)) {
    PutError(Error(Errc::kPerm, "pools: only root may"), reply);
  } else if (Result<v1::PoolReply> done = pools_(request)) {
    *reply->mutable_pool() = std::move(*done);
  } else {
    PutError(done.error(), reply);
  }
}

void NodeControl::ServeLocal(int fd) {
  v1::LocalRequest request;
  if (!ReceiveMessage(fd, &request)) return;
  v1::LocalReply reply;
  if (request.has_get_params()) {
    Result<v1::GetParamsReply> got = Get(request.get_params());
    if (got) *reply.mutable_get_params() = std::move(*got);
  } else if (request.has_set_param() && !MaySet(fd)) {
    PutError(
        Error(Errc::kPerm, fmt::format("setting {}: only root may", request.set_param().pattern())),
        &reply);
  } else if (request.has_set_param()) {
    Result<v1::SetParamReply> set = Set(request.set_param());
    if (set) {
      *reply.mutable_set_param() = std::move(*set);
    } else {
      PutError(set.error(), &reply);
    }
  } else if (request.has_changelog_user()) {
    ServeChangelogUser(fd, request.changelog_user(), &reply);
  } else if (request.has_pool()) {
    ServePool(fd, request.pool(), &reply);
  } else {
    PutError(Error(Errc::kNoSys, "this daemon does not know the request"), &reply);
  }
  (void)SendMessage(fd, reply);
}

void NodeControl::ServeMetrics(int fd) {
  SHEEN_ASSERT(metrics_fd_ >= 0);
  const auto allow = rpc::CidrList::Parse(options_.allow);
  const std::string peer = rpc::HostOfPeer(rpc::SocketAddress::PeerOf(fd).ToString());
  if (!allow || !rpc::MayConnect(*allow, peer)) return;
  std::string request;
  char buffer[1024];
  while (request.find("\r\n\r\n") == std::string::npos && request.size() < kHttpRequestMax) {
    const ssize_t bytes = ::recv(fd, buffer, sizeof buffer, 0);
    if (bytes <= 0) return;
    request.append(buffer, static_cast<size_t>(bytes));
  }
  const bool asks = request.starts_with("GET /metrics ") || request.starts_with("GET /metrics?");
  const std::string body =
      asks ? MetricsPage() : std::string("This is a Sheen daemon; its metrics are at /metrics\n");
  (void)SendAll(fd, fmt::format("HTTP/1.1 {}\r\nContent-Type: text/plain; version=0.0.4; "
                                "charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                                asks ? "200 OK" : "404 Not Found", body.size()) +
                        body);
}

Result<v1::GetParamsReply> NodeControl::Get(const v1::GetParamsRequest& request) const {
  v1::GetParamsReply reply;
  for (const std::string& pattern : request.patterns()) {
    for (const Param& param : params_.Match(pattern)) {
      v1::ParamValue* const value = reply.add_params();
      value->set_name(param.name);
      value->set_settable(param.set != nullptr);
      if (!request.names_only()) value->set_value(param.get());
    }
  }
  return reply;
}

Result<v1::SetParamReply> NodeControl::Set(const v1::SetParamRequest& request) {
  v1::SetParamReply reply;
  if (request.keep()) {
    if (!keep_) {
      return Fail(Errc::kNotSupported,
                  "settings are kept by the management service: run lctl set_param -P on its host");
    }
    SHEEN_TRY(keep_(request));
    reply.add_names(request.pattern());
    return reply;
  }
  SHEEN_TRY_ASSIGN(const std::vector<std::string> names,
                   params_.Set(request.pattern(), request.value()));
  for (const std::string& name : names) reply.add_names(name);
  for (const std::string& name : names) SHEEN_LOG(Info, "set {}={}", name, request.value());
  return reply;
}

void NodeControl::Apply(const std::string& pattern, const std::string& value) {
  const auto set = params_.Set(pattern, value);
  if (set) {
    SHEEN_LOG(Info, "kept setting {}={}", pattern, value);
  } else if (set.error().code() != Errc::kNoEntry) {
    SHEEN_LOG(Warn, "kept setting {}={}: {}", pattern, value, set.error().ToString());
  }
}

void NodeControl::ApplyKept(const v1::ClusterMap& map) {
  std::map<std::string, std::string> kept;
  for (const v1::KeptParam& param : map.params()) kept[param.name()] = param.value();
  std::map<std::string, std::string> before;
  {
    const std::lock_guard lock(mutex_);
    before = std::exchange(kept_, kept);
  }
  for (const auto& [name, value] : kept) {
    const auto known = before.find(name);
    if (known == before.end() || known->second != value) Apply(name, value);
  }
}

void NodeControl::ApplyKeptAgain() {
  std::map<std::string, std::string> kept;
  {
    const std::lock_guard lock(mutex_);
    kept = kept_;
  }
  for (const auto& [name, value] : kept) Apply(name, value);
}

std::string NodeControl::MetricsPage() const {
  std::vector<MetricsSource> sources;
  {
    const std::lock_guard lock(mutex_);
    sources = metrics_;
  }
  MetricsText text;
  text.Gauge("sheen_build_info", "1, with the version as a label.",
             {{"version", kVersion}, {"program", options_.program}}, 1);
  for (const MetricsSource& source : sources) source(&text);
  return text.Take();
}

// A TCP port of loopback does not tell who calls: any user of the host could.
rpc::AdminFunctions NodeControl::Functions(std::function<v1::GetStatusReply()> status) {
  const auto refuse = [](const v1::SetParamRequest& request) -> Result<v1::SetParamReply> {
    return Fail(Errc::kPerm,
                fmt::format("setting {}: not through the control port; run lctl as root on the "
                            "daemon's host, without --server",
                            request.pattern()));
  };
  return {.status = std::move(status),
          .get_params = [this](const v1::GetParamsRequest& request) { return Get(request); },
          .set_param = refuse};
}

Result<v1::LocalReply> AskDaemon(const std::string& socket_path, const v1::LocalRequest& request) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (socket_path.size() >= sizeof address.sun_path) {
    return Fail(Errc::kNameTooLong, socket_path + " is too long for a socket");
  }
  socket_path.copy(address.sun_path, socket_path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return FailErrno(errno, "socket");
  BoundTimes(fd, kPatientSeconds);
  v1::LocalReply reply;
  Status done;
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    done = FailErrno(errno, "connect to " + socket_path);
  } else if (!SendMessage(fd, request) || !ReceiveMessage(fd, &reply)) {
    done = Fail(Errc::kTimedOut, "the daemon at " + socket_path + " does not answer");
  } else if (reply.errc() != 0) {
    done = Fail(static_cast<Errc>(reply.errc()), reply.message());
  }
  ::close(fd);
  if (!done) return std::unexpected(done.error());
  return reply;
}

}  // namespace sheen::apps
