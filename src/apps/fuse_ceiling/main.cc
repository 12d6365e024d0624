// fuse_ceiling: a local directory served through Sheen's FUSE front end. What it reaches is the
// ceiling for a client that has a network and servers behind it.
//
//   fuse_ceiling --dir DIR --mount MOUNTPOINT [--io-uring auto|on|off] [--shards N]
//                [--timeout SECONDS] [--direct-io] [--keep-cache] [--allow-other]
//                [--read-ahead-kb N] [--entries N] [--no-pin]
//
// Stays in the foreground; prints "ready TRANSPORT" when mounted; ends on umount, SIGINT, SIGTERM.
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/fuse_ceiling/passthrough.h"
#include "async/shard.h"
#include "base/log.h"
#include "fuse/session.h"
#include "io/uring.h"

namespace sheen::ceiling {
namespace {

constexpr rlim_t kOpenFiles = 1u << 20;  // needs root; else what the hard limit allows

struct Flags {
  std::string directory;
  fuse::MountOptions mount;
  PassthroughOptions passthrough;
  bool pin = true;
};

struct Worker {
  std::unique_ptr<io::UringPoller> poller;
  std::unique_ptr<async::Shard> shard;
  std::thread thread;
};

int Usage() {
  std::fprintf(stderr,
               "usage: fuse_ceiling --dir DIR --mount MOUNTPOINT [--io-uring auto|on|off]\n"
               "       [--shards N] [--timeout SECONDS] [--direct-io] [--keep-cache]\n"
               "       [--allow-other] [--read-ahead-kb N] [--entries N] [--no-pin]\n");
  return 2;
}

enum Flag {
  kDir = 1,
  kMount,
  kUring,
  kShards,
  kTimeout,
  kDirect,
  kKeep,
  kOther,
  kAhead,
  kEntries,
  kNoPin
};

// False for a value that is none.
bool SetFlag(int flag, Flags* flags) {
  const auto number = [] { return static_cast<uint32_t>(std::strtoul(optarg, nullptr, 10)); };
  fuse::MountOptions& mount = flags->mount;
  if (flag == kDir) flags->directory = optarg;
  if (flag == kMount) mount.mountpoint = optarg;
  if (flag == kShards) mount.shard_count = number();
  if (flag == kTimeout) flags->passthrough.timeout_seconds = std::strtod(optarg, nullptr);
  if (flag == kDirect) flags->passthrough.direct_io = true;
  if (flag == kKeep) flags->passthrough.keep_cache = true;
  if (flag == kOther) mount.allow_other = true;
  if (flag == kAhead) mount.read_ahead_kb = number();
  if (flag == kEntries) mount.entries_per_queue = number();
  if (flag == kNoPin) flags->pin = false;
  if (flag != kUring) return true;
  const auto mode = fuse::ParseUringMode(optarg);
  if (mode) mount.io_uring = *mode;
  return mode.has_value();
}

bool ParseFlags(int argc, char** argv, Flags* flags) {
  static const option options[] = {{"dir", required_argument, nullptr, kDir},
                                   {"mount", required_argument, nullptr, kMount},
                                   {"io-uring", required_argument, nullptr, kUring},
                                   {"shards", required_argument, nullptr, kShards},
                                   {"timeout", required_argument, nullptr, kTimeout},
                                   {"direct-io", no_argument, nullptr, kDirect},
                                   {"keep-cache", no_argument, nullptr, kKeep},
                                   {"allow-other", no_argument, nullptr, kOther},
                                   {"read-ahead-kb", required_argument, nullptr, kAhead},
                                   {"entries", required_argument, nullptr, kEntries},
                                   {"no-pin", no_argument, nullptr, kNoPin},
                                   {}};
  flags->mount.shard_count = std::thread::hardware_concurrency();
  for (int flag = 0; (flag = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    if (flag == '?' || !SetFlag(flag, flags)) return false;
  }
  return !flags->directory.empty() && !flags->mount.mountpoint.empty();
}

void Pin(uint32_t index) {
  cpu_set_t usable;
  if (sched_getaffinity(0, sizeof usable, &usable) != 0) return;
  uint32_t left = index % static_cast<uint32_t>(CPU_COUNT(&usable));
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (!CPU_ISSET(cpu, &usable) || left-- > 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
    return;
  }
}

void Serve(Worker* worker, fuse::Session* session, bool pin, std::atomic<bool>* failed) {
  if (pin) Pin(worker->shard->index());
  const Status attached = session->AttachShard(worker->shard.get(), worker->poller.get());
  if (!attached) {
    SHEEN_LOG(Error, "{}", attached.error().ToString());
    failed->store(true);
    session->Abort();
  }
  worker->shard->Run();
}

// A thread that waits for SIGINT and SIGTERM, which all other threads block.
void WaitForSignals(const sigset_t& signals, fuse::Session* session,
                    const std::atomic<bool>* ended) {
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (ended->load()) return;
    session->Unmount();
  }
}

Status Run(const Flags& flags) {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  SHEEN_TRY_ASSIGN(const auto files, Passthrough::Open(flags.directory, flags.passthrough));
  SHEEN_TRY_ASSIGN(const auto session,
                   fuse::Session::Mount(flags.mount, Passthrough::Ops(), files.get()));
  std::vector<Worker> workers(flags.mount.shard_count);
  for (uint32_t i = 0; i < workers.size(); ++i) {
    SHEEN_TRY_ASSIGN(workers[i].poller, io::UringPoller::Create({.sqe128 = true}));
    workers[i].shard = std::make_unique<async::Shard>(workers[i].poller.get(), &SystemClock(), i);
  }
  std::atomic<bool> failed{false};
  std::atomic<bool> ended{false};
  session->set_on_unmounted([&workers] {
    for (Worker& worker : workers) worker.shard->Stop();
  });
  for (Worker& worker : workers) {
    worker.thread = std::thread([&] { Serve(&worker, session.get(), flags.pin, &failed); });
  }
  std::thread signal_thread([&] { WaitForSignals(signals, session.get(), &ended); });
  std::printf("ready %s\n",
              session->transport() == fuse::Transport::kUring ? "io_uring" : "classic");
  std::fflush(stdout);
  for (Worker& worker : workers) worker.thread.join();
  ended.store(true);
  pthread_kill(signal_thread.native_handle(), SIGTERM);
  signal_thread.join();
  const fuse::SessionStats stats = session->stats();
  SHEEN_LOG(Info, "{} requests, {} ring entries ({} grown), {} kicks", stats.requests,
            stats.ring_entries, stats.ring_entries_grown, stats.ring_kicks);
  if (failed.load()) return Fail(Errc::kIo, "a shard could not serve");
  return {};
}

}  // namespace
}  // namespace sheen::ceiling

int main(int argc, char** argv) {
  using namespace sheen;
  LogToStderr("fuse_ceiling");
  ceiling::Flags flags;
  if (!ceiling::ParseFlags(argc, argv, &flags)) return ceiling::Usage();
  umask(0);
  // The kernel and the callers hold many inodes, each an open descriptor here.
  rlimit files{.rlim_cur = ceiling::kOpenFiles, .rlim_max = ceiling::kOpenFiles};
  if (setrlimit(RLIMIT_NOFILE, &files) != 0 && getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  const Status ran = ceiling::Run(flags);
  if (ran) return 0;
  SHEEN_LOG(Error, "{}", ran.error().ToString());
  return 1;
}
