// fsbench: what one mounted filesystem does for P processes on this machine, as JSON on stdout.
// Options and phases: options.cc. What is read is compared with what was written (pattern.h); a
// process that finds a difference, or whose call fails, ends all with status 1.
//
// All processes start a phase together; its time is from the first start to the last end.
// cpu_seconds is user and system time of the processes, server_cpu_seconds that of --pid (daemons);
// both a phase.
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "fsbench/options.h"
#include "fsbench/worker.h"

namespace fsbench {
namespace {

// In memory that all processes share.
struct Slot {
  double started = 0;
  double ended = 0;
  double cpu_seconds = 0;
  double operations = 0;
};
struct Shared {
  pthread_barrier_t barrier;
  Slot slots[kProcsMax];
};

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// User and system time of running processes, their ended threads included.
double ServerCpuSeconds(const std::vector<int>& pids) {
  double total = 0;
  for (const int pid : pids) {
    clockid_t clock = 0;
    timespec time{};
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &time) != 0) continue;
    total += static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
  }
  return total;
}

void RunWorker(const Options& options, uint32_t index, Shared* shared) {
  Worker worker(options, index);
  Slot& slot = shared->slots[index];
  for (const std::string& phase : options.phases) {
    worker.Prepare(phase);
    pthread_barrier_wait(&shared->barrier);  // all are prepared: the parent reads the clock
    pthread_barrier_wait(&shared->barrier);
    const double cpu_before = OwnCpuSeconds();
    slot.started = Now();
    slot.operations = worker.Run(phase);
    slot.ended = Now();
    slot.cpu_seconds = OwnCpuSeconds() - cpu_before;
    pthread_barrier_wait(&shared->barrier);  // the parent sums up
    pthread_barrier_wait(&shared->barrier);
    worker.Finish(phase);
  }
  pthread_barrier_wait(&shared->barrier);  // others may still compare a file that all share
  worker.CleanUp();
}

std::string RunPhase(const Options& options, const std::string& phase, Shared* shared) {
  pthread_barrier_wait(&shared->barrier);
  const double server_before = ServerCpuSeconds(options.server_pids);
  pthread_barrier_wait(&shared->barrier);
  pthread_barrier_wait(&shared->barrier);
  const double server_cpu = ServerCpuSeconds(options.server_pids) - server_before;
  Slot sum = shared->slots[0];
  for (uint32_t i = 1; i < options.procs; ++i) {
    const Slot& slot = shared->slots[i];
    sum.started = std::min(sum.started, slot.started);
    sum.ended = std::max(sum.ended, slot.ended);
    sum.cpu_seconds += slot.cpu_seconds;
    sum.operations += slot.operations;
  }
  pthread_barrier_wait(&shared->barrier);
  const double seconds = sum.ended - sum.started;
  const bool stream =
      phase.starts_with("seq_") || phase.starts_with("record_") || phase == "small_write";
  const char* unit = stream ? "MiB/s" : "op/s";
  return fmt::format(
      "    \"{}\": {{\"rate\": {:.1f}, \"unit\": \"{}\", \"seconds\": {:.4f}, \"cpu_seconds\": "
      "{:.3f}, \"server_cpu_seconds\": {:.4f}}}",
      phase, sum.operations / seconds, unit, seconds, sum.cpu_seconds, server_cpu);
}

Shared* MakeShared(uint32_t procs) {
  void* memory =
      mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Die("shared memory");
  auto* shared = new (memory) Shared();
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&shared->barrier, &attributes, procs + 1);
  return shared;
}

int Main(int argc, char** argv) {
  Options options;
  if (!ParseOptions(argc, argv, &options)) return 2;
  Shared* shared = MakeShared(options.procs);
  // One group, so that a process that fails takes the others along instead of leaving them at a
  // barrier.
  std::vector<pid_t> children;
  for (uint32_t i = 0; i < options.procs; ++i) {
    const pid_t child = fork();
    if (child < 0) Die("fork");
    if (child == 0) {
      RunWorker(options, i, shared);
      std::_Exit(0);
    }
    children.push_back(child);
  }
  const pid_t watcher = fork();
  if (watcher == 0) {
    std::string results;
    for (const std::string& phase : options.phases) {
      if (!results.empty()) results += ",\n";
      results += RunPhase(options, phase, shared);
    }
    pthread_barrier_wait(&shared->barrier);
    fmt::print(
        "{{\n  \"label\": \"{}\", \"procs\": {}, \"files\": {}, \"file_bytes\": {}, "
        "\"mib\": {},\n  \"phases\": {{\n{}\n  }}\n}}\n",
        options.label, options.procs, options.files, options.file_bytes, options.mib, results);
    std::fflush(stdout);
    std::_Exit(0);
  }
  children.push_back(watcher);
  bool failed = false;
  for (size_t left = children.size(); left > 0; --left) {
    int status = 0;
    wait(&status);
    if (status == 0 || failed) continue;
    failed = true;
    for (const pid_t child : children) kill(child, SIGKILL);
  }
  return failed ? 1 : 0;
}

}  // namespace
}  // namespace fsbench

int main(int argc, char** argv) { return fsbench::Main(argc, argv); }
