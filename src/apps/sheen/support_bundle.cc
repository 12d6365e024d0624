#include "apps/sheen/support_bundle.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "apps/common/local_daemons.h"
#include "apps/common/ost_notes.h"
#include "apps/common/redact.h"
#include "apps/common/tar_gz.h"
#include "apps/common/version.h"
#include "apps/common/words.h"
#include "apps/sheen/cluster_status.h"
#include "apps/sheen/command.h"
#include "base/clock.h"
#include "rpc/address.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

constexpr char kStateDirectory[] = "/var/lib/sheen";
constexpr char kLogDirectory[] = "/var/log/sheen";
constexpr size_t kMountLogsMax = 50;
// Counting the files of a large OST could take hours.
constexpr Nanos kCountPatience = std::chrono::seconds(3);

// The archive under construction, and the list of what is in it.
class Bundle final {
 public:
  Bundle(const std::string& directory, int64_t now_s) : archive_(directory, now_s) {}

  void Add(const std::string& path, const std::string& text) {
    const std::string clean = WithoutSecrets(text);
    archive_.Add(path, clean);
    contents_.files.push_back({path, clean.size()});
  }
  void Missing(const std::string& path, const std::string& why) {
    contents_.missing.push_back({path, why});
  }
  void Add(const std::string& path, const Result<std::string>& text) {
    if (text) {
      Add(path, *text);
    } else {
      Missing(path, Sentence(text.error()));
    }
  }
  std::string Finish() {
    archive_.Add("MANIFEST", contents_.AsText());
    return archive_.Finish();
  }
  SupportBundle* contents() { return &contents_; }

 private:
  TarGz archive_;
  SupportBundle contents_;
};

std::string HostName() {
  char name[256] = {};
  if (::gethostname(name, sizeof name - 1) != 0 || name[0] == '\0') return "host";
  return name;
}

// "/var/log/sheen/x.log" as part of a path in the archive.
std::string FlatName(const std::string& path) {
  std::string out = path.substr(path.starts_with('/') ? 1 : 0);
  std::ranges::replace(out, '/', '-');
  return out;
}

Result<std::string> TailOf(const std::string& path, size_t bytes_max) {
  std::error_code error;
  if (!fs::is_regular_file(path, error)) return Fail(Errc::kNoEntry, "there is no such file");
  const uint64_t size = fs::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (!file || error) return FailErrno(error ? error.value() : EACCES, "open " + path);
  if (size > bytes_max) file.seekg(static_cast<std::streamoff>(size - bytes_max));
  std::string out(std::min<uint64_t>(size, bytes_max), '\0');
  file.read(out.data(), static_cast<std::streamsize>(out.size()));
  out.resize(static_cast<size_t>(file.gcount()));
  if (size > bytes_max) {
    out = fmt::format("(the last {} of {} bytes)\n", bytes_max, size) + out;
  }
  return out;
}

void AddVersions(Bundle* bundle) {
  bundle->Add("versions/sheen", fmt::format("sheen {}\n", kVersion));
  bundle->Add("versions/os-release", ReadWholeFile("/etc/os-release"));
  bundle->Add("versions/packages",
              OutputOf({"dpkg-query", "-W", "sheen", "fuse3", "libfuse3-3", "liburing2", "libc6",
                        "libgrpc++1.51", "librocksdb7.8", "libjemalloc2", "systemd"}));
}

void AddKernel(Bundle* bundle) {
  for (const char* path :
       {"/proc/version", "/proc/cmdline", "/proc/meminfo", "/proc/loadavg", "/proc/uptime",
        "/proc/pressure/cpu", "/proc/pressure/io", "/proc/pressure/memory",
        "/sys/module/fuse/parameters/enable_uring", "/proc/sys/kernel/io_uring_disabled",
        "/proc/sys/fs/file-nr", "/proc/sys/net/ipv4/tcp_rmem", "/proc/sys/net/ipv4/tcp_wmem",
        "/proc/net/sockstat", "/proc/net/dev", "/proc/diskstats"}) {
    bundle->Add("kernel/" + FlatName(path), ReadWholeFile(path));
  }
  bundle->Add("kernel/lscpu", OutputOf({"lscpu"}));
  bundle->Add("kernel/clock", OutputOf({"timedatectl", "show"}));
  bundle->Add("kernel/dmesg", OutputOf({"dmesg", "--time-format=iso", "--level=warn+"}));
}

// Mounts of Sheen and of what its targets lie on, and the kernel's FUSE connections.
void AddMounts(Bundle* bundle) {
  bundle->Add("mounts/mounts", ReadWholeFile("/proc/self/mounts"));
  bundle->Add("mounts/fstab", ReadWholeFile("/etc/fstab"));
  std::string waiting;
  std::error_code error;
  for (fs::directory_iterator it("/sys/fs/fuse/connections", error), end; !error && it != end;
       it.increment(error)) {
    const auto count = ReadWholeFile(it->path() / "waiting");
    if (!count) continue;
    waiting += fmt::format("connection {}: waiting {}", it->path().filename().string(), *count);
  }
  if (waiting.empty()) {
    bundle->Missing("mounts/fuse-connections",
                    "/sys/fs/fuse/connections shows none (mount -t fusectl none there)");
  } else {
    bundle->Add("mounts/fuse-connections", waiting);
  }
}

void AddConfiguration(const std::string& directory, Bundle* bundle) {
  std::error_code error;
  std::vector<fs::path> files;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".toml") files.push_back(it->path());
  }
  if (error) bundle->Missing("configuration/", directory + ": " + error.message());
  std::error_code none;
  for (fs::directory_iterator it("/etc/default", none), end; !none && it != end;
       it.increment(none)) {
    if (it->path().filename().string().starts_with("sheen-")) files.push_back(it->path());
  }
  std::ranges::sort(files);
  for (const fs::path& file : files) {
    bundle->Add("configuration/" + FlatName(file), ReadWholeFile(file));
  }
}

void AddDaemon(const LocalDaemon& daemon, Bundle* bundle) {
  const std::string process = fmt::format("/proc/{}", daemon.pid);
  const std::string where = fmt::format("daemons/{}-{}/", daemon.program, daemon.pid);
  bundle->Add(where + "command-line", fmt::format("{}\n", fmt::join(daemon.words, " ")));
  for (const char* name : {"status", "limits", "io", "schedstat"}) {
    bundle->Add(where + name, ReadWholeFile(process + "/" + name));
  }
  std::string sockets;
  for (const rpc::Address& address : daemon.listening) sockets += address.ToString() + "\n";
  if (!daemon.same_network) sockets += "in another network namespace; run the command there\n";
  bundle->Add(where + "listening", sockets);
}

// Control ports answer, data ports do not: who listens where is not told apart by number.
void AddStatus(const std::vector<std::string>& servers, const std::vector<LocalDaemon>& daemons,
               Bundle* bundle) {
  std::set<std::string> asked;
  const auto ask = [&](const rpc::Address& address, bool expected) {
    if (!asked.insert(address.ToString()).second) return;
    const std::string path = "status/" + address.ToString();
    const Result<std::string> status = ClusterStatus(address, true);
    if (status || expected) bundle->Add(path, status);
  };
  for (const std::string& server : servers) {
    const Result<rpc::Address> address = rpc::ParseAddress(server, 7989);
    if (address) {
      ask(*address, true);
    } else {
      bundle->Missing("status/" + server, Sentence(address.error()));
    }
  }
  bool any = false;
  for (const LocalDaemon& daemon : daemons) {
    if (daemon.program == "sheen-client") continue;
    for (const rpc::Address& address : daemon.listening) {
      any = true;
      ask(address, false);
    }
  }
  if (!any && servers.empty()) {
    bundle->Missing("status/",
                    "no server is seen to run on this host (without root only one's own are seen); "
                    "name its control port with --server, or run the command on the server's host");
  }
}

std::string SizeOf(const std::string& directory) {
  struct statvfs space {};
  std::string out = directory + ":\n";
  if (::statvfs(directory.c_str(), &space) != 0) {
    return out + "  statvfs: " + std::error_code(errno, std::generic_category()).message() + "\n";
  }
  out += fmt::format("  file system: {} bytes, {} free, {} available; {} files, {} free\n",
                     space.f_blocks * space.f_frsize, space.f_bfree * space.f_frsize,
                     space.f_bavail * space.f_frsize, space.f_files, space.f_ffree);
  const Nanos deadline = SystemClock().Monotonic() + kCountPatience;
  uint64_t files = 0;
  uint64_t bytes = 0;
  bool all = true;
  std::error_code error;
  fs::recursive_directory_iterator it(directory, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    struct stat info {};
    if (::lstat(it->path().c_str(), &info) != 0 || !S_ISREG(info.st_mode)) continue;
    ++files;
    bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    if (files % 1024 == 0 && SystemClock().Monotonic() > deadline) {
      all = false;
      break;
    }
  }
  if (error) out += "  " + error.message() + "\n";
  return out + fmt::format("  {}{} files of {} bytes on the disk\n", all ? "" : "more than ", files,
                           bytes);
}

// Of the running servers, and of what lies where the units have theirs.
std::set<std::string> Targets(const std::vector<LocalDaemon>& daemons) {
  std::set<std::string> out;
  for (const LocalDaemon& daemon : daemons) {
    const bool is_client = daemon.program == "sheen-client";
    const char* const flag = daemon.program == "sheen-mds" ? "dir" : "target";
    for (const std::string& path : daemon.Values(flag)) {
      if (!is_client) out.insert(NormalPath(path));
    }
  }
  std::error_code error;
  for (fs::directory_iterator it(kStateDirectory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code none;
    const bool is_target =
        fs::exists(it->path() / "superblock", none) || fs::exists(it->path() / "CURRENT", none);
    if (is_target) out.insert(it->path());
  }
  return out;
}

void AddStores(const std::vector<LocalDaemon>& daemons, size_t log_bytes_max, Bundle* bundle) {
  std::string sizes;
  for (const std::string& target : Targets(daemons)) {
    sizes += SizeOf(target);
    for (const char* log : {"/LOG", "/index/LOG"}) {
      const Result<std::string> text = TailOf(target + log, log_bytes_max);
      if (text) bundle->Add("stores/" + FlatName(target + log), *text);
    }
  }
  bundle->Add("stores/sizes", sizes);
}

// Of mounts, the newest first, without those in `known`.
std::vector<std::string> MountLogs(const std::set<std::string>& known) {
  std::vector<std::pair<fs::file_time_type, std::string>> found;
  std::error_code error;
  for (fs::directory_iterator it(kLogDirectory, error), end; !error && it != end;
       it.increment(error)) {
    if (it->path().extension() != ".log" || known.contains(it->path())) continue;
    std::error_code gone;
    found.emplace_back(it->last_write_time(gone), it->path());
  }
  std::ranges::sort(found, std::ranges::greater());
  std::vector<std::string> out;
  for (auto& [time, path] : found) out.push_back(std::move(path));
  return out;
}

void AddLogs(const std::vector<LocalDaemon>& daemons, size_t log_bytes_max, Bundle* bundle) {
  std::set<std::string> logs;
  for (const LocalDaemon& daemon : daemons) logs.insert(daemon.logs.begin(), daemon.logs.end());
  const std::vector<std::string> mount_logs = MountLogs(logs);
  const size_t taken = std::min(mount_logs.size(), kMountLogsMax);
  logs.insert(mount_logs.begin(), mount_logs.begin() + static_cast<ptrdiff_t>(taken));
  for (const std::string& log : logs) {
    bundle->Add("logs/" + FlatName(log), TailOf(log, log_bytes_max));
  }
  if (taken < mount_logs.size()) {
    bundle->Missing(kLogDirectory,
                    fmt::format("{} older logs were left out", mount_logs.size() - taken));
  }
  bundle->Add("logs/journal", OutputOf({"journalctl", "--no-pager", "-q", "-n", "20000", "-o",
                                        "short-iso", "-u", "sheen-mds@*", "-u", "sheen-oss@*"},
                                       {.bytes_max = log_bytes_max * 4}));
}

Result<std::string> ChoosePath(const std::string& wanted, const std::string& name) {
  const std::string path = NormalPath(wanted.empty() ? name + ".tar.gz" : wanted);
  const fs::path directory = fs::path(path).parent_path();
  std::error_code error;
  if (!fs::is_directory(directory, error)) {
    return Fail(Errc::kNoEntry,
                fmt::format("cannot make {}: there is no directory {}; make it, or give another "
                            "file with --out FILE",
                            path, directory.string()));
  }
  struct stat info {};
  if (::lstat(path.c_str(), &info) == 0) {
    return Fail(Errc::kExists,
                path +
                    ": there is something of this name already, and it stays as it is; give "
                    "another with --out FILE");
  }
  return path;
}

}  // namespace

std::string SupportBundle::AsText() const {
  std::string out = "In this archive, secrets taken out:\n";
  for (const File& file : files) {
    out += fmt::format("  {:<44} {:>9} bytes\n", file.path, file.bytes);
  }
  if (!missing.empty()) out += "Not in it, because it could not be had:\n";
  for (const Missing& one : missing) out += fmt::format("  {}: {}\n", one.path, one.why);
  return out;
}

std::string SupportBundle::AsJson() const {
  nlohmann::json out = {
      {"path", path}, {"files", nlohmann::json::array()}, {"missing", nlohmann::json::array()}};
  for (const File& file : files) {
    out["files"].push_back({{"path", file.path}, {"bytes", file.bytes}});
  }
  for (const Missing& one : missing) {
    out["missing"].push_back({{"path", one.path}, {"why", one.why}});
  }
  return out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

Result<SupportBundle> MakeSupportBundle(const SupportBundleOptions& options) {
  const auto now = std::chrono::duration_cast<std::chrono::seconds>(SystemClock().Wall()).count();
  const std::string name = fmt::format("sheen-support-{}-{:%Y%m%dT%H%M%SZ}", HostName(),
                                       fmt::gmtime(static_cast<std::time_t>(now)));
  SHEEN_TRY_ASSIGN(const std::string path, ChoosePath(options.path, name));
  Bundle bundle(name, now);
  const std::vector<LocalDaemon> daemons = FindLocalDaemons();
  AddVersions(&bundle);
  AddKernel(&bundle);
  AddMounts(&bundle);
  AddConfiguration(options.configuration, &bundle);
  for (const LocalDaemon& daemon : daemons) AddDaemon(daemon, &bundle);
  AddStatus(options.servers, daemons, &bundle);
  AddStores(daemons, options.log_bytes_max, &bundle);
  AddLogs(daemons, options.log_bytes_max, &bundle);
  bundle.contents()->path = path;
  SHEEN_TRY(WriteFileAtomically(path, bundle.Finish()));
  return std::move(*bundle.contents());
}

}  // namespace sheen::apps
