#include "apps/common/daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

#include "apps/common/words.h"
#include "base/log.h"

namespace sheen::apps {
namespace {

void WriteAll(int fd, const std::string& text) {
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return;  // the starter is gone: nobody to tell
    done += static_cast<size_t>(n);
  }
}

// Ends the process if it has not ended by itself: a stop that hangs must not hang its caller.
void EndAfter(Nanos limit) {
  std::thread([limit] {
    std::this_thread::sleep_for(limit);
    SHEEN_LOG(Error,
              "did not stop within {} s; ending now (what was answered is in the stores' logs)",
              std::chrono::duration_cast<std::chrono::seconds>(limit).count());
    LogFlush();
    ::_exit(1);
  }).detach();
}

// The same, once a signal asks for it. Takes over the signals' descriptor.
void EndAfterSignal(int signals, Nanos limit) {
  std::thread([signals, limit] {
    for (;;) {
      pollfd wait{signals, POLLIN, 0};
      signalfd_siginfo info{};
      if (::poll(&wait, 1, -1) < 0) continue;
      if (::read(signals, &info, sizeof info) != static_cast<ssize_t>(sizeof info)) continue;
      if (info.ssi_signo != SIGHUP) break;
    }
    SHEEN_LOG(Warn, "a signal asks for the end of what is still being waited for");
    EndAfter(limit);
  }).detach();
}

Result<LogLevel> ParseLogLevel(const std::string& text) {
  if (text == "debug") return LogLevel::Debug;
  if (text == "info") return LogLevel::Info;
  if (text == "warn") return LogLevel::Warn;
  if (text == "error") return LogLevel::Error;
  return Fail(Errc::kInvalid,
              fmt::format("log level '{}' is not known; use debug, info, warn or error", text));
}

}  // namespace

void DaemonOptions::AddTo(Settings* settings) {
  settings->Text("log", &log, "append the log to this file (default: stderr)");
  settings->Text("log-level", &log_level, "debug, info, warn or error (default info)");
  settings->Number("ready-fd", &ready_fd,
                   "write one line to this file descriptor when serving (for starters)", -1, 65535);
  settings->Number("shards", &shards, "threads that serve (default 0: one for each usable core)", 0,
                   256);
}

Daemon::Daemon(std::string program) : program_(std::move(program)) {
  LogToStderr(program_);
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (const int number : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&signals, number);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal_fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  int fds[2] = {-1, -1};
  SHEEN_ASSERT(signal_fd_ >= 0 && ::pipe2(fds, O_CLOEXEC | O_NONBLOCK) == 0);
  stop_read_fd_ = fds[0];
  stop_write_fd_ = fds[1];
  rlimit files{};
  if (::getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < files.rlim_max) {
    files.rlim_cur = files.rlim_max;
    ::setrlimit(RLIMIT_NOFILE, &files);
  }
}

Daemon::~Daemon() {
  for (const int fd : {signal_fd_, stop_read_fd_, stop_write_fd_}) {
    if (fd >= 0) ::close(fd);
  }
}

void Daemon::set_ready_fd(int fd) {
  ready_fd_ = fd;
  ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

Status Daemon::OpenLog(const DaemonOptions& options) {
  if (options.ready_fd >= 0) set_ready_fd(static_cast<int>(options.ready_fd));
  SHEEN_TRY_ASSIGN(const LogLevel level, ParseLogLevel(options.log_level));
  SetLogLevel(level);
  if (options.log.empty()) return {};
  SHEEN_TRY(LogToFile(program_, options.log));
  log_is_file_ = true;
  return {};
}

int Daemon::FailStart(const Error& error) {
  const std::string text = Sentence(error);
  if (log_is_file_) SHEEN_LOG(Error, "cannot start: {}", text);
  std::fprintf(stderr, "%s: %s\n", program_.c_str(), text.c_str());
  std::string line = text;
  std::ranges::replace(line, '\n', ' ');
  if (ready_fd_ >= 0) WriteAll(ready_fd_, "failed " + line + "\n");
  NotifySystemd("STATUS=" + line);
  LogFlush();
  switch (error.code()) {
    case Errc::kInvalid:
    case Errc::kWrongFilesystem:
    case Errc::kBadVersion:
      return kExitMisconfigured;
    default:
      return 1;
  }
}

void Daemon::Ready(const std::map<std::string, int64_t>& ports) {
  std::string json;
  for (const auto& [name, port] : ports) {
    json += fmt::format("{}\"{}\":{}", json.empty() ? "" : ",", name, port);
  }
  NotifySystemd("READY=1\nSTATUS=serving");
  if (ready_fd_ < 0) return;
  WriteAll(ready_fd_, "ready {" + json + "}\n");
  ::close(std::exchange(ready_fd_, -1));
}

bool Daemon::StopPending() const {
  sigset_t pending;
  sigemptyset(&pending);
  ::sigpending(&pending);
  return sigismember(&pending, SIGTERM) == 1 || sigismember(&pending, SIGINT) == 1;
}

std::string Daemon::WaitForStop(StopLimits limits) {
  std::string reason;
  bool is_signal = false;
  while (reason.empty()) {
    pollfd fds[2] = {{signal_fd_, POLLIN, 0}, {stop_read_fd_, POLLIN, 0}};
    if (::poll(fds, 2, -1) < 0) continue;
    signalfd_siginfo info{};
    while (::read(signal_fd_, &info, sizeof info) == static_cast<ssize_t>(sizeof info)) {
      // The log is opened for appending, so rotation by copy-and-truncate needs no signal.
      if (info.ssi_signo == SIGHUP) continue;
      reason = info.ssi_signo == SIGTERM ? "SIGTERM" : "SIGINT";
      is_signal = true;
    }
    char buffer[256];
    const ssize_t n = ::read(stop_read_fd_, buffer, sizeof buffer);
    if (n > 0 && reason.empty()) reason.assign(buffer, static_cast<size_t>(n));
  }
  SHEEN_LOG(Info, "stopping: {}", reason);
  NotifySystemd("STOPPING=1\nSTATUS=stopping");
  if (is_signal) {
    EndAfter(limits.signal);
  } else if (limits.request != Nanos::max()) {
    EndAfter(limits.request);
  } else {
    EndAfterSignal(::dup(signal_fd_), limits.signal);
  }
  return reason;
}

void Daemon::RequestStop(std::string reason) {
  reason.resize(std::min<size_t>(reason.size(), 200));
  WriteAll(stop_write_fd_, reason);
}

void NotifySystemd(const std::string& state) {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || path[0] == '\0') return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (path[0] == '@') address.sun_path[0] = '\0';  // abstract namespace
  const int fd = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (::sendto(fd, state.data(), state.size(), MSG_NOSIGNAL,
               reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    SHEEN_LOG(Warn, "cannot tell systemd '{}': {}", state, std::strerror(errno));
  }
  ::close(fd);
}

uint32_t UsableCores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
}

}  // namespace sheen::apps
