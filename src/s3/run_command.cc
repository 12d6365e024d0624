#include "s3/run_command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <optional>
#include <thread>

extern char** environ;

namespace sheen::s3 {
namespace {

// A process group of its own: what the shell starts goes with it.
Result<pid_t> StartShell(const std::string& command, int output) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&actions);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  posix_spawnattr_setpgroup(&attributes, 0);
  std::string text = command;
  char shell[] = "/bin/sh";
  char option[] = "-c";
  char* const argv[] = {shell, option, text.data(), nullptr};
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, shell, &actions, &attributes, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) return FailErrno(error, "start of /bin/sh");
  return pid;
}

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr auto kExitLook = std::chrono::milliseconds(5);

int MillisecondsUntil(SteadyTime until) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
      until - std::chrono::steady_clock::now());
  return static_cast<int>(std::max<int64_t>(left.count(), 0));
}

// Up to the end of file.
Result<std::string> ReadAll(int fd, size_t bytes_max, SteadyTime until) {
  std::string out;
  for (;;) {
    const int left = MillisecondsUntil(until);
    if (left == 0) return Fail(Errc::kTimedOut, "it did not end in time");
    pollfd wait{fd, POLLIN, 0};
    const int ready = ::poll(&wait, 1, left);
    if (ready < 0 && errno != EINTR) return FailErrno(errno, "poll");
    if (ready <= 0) continue;
    char buffer[4096];
    const ssize_t bytes = ::read(fd, buffer, sizeof buffer);
    if (bytes < 0 && errno != EINTR) return FailErrno(errno, "read");
    if (bytes == 0) return out;
    if (bytes > 0) out.append(buffer, static_cast<size_t>(bytes));
    if (out.size() > bytes_max) {
      return Fail(Errc::kFileTooBig, fmt::format("it prints more than {} bytes", bytes_max));
    }
  }
}

// Its wait status; nullopt: it has not ended by then.
std::optional<int> WaitUntil(pid_t pid, SteadyTime until) {
  int status = 0;
  for (;;) {
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid) return status;
    if (MillisecondsUntil(until) == 0) return std::nullopt;
    std::this_thread::sleep_for(kExitLook);
  }
}

}  // namespace

Result<std::string> RunCommand(const std::string& command, CommandLimits limits) {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const Result<pid_t> pid = StartShell(command, ends[1]);
  ::close(ends[1]);
  if (!pid) {
    ::close(ends[0]);
    return std::unexpected(pid.error());
  }
  const SteadyTime until =
      std::chrono::steady_clock::now() +
      std::chrono::duration_cast<std::chrono::steady_clock::duration>(limits.time);
  const Result<std::string> output = ReadAll(ends[0], limits.output_bytes, until);
  ::close(ends[0]);
  std::optional<int> status;
  if (output) status = WaitUntil(*pid, until);
  if (!status) {
    ::kill(-*pid, SIGKILL);
    int killed = 0;
    while (::waitpid(*pid, &killed, 0) < 0 && errno == EINTR) continue;
    if (!output) return output;
    return Fail(Errc::kTimedOut, "it closed its output and did not end in time");
  }
  if (WIFEXITED(*status) && WEXITSTATUS(*status) == 0) return output;
  return Fail(Errc::kPerm, WIFEXITED(*status)
                               ? fmt::format("it failed with exit status {}", WEXITSTATUS(*status))
                               : fmt::format("signal {} ended it", WTERMSIG(*status)));
}

}  // namespace sheen::s3
