#include "apps/sheen/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace sheen::apps {
namespace {

// The child with its output into `fd`.
Result<pid_t> Launch(const std::vector<std::string>& words, int fd) {
  std::vector<std::string> copies = words;
  std::vector<char*> argv;
  for (std::string& word : copies) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, fd, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, fd, STDERR_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawnp(&child, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) return FailErrno(error, "run " + words[0]);
  return child;
}

// Until its end, the limit or the deadline. True: in time.
bool ReadUntil(int fd, const Nanos deadline, size_t bytes_max, std::string* out) {
  char buffer[16 << 10];
  while (out->size() < bytes_max) {
    const Nanos left = deadline - SystemClock().Monotonic();
    if (left <= Nanos(0)) return false;
    pollfd wanted{fd, POLLIN, 0};
    const auto wait = std::chrono::duration_cast<std::chrono::milliseconds>(left).count() + 1;
    const int ready = ::poll(&wanted, 1, static_cast<int>(wait));
    if (ready < 0 && errno != EINTR) return true;
    if (ready <= 0) continue;
    const ssize_t n = ::read(fd, buffer, std::min(sizeof buffer, bytes_max - out->size()));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return true;
    out->append(buffer, static_cast<size_t>(n));
  }
  return true;
}

}  // namespace

Result<std::string> OutputOf(const std::vector<std::string>& words, CommandLimits limits) {
  int fds[2] = {-1, -1};
  if (::pipe2(fds, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const Result<pid_t> child = Launch(words, fds[1]);
  ::close(fds[1]);
  if (!child) {
    ::close(fds[0]);
    return std::unexpected(child.error());
  }
  std::string out;
  const bool in_time =
      ReadUntil(fds[0], SystemClock().Monotonic() + limits.patience, limits.bytes_max, &out);
  ::close(fds[0]);
  // Its output has ended, is enough, or takes too long: in any case it is not needed any more.
  const bool cut = out.size() >= limits.bytes_max;
  if (!in_time || cut) ::kill(*child, SIGKILL);
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!in_time) return Fail(Errc::kTimedOut, fmt::format("{} took too long", words[0]));
  if (cut) out += "\n(cut off here)\n";
  if (!cut && status != 0) {
    out += fmt::format("\n({} ended with status {})\n", words[0],
                       WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
  }
  return out;
}

}  // namespace sheen::apps
