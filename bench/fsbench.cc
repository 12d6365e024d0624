// fsbench: what one mounted filesystem does for P processes on this machine, as JSON on stdout.
//
//   fsbench --dir DIR [--procs P] [--files N] [--mib M] [--seconds S] [--phases LIST]
//           [--file-bytes B] [--shared-dir] [--pid PID[,PID...]] [--label TEXT]
//
// Phases (all by default): create, stat, open_read_close, unlink: operations per second, N files a
// process; seq_write, seq_read: MiB/s, one file of M MiB a process, 1 MiB a call, the read after
// its pages were dropped; rand_read, rand_write: 4 KiB O_DIRECT at depth 1, IOPS; write_fsync: 4
// KiB write and fsync, IOPS; these three for S seconds. All processes start a phase together; its
// time is from the first start to the last end. cpu_seconds is user and system time of the
// processes, server_cpu_seconds that of --pid (a daemon); both a phase.
#include <fcntl.h>
#include <fmt/format.h>
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <random>
#include <sstream>
#include <string>
#include <vector>

namespace {

constexpr size_t kBlockBytes = 4096;
constexpr size_t kMib = size_t{1} << 20;
constexpr uint32_t kProcsMax = 256;

struct Options {
  std::string directory;
  std::string label;
  uint32_t procs = 1;
  uint32_t files = 2000;
  uint32_t mib = 256;
  double seconds = 2;
  size_t file_bytes = 0;
  bool shared_directory = false;
  std::vector<int> server_pids;
  std::vector<std::string> phases = {"create",    "stat",       "open_read_close",
                                     "unlink",    "seq_write",  "seq_read",
                                     "rand_read", "rand_write", "write_fsync"};
};

// In memory that all processes share.
struct Slot {
  double started = 0;
  double ended = 0;
  double cpu_seconds = 0;
  uint64_t operations = 0;
};
struct Shared {
  pthread_barrier_t barrier;
  Slot slots[kProcsMax];
};

[[noreturn]] void Die(const std::string& what) {
  const int failed = errno;
  fmt::print(stderr, "fsbench: {}: {}\n", what, std::strerror(failed));
  std::_Exit(1);
}

double Now() {
  const auto since = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(since).count();
}

double OwnCpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

// User and system time of running processes, from fields 14 and 15 of /proc/PID/stat.
double ServerCpuSeconds(const std::vector<int>& pids) {
  double total = 0;
  for (const int pid : pids) {
    std::ifstream file(fmt::format("/proc/{}/stat", pid));
    std::string line;
    std::getline(file, line);
    const size_t name_end = line.rfind(')');
    if (name_end == std::string::npos) continue;
    std::istringstream fields(line.substr(name_end + 2));
    std::string skipped;
    for (int i = 3; i < 14; ++i) fields >> skipped;
    double user = 0;
    double system = 0;
    fields >> user >> system;
    total += (user + system) / static_cast<double>(sysconf(_SC_CLK_TCK));
  }
  return total;
}

class Worker {
 public:
  Worker(const Options& options, uint32_t index) : options_(options), index_(index) {
    void* memory = std::aligned_alloc(kBlockBytes, kMib);
    if (memory == nullptr) Die("memory");
    buffer_ = static_cast<char*>(memory);
    std::memset(buffer_, 'a' + static_cast<int>(index % 26), kMib);
    const std::string own = options.shared_directory ? "shared" : fmt::format("p{}", index);
    directory_ = options.directory + "/fsbench." + own;
  }

  // Outside the measured time.
  void Prepare(const std::string& phase) {
    if (phase == "create" && mkdir(directory_.c_str(), 0755) != 0 && errno != EEXIST) {
      Die("mkdir " + directory_);
    }
    if (phase == "seq_read") DropPages(BigPath());
    if (phase == "rand_read" || phase == "rand_write") {
      OpenBig(phase == "rand_read" ? O_RDONLY | O_DIRECT : O_WRONLY | O_DIRECT);
    }
    if (phase == "write_fsync") OpenBig(O_WRONLY);
  }
  uint64_t Run(const std::string& phase) {
    if (phase == "create") return EachFile([this](const std::string& path) { Create(path); });
    if (phase == "stat") return EachFile([](const std::string& path) { Stat(path); });
    if (phase == "open_read_close") {
      return EachFile([this](const std::string& path) { OpenReadClose(path); });
    }
    if (phase == "unlink") return EachFile([](const std::string& path) { Unlink(path); });
    if (phase == "seq_write") return SequentialWrite();
    if (phase == "seq_read") return SequentialRead();
    if (phase == "rand_read") return Random(false, false);
    if (phase == "rand_write") return Random(true, false);
    if (phase == "write_fsync") return Random(true, true);
    errno = EINVAL;
    Die("phase " + phase);
  }
  void Finish(const std::string&) {
    if (big_ >= 0) close(big_);
    big_ = -1;
  }
  void CleanUp() {
    unlink(BigPath().c_str());
    rmdir(directory_.c_str());
  }

 private:
  std::string BigPath() const {
    return fmt::format("{}/fsbench.big{}", options_.directory, index_);
  }
  uint64_t EachFile(const std::function<void(const std::string&)>& action) {
    for (uint32_t i = 0; i < options_.files; ++i) {
      action(fmt::format("{}/{}.{}", directory_, index_, i));
    }
    return options_.files;
  }
  void Create(const std::string& path) {
    const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0) Die("create " + path);
    const ssize_t bytes = static_cast<ssize_t>(options_.file_bytes);
    if (bytes > 0 && write(fd, buffer_, options_.file_bytes) != bytes) Die("write " + path);
    if (close(fd) != 0) Die("close " + path);
  }
  static void Stat(const std::string& path) {
    struct stat attr {};
    if (stat(path.c_str(), &attr) != 0) Die("stat " + path);
  }
  void OpenReadClose(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) Die("open " + path);
    if (read(fd, buffer_, std::max(options_.file_bytes, kBlockBytes)) < 0) Die("read " + path);
    close(fd);
  }
  static void Unlink(const std::string& path) {
    if (unlink(path.c_str()) != 0) Die("unlink " + path);
  }
  uint64_t SequentialWrite() {
    const int fd = open(BigPath().c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0) Die("create " + BigPath());
    for (uint32_t i = 0; i < options_.mib; ++i) {
      if (write(fd, buffer_, kMib) != static_cast<ssize_t>(kMib)) Die("write " + BigPath());
    }
    if (close(fd) != 0) Die("close " + BigPath());
    return options_.mib;
  }
  uint64_t SequentialRead() {
    const int fd = open(BigPath().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) Die("open " + BigPath());
    uint64_t bytes = 0;
    for (ssize_t got = 1; got > 0; bytes += static_cast<uint64_t>(got)) {
      got = read(fd, buffer_, kMib);
      if (got < 0) Die("read " + BigPath());
    }
    close(fd);
    if (bytes != options_.mib * kMib) Die(fmt::format("{} has {} bytes", BigPath(), bytes));
    return options_.mib;
  }
  static void DropPages(const std::string& path) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) Die("open " + path);
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
  void OpenBig(int flags) {
    if (access(BigPath().c_str(), F_OK) != 0) SequentialWrite();
    big_ = open(BigPath().c_str(), flags | O_CLOEXEC);
    if (big_ < 0) Die("open " + BigPath());
  }
  uint64_t Random(bool write, bool sync) {
    std::mt19937_64 random(index_ + 1);
    const uint64_t blocks = options_.mib * kMib / kBlockBytes;
    const double end = Now() + options_.seconds;
    uint64_t count = 0;
    while (Now() < end) {
      const off_t offset = static_cast<off_t>(random() % blocks * kBlockBytes);
      const ssize_t done = write ? pwrite(big_, buffer_, kBlockBytes, offset)
                                 : pread(big_, buffer_, kBlockBytes, offset);
      if (done != static_cast<ssize_t>(kBlockBytes)) Die("random I/O on " + BigPath());
      if (sync && fsync(big_) != 0) Die("fsync " + BigPath());
      ++count;
    }
    return count;
  }

  const Options& options_;
  const uint32_t index_;
  std::string directory_;
  char* buffer_ = nullptr;
  int big_ = -1;
};

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
  const char* unit = phase.starts_with("seq_") ? "MiB/s" : "op/s";
  return fmt::format(
      "    \"{}\": {{\"rate\": {:.1f}, \"unit\": \"{}\", \"seconds\": {:.4f}, \"cpu_seconds\": "
      "{:.3f}, \"server_cpu_seconds\": {:.2f}}}",
      phase, static_cast<double>(sum.operations) / seconds, unit, seconds, sum.cpu_seconds,
      server_cpu);
}

std::vector<std::string> Split(const std::string& text) {
  std::vector<std::string> out;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) out.push_back(part);
  return out;
}

bool ParseOptions(int argc, char** argv, Options* out) {
  enum { kDir = 1, kProcs, kFiles, kMibs, kSeconds, kPhases, kBytes, kShared, kPid, kLabel };
  static const option options[] = {{"dir", required_argument, nullptr, kDir},
                                   {"procs", required_argument, nullptr, kProcs},
                                   {"files", required_argument, nullptr, kFiles},
                                   {"mib", required_argument, nullptr, kMibs},
                                   {"seconds", required_argument, nullptr, kSeconds},
                                   {"phases", required_argument, nullptr, kPhases},
                                   {"file-bytes", required_argument, nullptr, kBytes},
                                   {"shared-dir", no_argument, nullptr, kShared},
                                   {"pid", required_argument, nullptr, kPid},
                                   {"label", required_argument, nullptr, kLabel},
                                   {}};
  for (int flag = 0; (flag = getopt_long(argc, argv, "", options, nullptr)) != -1;) {
    const auto number = [] { return static_cast<uint32_t>(std::strtoul(optarg, nullptr, 10)); };
    switch (flag) {
      case kDir:
        out->directory = optarg;
        break;
      case kProcs:
        out->procs = number();
        break;
      case kFiles:
        out->files = number();
        break;
      case kMibs:
        out->mib = number();
        break;
      case kSeconds:
        out->seconds = std::strtod(optarg, nullptr);
        break;
      case kPhases:
        out->phases = Split(optarg);
        break;
      case kBytes:
        out->file_bytes = std::min<size_t>(number(), kMib);
        break;
      case kShared:
        out->shared_directory = true;
        break;
      case kPid:
        for (const std::string& pid : Split(optarg)) out->server_pids.push_back(std::stoi(pid));
        break;
      case kLabel:
        out->label = optarg;
        break;
      default:
        return false;
    }
  }
  return !out->directory.empty() && out->procs >= 1 && out->procs <= kProcsMax && out->mib > 0;
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

}  // namespace

int main(int argc, char** argv) {
  Options options;
  if (!ParseOptions(argc, argv, &options)) {
    fmt::print(stderr,
               "usage: fsbench --dir DIR [--procs P] [--files N] [--mib M] [--seconds S]\n"
               "       [--phases LIST] [--file-bytes B] [--shared-dir] [--pid PID,...] "
               "[--label TEXT]\n");
    return 2;
  }
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
