#include "apps/client/background.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

namespace sheen::apps {
namespace {

constexpr int kMountFailure = 32;  // mount(8), exit status

std::string ReadLine(int fd) {
  std::string text;
  char buffer[512];
  while (text.find('\n') == std::string::npos) {
    const ssize_t n = ::read(fd, buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(buffer, static_cast<size_t>(n));
  }
  return text.substr(0, text.find('\n'));
}

int WaitForChild(pid_t child, int fd, const std::string& log) {
  const std::string line = ReadLine(fd);
  ::close(fd);
  if (line.starts_with("ready ")) return 0;
  if (line.starts_with("failed ")) {
    std::fprintf(stderr, "sheen-client: %s\n", line.c_str() + 7);
    return kMountFailure;
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  const std::string how = WIFSIGNALED(status) ? fmt::format("by signal {}", WTERMSIG(status))
                                              : fmt::format("with status {}", WEXITSTATUS(status));
  std::fprintf(stderr,
               "sheen-client: the daemon ended %s before the mount was usable; its log: %s\n",
               how.c_str(), log.empty() ? "none, give -o log=FILE" : log.c_str());
  return kMountFailure;
}

}  // namespace

Result<ForkResult> ForkToBackground(const std::string& log) {
  int fds[2] = {-1, -1};
  if (::pipe2(fds, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  const pid_t child = ::fork();
  if (child < 0) return FailErrno(errno, "fork");
  if (child > 0) {
    ::close(fds[1]);
    return ForkResult{.is_parent = true, .exit_status = WaitForChild(child, fds[0], log)};
  }
  ::close(fds[0]);
  ::setsid();
  if (::chdir("/") != 0) return FailErrno(errno, "chdir /");
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) return FailErrno(errno, "open /dev/null");
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  if (null > STDERR_FILENO) ::close(null);
  return ForkResult{.ready_fd = fds[1]};
}

}  // namespace sheen::apps
