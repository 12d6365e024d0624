#include "apps/sheen/doctor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/timex.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/common/node_control.h"
#include "apps/common/run_directory.h"
#include "apps/common/version.h"
#include "apps/sheen/doctor_cluster.h"
#include "base/clock.h"

namespace sheen::apps {
namespace {

constexpr rlim_t kFilesWanted = 65536;
// The first with FUSE over io_uring.
constexpr std::pair<int, int> kKernelUring{6, 14};
constexpr int kSyncs = 20;
constexpr size_t kSyncBytes = 4096;
// No disk that keeps data over a power cut, and no SSD without a protected cache, is faster.
constexpr uint64_t kHonestMicros = 20;
constexpr uint64_t kSlowMicros = 30'000;
constexpr double kFullPart = 0.85;

std::string FirstLine(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

Finding Good(std::string check, std::string what) {
  return {Health::kGood, std::move(check), std::move(what), ""};
}

Finding CheckKernel() {
  utsname name{};
  ::uname(&name);
  const std::string release = name.release;
  if (KernelVersionOf(release) < kKernelUring) {
    return {Health::kWarning, "kernel", "Linux " + release + " has no FUSE over io_uring",
            "clients work by /dev/fuse, slower; 6.14 and later are faster"};
  }
  return Good("kernel", "Linux " + release);
}

Finding CheckUring() {
  const std::string disabled = FirstLine("/proc/sys/kernel/io_uring_disabled");
  if (disabled == "2" || (disabled == "1" && ::geteuid() != 0)) {
    return {Health::kBad, "io_uring", "kernel.io_uring_disabled is " + disabled,
            "every daemon needs io_uring: sysctl kernel.io_uring_disabled=0"};
  }
  return Good("io_uring", "enabled");
}

Finding CheckFuseUring() {
  const std::string enabled = FirstLine("/sys/module/fuse/parameters/enable_uring");
  if (enabled == "Y") return Good("fuse over io_uring", "enabled");
  return {Health::kWarning, "fuse over io_uring",
          enabled.empty() ? "the fuse module has no parameter enable_uring, or is not loaded"
                          : "the fuse module's enable_uring is " + enabled,
          "clients are slower without: echo Y >/sys/module/fuse/parameters/enable_uring"};
}

Finding CheckFuse() {
  if (::access("/dev/fuse", R_OK | W_OK) == 0) return Good("fuse", "/dev/fuse can be opened");
  return {Health::kWarning, "fuse", std::string("/dev/fuse: ") + std::strerror(errno),
          "to mount here: modprobe fuse, and run as a user who may open /dev/fuse"};
}

Finding CheckFiles() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_max >= kFilesWanted) {
    return Good("open files", fmt::format("up to {} are allowed", limit.rlim_max));
  }
  return {Health::kWarning, "open files", fmt::format("only {} are allowed", limit.rlim_max),
          fmt::format("a busy sheen-oss wants {}: LimitNOFILE= in its unit, or ulimit -Hn",
                      kFilesWanted)};
}

Finding CheckClock() {
  timex state{};
  const int result = ::adjtimex(&state);
  if (result >= 0 && (state.status & STA_UNSYNC) == 0) return Good("clock", "is synchronised");
  return {Health::kWarning, "clock", "is not known to be synchronised",
          "times of files come from all hosts' clocks: run chrony or systemd-timesyncd"};
}

Finding CheckRunDirectory() {
  for (const std::string& directory : RunDirectories()) {
    if (::access(directory.c_str(), R_OK | X_OK) != 0) continue;
    return Good("control sockets", "are in " + directory);
  }
  return {Health::kWarning, "control sockets", "there is no directory for them yet",
          "a daemon makes it when it starts; SHEEN_RUN_DIR names another place"};
}

struct DaemonAnswer {
  std::string socket;
  std::map<std::string, std::string> params;
};

std::vector<DaemonAnswer> AskDaemons(std::vector<Finding>* findings) {
  std::vector<DaemonAnswer> out;
  v1::LocalRequest request;
  for (const char* pattern : {"version", "health_check", "*.*.kbytestotal", "*.*.kbytesavail",
                              "*.*.filestotal", "*.*.filesfree"}) {
    request.mutable_get_params()->add_patterns(pattern);
  }
  for (const std::string& socket : DaemonSockets()) {
    const Result<v1::LocalReply> reply = AskDaemon(socket, request);
    if (!reply && reply.error().code() == Errc::kConnectionRefused) continue;  // of one that died
    if (!reply) {
      findings->push_back({Health::kBad, "daemon", socket + ": " + reply.error().message(),
                           "look at its log; end and start it if it hangs"});
      continue;
    }
    DaemonAnswer answer{.socket = socket, .params = {}};
    for (const v1::ParamValue& param : reply->get_params().params()) {
      answer.params[param.name()] = param.value();
    }
    out.push_back(std::move(answer));
  }
  return out;
}

// "obdfilter.sheen-OST0000.kbytesavail" beside its total.
void CheckFullness(const DaemonAnswer& daemon, std::vector<Finding>* findings) {
  for (const auto& [free_suffix, total_suffix, noun] :
       {std::tuple{".kbytesavail", ".kbytestotal", "space"},
        std::tuple{".filesfree", ".filestotal", "files"}}) {
    for (const auto& [name, value] : daemon.params) {
      if (!name.ends_with(free_suffix)) continue;
      const std::string base = name.substr(0, name.size() - std::strlen(free_suffix));
      const auto total = daemon.params.find(base + total_suffix);
      if (total == daemon.params.end()) continue;
      const double all = std::atof(total->second.c_str());
      const double used = all > 0 ? 1 - std::atof(value.c_str()) / all : 0;
      const std::string target = base.substr(base.find('.') + 1);
      if (used < kFullPart) continue;
      findings->push_back({Health::kWarning, "space",
                           fmt::format("{}: {:.0f} % of its {} is used", target, used * 100, noun),
                           "remove files, or add an OST; new files avoid full OSTs"});
    }
  }
}

void CheckDaemons(std::vector<Finding>* findings) {
  const std::vector<DaemonAnswer> daemons = AskDaemons(findings);
  if (daemons.empty()) {
    findings->push_back({Health::kWarning, "daemons", "none of this host answers",
                         "start one; sheen dev up starts a whole cluster to try"});
    return;
  }
  std::set<std::string> versions = {kVersion};
  bool healthy = true;
  for (const DaemonAnswer& daemon : daemons) {
    const auto version = daemon.params.find("version");
    if (version != daemon.params.end()) versions.insert(version->second);
    const auto health = daemon.params.find("health_check");
    if (health != daemon.params.end() && health->second != "healthy") {
      healthy = false;
      findings->push_back({Health::kBad, "daemon", daemon.socket + ": " + health->second,
                           "a target that has stopped says why in its log; mend its disk and "
                           "start the daemon again"});
    }
    CheckFullness(daemon, findings);
  }
  if (healthy)
    findings->push_back(Good("daemons", fmt::format("{} answer, all healthy", daemons.size())));
  if (versions.size() > 1) {
    std::string list;
    for (const std::string& version : versions) list += (list.empty() ? "" : ", ") + version;
    findings->push_back({Health::kWarning, "versions", "several are in use: " + list,
                         "start the older daemons again with the new version"});
  }
}

Result<std::vector<uint64_t>> TimeSyncs(const std::string& directory) {
  const std::string path = fmt::format("{}/.sheen-doctor-{}", directory, ::getpid());
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return FailErrno(errno, "make " + path);
  ::unlink(path.c_str());
  std::vector<uint64_t> micros;
  const std::string block(kSyncBytes, 'x');
  Status status;
  for (int i = 0; i < kSyncs && status; ++i) {
    const Nanos began = SystemClock().Monotonic();
    const ssize_t written = ::pwrite(fd, block.data(), block.size(), i * ssize_t{kSyncBytes});
    if (written != ssize_t{kSyncBytes} || ::fdatasync(fd) != 0) {
      status = FailErrno(errno, "write and sync " + path);
    }
    micros.push_back(static_cast<uint64_t>((SystemClock().Monotonic() - began).count() / 1000));
  }
  ::close(fd);
  if (!status) return std::unexpected(status.error());
  return micros;
}

Finding CheckDisk(const std::string& directory) {
  struct statfs space {};
  if (::statfs(directory.c_str(), &space) != 0) {
    return {Health::kBad, "disk", directory + ": " + std::strerror(errno), "name a directory"};
  }
  const auto micros = TimeSyncs(directory);
  if (!micros) {
    return {Health::kBad, "disk", micros.error().message(),
            "targets need a disk that can be synced"};
  }
  const auto type = static_cast<unsigned long>(space.f_type);
  return JudgeSyncs(*micros, directory, type == TMPFS_MAGIC || type == RAMFS_MAGIC);
}

const char* WordOf(Health health) {
  return health == Health::kGood ? "ok" : health == Health::kWarning ? "warning" : "BAD";
}

std::string AsJson(const std::vector<Finding>& findings) {
  nlohmann::json out = nlohmann::json::array();
  for (const Finding& finding : findings) {
    out.push_back({{"health", WordOf(finding.health)},
                   {"check", finding.check},
                   {"what", finding.what},
                   {"cure", finding.cure}});
  }
  return out.dump(2) + "\n";
}

}  // namespace

std::pair<int, int> KernelVersionOf(const std::string& release) {
  int major = 0;
  int minor = 0;
  if (std::sscanf(release.c_str(), "%d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

Finding JudgeSyncs(const std::vector<uint64_t>& micros, const std::string& directory,
                   bool in_memory) {
  std::vector<uint64_t> sorted = micros;
  std::ranges::sort(sorted);
  const uint64_t median = sorted.empty() ? 0 : sorted[sorted.size() / 2];
  const std::string took = fmt::format("{}: a synced write takes {} us", directory, median);
  if (in_memory) {
    return {Health::kWarning, "disk", directory + " is in memory",
            "its targets are lost with a restart of the host; for tests only"};
  }
  if (median < kHonestMicros) {
    return {Health::kWarning, "disk", took + ", less than a disk needs",
            "its cache may lose what it was told to keep: switch it off, or make sure that it is "
            "protected against power cuts"};
  }
  if (median > kSlowMicros) {
    return {Health::kWarning, "disk", took, "fsync will be slow; use an SSD for the MDT at least"};
  }
  return Good("disk", took);
}

std::string FormatFindings(const std::vector<Finding>& findings) {
  std::string out;
  for (const Finding& finding : findings) {
    out += fmt::format("{:<8} {}: {}\n", WordOf(finding.health), finding.check, finding.what);
    if (!finding.cure.empty()) out += fmt::format("{:<8}   -> {}\n", "", finding.cure);
  }
  return out;
}

Status RunDoctor(const DoctorOptions& options) {
  std::vector<Finding> findings = {CheckKernel(), CheckUring(), CheckFuseUring(),   CheckFuse(),
                                   CheckFiles(),  CheckClock(), CheckRunDirectory()};
  CheckDaemons(&findings);
  if (options.mgs) CheckCluster(*options.mgs, &findings);
  if (!options.directory.empty()) findings.push_back(CheckDisk(options.directory));
  fmt::print("{}", options.json ? AsJson(findings) : FormatFindings(findings));
  const auto bad = std::ranges::count(findings, Health::kBad, &Finding::health);
  if (bad == 0) return {};
  return Fail(Errc::kIo, fmt::format("{} of {} checks are bad", bad, findings.size()));
}

}  // namespace sheen::apps
