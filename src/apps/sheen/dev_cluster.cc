#include "apps/sheen/dev_cluster.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

#include "apps/common/words.h"
#include "apps/sheen/mounts.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

// The daemons end themselves after 10 s at the latest.
constexpr Nanos kStopPatience = std::chrono::seconds(15);
// A client whose notice waits for one of its own requests ends only when that is aborted.
constexpr Nanos kAbortPatience = std::chrono::seconds(2);

void Say(const std::string& text) { std::printf("%s\n", text.c_str()); }

std::vector<DevServer> PlanServers(const DevState& state) {
  const std::string logs = state.directory + "/log/";
  std::vector<DevServer> servers;
  servers.push_back({.name = "mds0",
                     .is_mds = true,
                     .targets = {state.directory + "/mdt0"},
                     .log = logs + "mds0.log"});
  for (uint32_t i = 0; i < state.oss_count; ++i) {
    const std::string name = fmt::format("oss{}", i);
    servers.push_back({.name = name, .log = logs + name + ".log"});
  }
  // Neighbouring OSTs on one server, the first servers have one more where it does not come out.
  const uint32_t each = state.ost_count / state.oss_count;
  const uint32_t more = state.ost_count % state.oss_count;
  uint32_t ost = 0;
  for (uint32_t i = 0; i < state.oss_count; ++i) {
    for (uint32_t n = 0; n < each + (i < more ? 1 : 0); ++n, ++ost) {
      servers[1 + i].targets.push_back(fmt::format("{}/ost{}", state.directory, ost));
    }
  }
  return servers;
}

Status MakeDirectory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FailErrno(error.value(), "create " + path);
  return {};
}

}  // namespace

Result<std::unique_ptr<DevCluster>> DevCluster::Open(const std::string& name) {
  SHEEN_TRY_ASSIGN(auto lock, LockInstance(name));
  SHEEN_TRY_ASSIGN(const std::optional<std::string> known, DirectoryOfInstance(name));
  if (!known) SHEEN_TRY(ForgetInstance(name));  // the lock file that has just been made
  SHEEN_TRY_ASSIGN(DevState state, LoadState(name));
  return std::unique_ptr<DevCluster>(new DevCluster(std::move(state), std::move(lock)));
}

// What is there already is not this instance's to make anew.
Status DevCluster::CheckUnused(const std::string& target) {
  std::error_code error;
  if (!std::filesystem::exists(target, error)) return {};
  if (std::filesystem::is_empty(target, error)) return {};
  return Fail(Errc::kExists,
              fmt::format("{} is there already and is not empty; it may be somebody's store: give "
                          "another --dir, or remove it",
                          target));
}

Result<DevState> DevCluster::MakeInstance(const DevUpOptions& options) {
  DevState state;
  state.name = options.name;
  state.directory = NormalPath(options.directory.value_or(DefaultDirectory(options.name)));
  state.mount = options.mount ? NormalPath(*options.mount) : state.directory + "/mnt";
  state.oss_count = options.oss_count.value_or(std::min(2U, options.ost_count.value_or(2)));
  state.ost_count = options.ost_count.value_or(std::max(4U, state.oss_count));
  state.ost_bytes = options.ost_bytes.value_or(0);
  if (state.ost_count < state.oss_count) {
    return Fail(Errc::kInvalid,
                fmt::format("{} OSTs for {} OSSs: each OSS needs one; give --osts {}",
                            state.ost_count, state.oss_count, state.oss_count));
  }
  if (::access((state.directory + "/state.json").c_str(), F_OK) == 0) {
    return Fail(Errc::kExists,
                fmt::format("{} belongs to another instance; give another --dir", state.directory));
  }
  state.servers = PlanServers(state);
  for (const DevServer& server : state.servers) {
    for (const std::string& target : server.targets) SHEEN_TRY(CheckUnused(target));
  }
  SHEEN_TRY(MakeDirectory(state.directory + "/log"));
  SHEEN_TRY(SaveState(state));
  return state;
}

Status DevCluster::CheckShape(const DevState& state, const DevUpOptions& options) {
  const auto differs = [&state](std::string_view what, const std::string& has,
                                const std::string& wanted) -> Status {
    return Fail(Errc::kExists,
                fmt::format("instance '{}' exists with {} {}, not {}; remove it with `sheen dev "
                            "destroy --name {}`, or choose another --name",
                            state.name, what, has, wanted, state.name));
  };
  if (options.directory && NormalPath(*options.directory) != state.directory) {
    return differs("--dir", state.directory, NormalPath(*options.directory));
  }
  if (options.oss_count && *options.oss_count != state.oss_count) {
    return differs("--oss", std::to_string(state.oss_count), std::to_string(*options.oss_count));
  }
  if (options.ost_count && *options.ost_count != state.ost_count) {
    return differs("--osts", std::to_string(state.ost_count), std::to_string(*options.ost_count));
  }
  if (options.ost_bytes && *options.ost_bytes != state.ost_bytes) {
    return differs("--size", FormatSize(state.ost_bytes), FormatSize(*options.ost_bytes));
  }
  return {};
}

Status DevCluster::Up(const DevUpOptions& options) {
  SHEEN_TRY_ASSIGN(auto lock, LockInstance(options.name));
  SHEEN_TRY_ASSIGN(const std::optional<std::string> known, DirectoryOfInstance(options.name));
  Result<DevState> state = known ? LoadState(options.name) : MakeInstance(options);
  if (!state) {
    if (!known) (void)ForgetInstance(options.name);
    return std::unexpected(state.error());
  }
  DevCluster cluster(std::move(*state), std::move(lock));
  DevState& now = cluster.state_;
  if (options.agent) cluster.AddAgent();
  if (known && cluster.EverythingRuns()) {
    Say(fmt::format("instance '{}' is running already{}", now.name,
                    now.mounts.empty() ? "" : ", mounted on " + now.mounts[0].path));
    return {};
  }
  SHEEN_TRY(CheckShape(now, options));
  if (options.mount) now.mount = NormalPath(*options.mount);
  if (options.client_options) now.client_options = *options.client_options;
  now.no_mount = options.no_mount || (known && now.no_mount && !options.mount);
  const Status formatted = cluster.FormatTargets();
  if (!formatted && !known) SHEEN_TRY(cluster.Remove());  // nothing of it was ever there
  if (!formatted) return formatted;
  return cluster.StartEverything();
}

void DevCluster::AddAgent() {
  if (state_.FindServer("agent0") != nullptr) return;
  state_.servers.push_back({.name = "agent0", .log = state_.directory + "/log/agent0.log"});
}

bool DevCluster::EverythingRuns() const {
  const auto runs = [](const auto& daemon) {
    return StateOf(daemon.process) != ProcessState::kGone;
  };
  const bool main_mounted =
      state_.no_mount ||
      std::ranges::find(state_.mounts, state_.mount, &DevMount::path) != state_.mounts.end();
  return main_mounted && std::ranges::all_of(state_.servers, runs) &&
         std::ranges::all_of(state_.mounts, runs);
}

Status DevCluster::StartEverything() {
  std::vector<DevServer*> mds;
  std::vector<DevServer*> oss;
  std::vector<DevServer*> agents;
  for (DevServer& server : state_.servers) {
    if (StateOf(server.process) == ProcessState::kGone) {
      (server.is_mds ? mds : server.is_agent() ? agents : oss).push_back(&server);
    }
  }
  SHEEN_TRY(StartServers(mds));
  SHEEN_TRY(StartServers(oss));
  SHEEN_TRY(StartServers(agents));
  if (!state_.no_mount && state_.FindMount(state_.mount) == nullptr) {
    SHEEN_TRY(Mount(state_.mount, std::nullopt));
  }
  for (DevMount& mount : state_.mounts) {
    if (StateOf(mount.process) == ProcessState::kGone) SHEEN_TRY(StartMount(&mount));
  }
  std::string mounted;
  for (const DevMount& mount : state_.mounts) mounted += " " + mount.path;
  Say(fmt::format("instance '{}' is up: 1 MDS, {} OSSs, {} OSTs in {}{}{}", state_.name,
                  state_.oss_count, state_.ost_count, state_.directory,
                  mounted.empty() ? "" : ", mounted on", mounted));
  return Save();
}

Status DevCluster::Down() {
  Status result;
  const auto note = [&result](Status status) {
    if (!status && result) result = std::move(status);
  };
  for (DevMount& mount : state_.mounts) note(EndMount(&mount, true));
  for (auto server = state_.servers.rbegin(); server != state_.servers.rend(); ++server) {
    note(StopServer(&*server));
  }
  note(Save());
  return result;
}

Status DevCluster::Destroy() {
  SHEEN_TRY(Down());
  SHEEN_TRY(Remove());
  Say(fmt::format("instance '{}' and its data are gone", state_.name));
  return {};
}

Status DevCluster::Remove() {
  for (const DevMount& mount : state_.mounts) {
    if (HasMountBelow(mount.path)) {
      return Fail(Errc::kBusy,
                  fmt::format("{} is still mounted; umount it and try again", mount.path));
    }
  }
  for (const char* part : {"log", "lost"}) {
    std::error_code error;
    fs::remove_all(state_.directory + "/" + part, error);
    if (error) return FailErrno(error.value(), "remove " + state_.directory + "/" + part);
  }
  for (const DevServer& server : state_.servers) {
    for (const std::string& target : server.targets) {
      if (HasMountBelow(target)) {
        return Fail(Errc::kBusy,
                    fmt::format("something is mounted below {}; umount it first", target));
      }
      std::error_code error;
      fs::remove_all(target, error);
      if (error) return FailErrno(error.value(), "remove " + target);
    }
  }
  if (state_.mount_created) ::rmdir(state_.mount.c_str());
  ::unlink((state_.directory + "/state.json").c_str());
  ::rmdir(state_.directory.c_str());
  return ForgetInstance(state_.name);
}

Status DevCluster::Mount(const std::string& path, const std::optional<std::string>& options) {
  const std::string where = MountPathOf(path);
  DevMount* mount = state_.FindMount(where);
  // A daemon whose mount has just been taken away is still saying goodbye to the servers.
  const bool runs = mount != nullptr && StateOf(mount->process) != ProcessState::kGone;
  const bool ending = runs && !IsSheenMount(where);
  if (ending && !WaitGone(mount->process, kStopPatience)) {
    return Fail(Errc::kBusy, fmt::format("the client that had {} mounted does not end: see {}",
                                         where, mount->log));
  }
  if (runs && !ending) {
    Say(fmt::format("{} is mounted already", where));
    return {};
  }
  if (mount == nullptr) {
    std::string name = where.substr(1);
    std::ranges::replace(name, '/', '-');
    state_.mounts.push_back({.path = where,
                             .log = fmt::format("{}/log/client-{}.log", state_.directory, name),
                             .options = state_.client_options});
    mount = &state_.mounts.back();
  }
  if (options) mount->options = *options;
  const Status started = StartMount(mount);
  if (!started) {
    std::erase_if(state_.mounts, [&where](const DevMount& entry) { return entry.path == where; });
    SHEEN_TRY(Save());
  }
  return started;
}

Status DevCluster::Unmount(const std::string& path) {
  const std::string where = MountPathOf(path);
  DevMount* mount = state_.FindMount(where);
  if (mount == nullptr) {
    return Fail(
        Errc::kNoEntry,
        fmt::format("{} is no mount of instance '{}'; `sheen dev status --name {}` lists them",
                    where, state_.name, state_.name));
  }
  SHEEN_TRY(EndMount(mount, false));
  std::erase_if(state_.mounts, [&where](const DevMount& entry) { return entry.path == where; });
  return Save();
}

Result<ProcessId*> DevCluster::FindProcess(const std::string& daemon) {
  if (daemon.starts_with("client:")) {
    DevMount* mount = state_.FindMount(MountPathOf(daemon.substr(7)));
    if (mount != nullptr) return &mount->process;
  } else if (DevServer* server = state_.FindServer(daemon); server != nullptr) {
    return &server->process;
  }
  std::string known;
  for (const DevServer& server : state_.servers) known += server.name + ", ";
  for (const DevMount& mount : state_.mounts) known += "client:" + mount.path + ", ";
  if (!known.empty()) known.resize(known.size() - 2);
  return Fail(Errc::kNoEntry, fmt::format("instance '{}' has no daemon '{}'; it has: {}",
                                          state_.name, daemon, known));
}

Status DevCluster::Kill(const std::string& daemon, int signal) {
  SHEEN_TRY_ASSIGN(ProcessId* const process, FindProcess(daemon));
  SHEEN_TRY_ASSIGN(const bool sent, Signal(*process, signal));
  if (!sent) {
    return Fail(Errc::kNoEntry, fmt::format("{} is not running; start it with: sheen dev start {} "
                                            "--name {}",
                                            daemon, daemon, state_.name));
  }
  if (signal == SIGSTOP && !WaitFrozen(*process, kStopPatience)) {
    return Fail(Errc::kTimedOut, fmt::format("{} (process {}) does not stop after SIGSTOP; see "
                                             "/proc/{}/task",
                                             daemon, process->pid, process->pid));
  }
  if (signal != SIGKILL) return {};
  // After SIGKILL the next command shall find it gone.
  const bool is_client = daemon.starts_with("client:");
  if (is_client && !WaitGone(*process, kAbortPatience)) {
    AbortRequests(MountPathOf(daemon.substr(7)));
  }
  if (!WaitGone(*process, kStopPatience)) {
    return Fail(Errc::kTimedOut, fmt::format("{} (process {}) does not end after SIGKILL; see "
                                             "/proc/{}/stack",
                                             daemon, process->pid, process->pid));
  }
  return {};
}

Status DevCluster::Start(const std::string& daemon) {
  SHEEN_TRY_ASSIGN(ProcessId* const process, FindProcess(daemon));
  const ProcessState now = StateOf(*process);
  if (now == ProcessState::kFrozen) {
    SHEEN_TRY(Signal(*process, SIGCONT));
    return {};
  }
  if (now == ProcessState::kRunning) {
    Say(fmt::format("{} is running already", daemon));
    return {};
  }
  if (daemon.starts_with("client:")) return Mount(daemon.substr(7), std::nullopt);
  return StartServers({state_.FindServer(daemon)});
}

Status DevCluster::Stop(const std::string& daemon) {
  SHEEN_TRY_ASSIGN(ProcessId* const process, FindProcess(daemon));
  if (StateOf(*process) == ProcessState::kGone) {
    Say(fmt::format("{} is not running", daemon));
    return {};
  }
  if (daemon.starts_with("client:")) {
    SHEEN_TRY(EndMount(state_.FindMount(MountPathOf(daemon.substr(7))), true));
  } else {
    SHEEN_TRY(StopServer(state_.FindServer(daemon)));
  }
  return Save();
}

}  // namespace sheen::apps
