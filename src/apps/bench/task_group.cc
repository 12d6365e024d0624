#include "apps/bench/task_group.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdio>

namespace sheen::bench {
namespace {

// Async-signal-safe. The tasks are told by PR_SET_PDEATHSIG.
void OnChild(int, siginfo_t* info, void*) {
  if (info->si_code == CLD_EXITED && info->si_status == 0) return;
  if (info->si_code != CLD_EXITED && info->si_code != CLD_KILLED && info->si_code != CLD_DUMPED) {
    return;
  }
  constexpr char kWhat[] = "ERROR: a task died; the others are ended\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, kWhat, sizeof kWhat - 1);
  ::_exit(1);
}

void WatchChildren() {
  struct sigaction action {};
  action.sa_sigaction = OnChild;
  action.sa_flags = SA_SIGINFO | SA_RESTART | SA_NOCLDSTOP;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGCHLD, &action, nullptr);
}

}  // namespace

void* MapShared(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  return memory == MAP_FAILED ? nullptr : memory;
}

void MakeBarrier(pthread_barrier_t* barrier, uint32_t parties) {
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(barrier, &attributes, parties);
  pthread_barrierattr_destroy(&attributes);
}

Result<std::vector<pid_t>> ForkTasks(uint32_t count, const std::function<void(uint32_t)>& body) {
  std::fflush(nullptr);  // or every child prints what the parent has not
  WatchChildren();
  const pid_t parent = ::getpid();
  std::vector<pid_t> tasks;
  for (uint32_t task = 0; task < count; ++task) {
    const pid_t child = ::fork();
    if (child == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      if (::getppid() != parent) ::_exit(1);
      body(task);
      std::fflush(nullptr);
      ::_exit(0);
    }
    if (child < 0) {
      const int failed = errno;
      ::signal(SIGCHLD, SIG_DFL);
      for (const pid_t started : tasks) ::kill(started, SIGKILL);
      AwaitTasks(tasks);
      return FailErrno(failed, "fork a task");
    }
    tasks.push_back(child);
  }
  return tasks;
}

bool AwaitTasks(const std::vector<pid_t>& tasks) {
  bool all_well = true;
  for (const pid_t task : tasks) {
    int status = 0;
    while (::waitpid(task, &status, 0) < 0 && errno == EINTR) {
    }
    all_well = all_well && status == 0;
  }
  return all_well;
}

double SecondsNow() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace sheen::bench
