// sheen-client: mounts a Sheen filesystem.
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "apps/client/background.h"
#include "apps/client/client_daemon.h"
#include "apps/client/guardian.h"
#include "apps/common/daemon.h"
#include "apps/common/ost_notes.h"
#include "apps/common/settings.h"
#include "apps/common/words.h"
#include "base/log.h"
#include "fuse/mount.h"

namespace sheen::apps {
namespace {

constexpr int kUsage = 1;          // mount(8), exit status
constexpr int kMountFailure = 32;  // mount(8), exit status
constexpr int kLostWrites = 1;     // all has ended, but not all that was written is stored
constexpr char kLogDirectory[] = "/var/log/sheen";

struct Arguments {
  std::string spec;
  std::string mountpoint;
  std::vector<std::string> options;
  std::string log;
  std::string log_level;
  std::string io_uring;
  int64_t ready_fd = -1;
  int64_t shards = 0;
  int64_t port = 7988;
  bool foreground = false;
};

void AddSettings(Settings* settings, Arguments* arguments) {
  settings->Positional("spec", &arguments->spec, "HOST[:HOST...]:/FSNAME[/SUBDIR]");
  settings->Positional("mountpoint", &arguments->mountpoint, "directory to mount on");
  settings->ShortList(
      'o', "options", &arguments->options,
      "mount options: ro, noatime, nosuid, nodev, noexec, fg, port=N (data port of the MDS), "
      "io_uring=auto|on|off, shards=N, checksums=on|off, write_behind=on|off (answer writes before "
      "they are stored), timeout=SECONDS (longest wait for a server), log=FILE, log_level=LEVEL, "
      "metrics=[HOST:]PORT (GET /metrics there, for Prometheus), "
      "lost_data=DIR|off (where bytes that could not be stored are saved; default "
      "/var/lib/sheen/client), read_ahead_kb=N, noallow_other, flock (locks of flock and fcntl "
      "hold on all clients; the default), localflock (on this mount only); "
      "_netdev, noauto, nofail, x-... are ignored");
  settings->Switch("fg", &arguments->foreground, "stay in the foreground, as -o fg");
  settings->Text("log", &arguments->log, "append the log to this file, as -o log=");
  settings->Text("log-level", &arguments->log_level, "debug, info, warn or error");
  settings->Text("io-uring", &arguments->io_uring, "auto, on or off, as -o io_uring=");
  settings->Number("shards", &arguments->shards, "threads that serve, as -o shards=", 0, 256);
  settings->Number("port", &arguments->port, "data port of the MDS, as -o port=", 1, 65535);
  settings->Number("ready-fd", &arguments->ready_fd,
                   "write one line to this file descriptor when mounted (for starters)", -1, 65535);
}

Status CheckMountpoint(const std::string& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) {
    // A daemon that was killed leaves this behind; mounting detaches it.
    if (errno == ENOTCONN) return {};
    return Fail(ErrcOfErrno(errno), fmt::format("mount point {}: {}; create it with: mkdir -p {}",
                                                path, std::strerror(errno), path));
  }
  if (!S_ISDIR(info.st_mode)) {
    return Fail(Errc::kNotDirectory, fmt::format("mount point {} is no directory", path));
  }
  return {};
}

// Others than root may let others in only where /etc/fuse.conf says so.
bool MayAllowOthers() {
  if (::geteuid() == 0) return true;
  const Result<std::string> text = ReadWholeFile("/etc/fuse.conf");
  return text && ("\n" + *text).find("\nuser_allow_other") != std::string::npos;
}

Result<ClientConfig> MakeConfig(const Arguments& arguments) {
  if (arguments.spec.empty() || arguments.mountpoint.empty()) {
    return Fail(
        Errc::kInvalid,
        "what to mount and where is missing: sheen-client HOST:/FSNAME MOUNTPOINT [-o OPTIONS]");
  }
  ClientConfig config;
  config.source = arguments.spec;
  SHEEN_TRY_ASSIGN(config.spec, ParseMountSpec(arguments.spec));
  ClientOptions& options = config.options;
  options.log = arguments.log;
  options.foreground = arguments.foreground;
  options.shards = arguments.shards;
  options.port = arguments.port;
  if (!arguments.log_level.empty()) options.log_level = arguments.log_level;
  std::vector<std::string> words;
  if (!arguments.io_uring.empty()) words.push_back("io_uring=" + arguments.io_uring);
  words.insert(words.end(), arguments.options.begin(), arguments.options.end());
  SHEEN_TRY(ApplyMountOptions(words, &options));
  const bool asked = std::ranges::find(words, "allow_other") != words.end();
  if (!asked && !MayAllowOthers()) options.allow_other = false;
  config.mountpoint = NormalPath(arguments.mountpoint);
  SHEEN_TRY(CheckMountpoint(config.mountpoint));
  return config;
}

// A daemon in the background has no stderr: without log= root's go to /var/log/sheen.
void ChooseLog(ClientConfig* config) {
  if (!config->options.log.empty()) {
    config->options.log = std::filesystem::absolute(config->options.log);
    return;
  }
  if (config->options.foreground || ::geteuid() != 0) return;
  if (::mkdir(kLogDirectory, 0755) != 0 && errno != EEXIST) return;
  std::string name = config->mountpoint.substr(1);
  std::ranges::replace(name, '/', '-');
  config->options.log =
      fmt::format("{}/client-{}.log", kLogDirectory, name.empty() ? "root" : name);
}

int Serve(ClientConfig config, int ready_fd) {
  Daemon daemon("sheen-client");
  if (ready_fd >= 0) daemon.set_ready_fd(ready_fd);
  const Status log = daemon.OpenLog({config.options.log, config.options.log_level});
  if (!log) {
    daemon.FailStart(log.error());
    return kMountFailure;
  }
  for (const std::string& name : config.options.ignored) {
    SHEEN_LOG(Warn, "unknown mount option '{}' ignored", name);
  }
  ProtectFromMemoryPressure();
  Guardian guardian;
  guardian.Start(config.mountpoint);
  const std::string mountpoint = config.mountpoint;
  config.on_unmounted = [&daemon](std::string reason) { daemon.RequestStop(std::move(reason)); };
  ClientDaemon client(std::move(config));
  const Status started = client.Start();
  if (!started) {
    static_cast<void>(client.Stop(std::chrono::seconds(1)));
    daemon.FailStart(started.error());
    return kMountFailure;
  }
  const auto device = fuse::DeviceOf(mountpoint);
  if (device) guardian.Watch(*device);
  daemon.Ready({});
  // What was written and is on no server's disk yet is waited for after an unmount.
  daemon.WaitForStop({.request = Nanos::max()});
  const Status stopped = client.Stop(std::chrono::seconds(2));
  if (!stopped) SHEEN_LOG(Error, "stopped: {}", stopped.error().ToString());
  if (stopped) SHEEN_LOG(Info, "stopped");
  return stopped ? 0 : kLostWrites;
}

int Main(int argc, char** argv) {
  if (argc > 0 && std::strcmp(argv[0], kGuardianName) == 0) return RunGuardian(argc, argv);
  Arguments arguments;
  Settings settings({.program = "sheen-client",
                     .about = "Mounts a Sheen filesystem; mount -t sheen does so by this",
                     .config = "/etc/sheen/client.toml"});
  AddSettings(&settings, &arguments);
  const ParseOutcome outcome = settings.Parse(argc, argv);
  if (outcome == ParseOutcome::kDone) return 0;
  if (outcome != ParseOutcome::kRun) return kUsage;
  Result<ClientConfig> config = MakeConfig(arguments);
  if (!config) {
    std::fprintf(stderr, "sheen-client: %s\n", Sentence(config.error()).c_str());
    return config.error().code() == Errc::kInvalid ? kUsage : kMountFailure;
  }
  ChooseLog(&*config);
  int ready_fd = static_cast<int>(arguments.ready_fd);
  if (!config->options.foreground) {
    const Result<ForkResult> forked = ForkToBackground(config->options.log);
    if (!forked) {
      std::fprintf(stderr, "sheen-client: %s\n", Sentence(forked.error()).c_str());
      return kMountFailure;
    }
    if (forked->is_parent) return forked->exit_status;
    ready_fd = forked->ready_fd;
  }
  return Serve(std::move(*config), ready_fd);
}

}  // namespace
}  // namespace sheen::apps

int main(int argc, char** argv) { return sheen::apps::Main(argc, argv); }
