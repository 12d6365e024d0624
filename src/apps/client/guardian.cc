#include "apps/client/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "base/log.h"
#include "fuse/mount.h"

namespace sheen::apps {
namespace {

constexpr int kPatienceMs = 1000;

// Ends the connection and leaves the mount where it is.
void EndConnection(const char* mountpoint, uint64_t device) {
  const auto mounted = fuse::DeviceOf(mountpoint);
  if (!mounted || *mounted != device) return;  // it was unmounted, or another is there by now
  // In use, it cannot go: MNT_FORCE then ends the connection and nothing else.
  const int held = ::open(mountpoint, O_PATH | O_CLOEXEC);
  if (held < 0) return;
  ::umount2(mountpoint, MNT_FORCE | UMOUNT_NOFOLLOW);
  char path[64];
  std::snprintf(path, sizeof path, "/sys/fs/fuse/connections/%u/abort",
                minor(static_cast<dev_t>(device)));
  const int control = ::open(path, O_WRONLY | O_CLOEXEC);
  if (control >= 0) {
    const ssize_t written = ::write(control, "1", 1);
    static_cast<void>(written);
    ::close(control);
  }
  ::close(held);
}

constexpr int kPipe = STDERR_FILENO + 1;

// The signal of the death says that it comes from the dead; one from anybody else says nothing.
// The parent may still be the same process by its number: a thread of it that cannot end yet.
void AwaitDeath(pid_t daemon, const sigset_t& death) {
  siginfo_t info{};
  while (::getppid() == daemon) {
    if (::sigwaitinfo(&death, &info) < 0 && errno != EINTR) return;
    if (info.si_signo == SIGUSR1 && info.si_pid == daemon) return;
    info = {};
  }
}

}  // namespace

int RunGuardian(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto daemon = static_cast<pid_t>(std::strtol(argv[1], nullptr, 10));
  const std::string mountpoint = argv[2];
  ::prctl(PR_SET_NAME, kGuardianName);
  ::close_range(kPipe + 1, ~0U, 0);
  const int process = static_cast<int>(::syscall(SYS_pidfd_open, daemon, 0));
  ::prctl(PR_SET_PDEATHSIG, SIGUSR1);
  sigset_t death;
  sigemptyset(&death);
  sigaddset(&death, SIGUSR1);
  AwaitDeath(daemon, death);
  uint64_t device = 0;
  const bool known = ::read(kPipe, &device, sizeof device) == sizeof device;
  pollfd wait{process, POLLIN, 0};
  const bool gone = process < 0 || ::poll(&wait, 1, kPatienceMs) == 1;
  if (known && !gone) EndConnection(mountpoint.c_str(), device);
  return 0;
}

namespace {

// In the child. A program of its own, so that nobody takes it for the daemon.
[[noreturn]] void Become(pid_t daemon, int pipe, const char* mountpoint) {
  char pid[32];
  std::snprintf(pid, sizeof pid, "%d", daemon);
  ::setsid();
  sigset_t all;
  sigfillset(&all);
  ::sigprocmask(SIG_SETMASK, &all, nullptr);
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) ::dup2(null, fd);
  // To where it is already it keeps its flag.
  if (pipe == kPipe) ::fcntl(pipe, F_SETFD, 0);
  if (pipe != kPipe) ::dup2(pipe, kPipe);
  ::execl("/proc/self/exe", kGuardianName, pid, mountpoint, nullptr);
  ::_exit(1);
}

}  // namespace

Guardian::~Guardian() {
  if (pipe_ >= 0) ::close(pipe_);
}

void Guardian::Start(const std::string& mountpoint) {
  int fds[2] = {-1, -1};
  if (::pipe2(fds, O_CLOEXEC | O_NONBLOCK) != 0) {
    SHEEN_LOG(Warn, "no guardian of the mount: pipe: {}", std::strerror(errno));
    return;
  }
  const pid_t daemon = ::getpid();
  const pid_t child = ::fork();
  if (child == 0) Become(daemon, fds[0], mountpoint.c_str());
  ::close(fds[0]);
  pipe_ = fds[1];
  if (child < 0) SHEEN_LOG(Warn, "no guardian of the mount: fork: {}", std::strerror(errno));
}

void Guardian::Watch(uint64_t device) {
  const ssize_t written = ::write(pipe_, &device, sizeof device);
  if (written != sizeof device) SHEEN_LOG(Warn, "the guardian of the mount has gone");
}

}  // namespace sheen::apps
