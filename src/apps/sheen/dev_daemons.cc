// The part of DevCluster that starts and ends daemons and mounts.
#include <fmt/format.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/vfs.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "apps/common/daemon.h"
#include "apps/common/words.h"
#include "apps/sheen/dev_cluster.h"
#include "apps/sheen/format.h"
#include "apps/sheen/mounts.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

// A store's recovery after a crash can take a while.
constexpr Nanos kStartPatience = std::chrono::seconds(60);
constexpr Nanos kStopPatience = std::chrono::seconds(15);
// A killed daemon's io_uring, and with it its listening socket, is taken down after its end (the
// kernel's io_ring_exit_work), on a busy machine noticeably later.
constexpr Nanos kPortPatience = std::chrono::seconds(3);
constexpr Nanos kPortLook = std::chrono::milliseconds(20);

// Would a listener get this port? SO_REUSEADDR as the daemons set it: connections of the last run
// in TIME_WAIT do not count.
bool PortIsFree(int64_t port) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return false;
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool free = ::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
                    ::listen(fd, 1) == 0;
  ::close(fd);
  return free;
}

int64_t PortToAsk(const DevServer& server, std::string_view which, int64_t port) {
  if (port == 0) return port;
  const auto deadline = std::chrono::steady_clock::now() + kPortPatience;
  do {
    if (PortIsFree(port)) return port;
    std::this_thread::sleep_for(kPortLook);
  } while (std::chrono::steady_clock::now() < deadline);
  std::printf(
      "%s: %s port %lld is taken by another program now; it gets a new one, and clients "
      "mounted with the old one must be mounted again\n",
      server.name.c_str(), std::string(which).c_str(), static_cast<long long>(port));
  return 0;
}

}  // namespace

// A target that an interrupted command left half-made was never served: it is made again.
Status DevCluster::FormatTargets() {
  uint32_t ost = 0;
  for (DevServer& server : state_.servers) {
    for (const std::string& target : server.targets) {
      const uint32_t index = server.is_mds ? 0 : ost++;
      if (server.formatted) continue;
      std::error_code error;
      fs::remove_all(target, error);
      if (error) return FailErrno(error.value(), "remove " + target);
      if (server.is_mds) {
        // Who makes an instance may write to it.
        SHEEN_TRY(FormatMdt({.directory = target,
                             .fsname = state_.fsname,
                             .root_uid = ::geteuid(),
                             .root_gid = ::getegid()}));
      } else {
        SHEEN_TRY(FormatOst({.directory = target,
                             .fsname = state_.fsname,
                             .index = index,
                             .size_bytes = state_.ost_bytes}));
      }
    }
    server.formatted = true;
  }
  return Save();
}

Result<std::vector<std::string>> DevCluster::ArgumentsOf(const DevServer& server) const {
  std::vector<std::string> out = {
      fmt::format("--fsname={}", state_.fsname),
      fmt::format("--port={}", PortToAsk(server, "data", server.data_port)),
      fmt::format("--control-port={}", PortToAsk(server, "control", server.control_port))};
  // An instance is alone with what it was given: no configuration file of the machine.
  out.emplace_back("--config=/dev/null");
  if (server.is_mds) {
    out.push_back("--dir=" + server.targets[0]);
    return out;
  }
  for (const std::string& target : server.targets) out.push_back("--target=" + target);
  out.push_back("--name=" + server.name);
  out.push_back(fmt::format("--mgs=127.0.0.1:{}", state_.servers[0].control_port));
  return out;
}

Status DevCluster::StartServers(const std::vector<DevServer*>& servers) {
  std::vector<Spawned> spawned;
  Status result;
  for (DevServer* server : servers) {
    const std::string other = server->is_agent() ? "sheen-agent" : "sheen-oss";
    SHEEN_TRY_ASSIGN(const std::string program, FindProgram(server->is_mds ? "sheen-mds" : other));
    SHEEN_TRY_ASSIGN(std::vector<std::string> arguments, ArgumentsOf(*server));
    SHEEN_TRY_ASSIGN(Spawned started, Spawn({program, std::move(arguments), server->log}));
    server->process = started.process;
    spawned.push_back(std::move(started));
  }
  SHEEN_TRY(Save());
  for (size_t i = 0; i < servers.size(); ++i) {
    const auto ports = WaitReady(std::move(spawned[i]), kStartPatience);
    if (!ports) {
      servers[i]->process = {};
      if (result) {
        result = Fail(ports.error().code(),
                      fmt::format("{} did not start: {} (log: {})", servers[i]->name,
                                  ports.error().message(), servers[i]->log));
      }
      continue;
    }
    if (ports->contains("data_port")) servers[i]->data_port = ports->at("data_port");
    if (ports->contains("control_port")) servers[i]->control_port = ports->at("control_port");
  }
  SHEEN_TRY(Save());
  return result;
}

Status DevCluster::PrepareMountpoint(const std::string& path) {
  if (IsSheenMount(path)) {
    // Left by a daemon that is gone: else it is somebody's. Not stat, which the kernel may answer
    // from what the daemon once told it.
    struct statfs info {};
    const bool alive = ::statfs(path.c_str(), &info) == 0;
    if (alive || (errno != ENOTCONN && errno != ECONNABORTED)) {
      return Fail(
          Errc::kBusy,
          fmt::format("something else is mounted on {}; umount it or choose another directory",
                      path));
    }
    SHEEN_TRY(apps::Unmount(path, true));
  }
  std::error_code error;
  if (fs::create_directories(path, error) && path == state_.mount) state_.mount_created = true;
  if (error) return FailErrno(error.value(), "create " + path);
  return {};
}

Status DevCluster::StartMount(DevMount* mount) {
  if (state_.servers[0].data_port == 0) {
    return Fail(Errc::kUnavailable,
                fmt::format("mds0 has never run; start the instance with: sheen "
                            "dev up --name {}",
                            state_.name));
  }
  SHEEN_TRY(PrepareMountpoint(mount->path));
  SHEEN_TRY_ASSIGN(const std::string program, FindProgram("sheen-client"));
  std::string options = fmt::format("fg,port={},lost_data={}", state_.servers[0].data_port,
                                    state_.directory + "/lost");
  if (!mount->options.empty()) options += "," + mount->options;
  SHEEN_TRY_ASSIGN(Spawned spawned, Spawn({program,
                                           {fmt::format("127.0.0.1:/{}", state_.fsname),
                                            mount->path, "-o", options, "--config=/dev/null"},
                                           mount->log}));
  mount->process = spawned.process;
  SHEEN_TRY(Save());
  const auto ready = WaitReady(std::move(spawned), kStartPatience);
  if (ready) return {};
  mount->process = {};
  return Fail(ready.error().code(), fmt::format("cannot mount {}: {} (log: {})", mount->path,
                                                ready.error().message(), mount->log));
}

Status DevCluster::StopServer(DevServer* server) {
  SHEEN_TRY_ASSIGN(const bool by_itself, Terminate(server->process, kStopPatience));
  if (!by_itself) {
    std::printf("%s did not stop within %lld s and was killed; see %s\n", server->name.c_str(),
                static_cast<long long>(
                    std::chrono::duration_cast<std::chrono::seconds>(kStopPatience).count()),
                server->log.c_str());
  }
  server->process = {};
  return {};
}

Status DevCluster::EndMount(DevMount* mount, bool force) {
  SHEEN_TRY(Signal(mount->process, SIGCONT));  // a frozen one could not follow
  const bool alive = StateOf(mount->process) != ProcessState::kGone;
  if (IsSheenMount(mount->path)) {
    Status unmounted = apps::Unmount(mount->path, !alive);
    const bool in_use = !unmounted;
    if (in_use && force) {
      std::printf("%s; taken away from them\n", unmounted.error().message().c_str());
      unmounted = apps::Unmount(mount->path, true);
    }
    SHEEN_TRY(unmounted);
    // The daemon ends by itself now; while somebody uses the mount it goes on and is told to end.
    if (alive && !in_use) WaitGone(mount->process, kStopPatience);
  }
  SHEEN_TRY_ASSIGN(const bool by_itself, Terminate(mount->process, kStopPatience));
  if (!by_itself) {
    std::printf("the client of %s did not stop in time and was killed; see %s\n",
                mount->path.c_str(), mount->log.c_str());
  }
  mount->process = {};
  // A daemon that was killed leaves its mount.
  if (IsSheenMount(mount->path)) SHEEN_TRY(apps::Unmount(mount->path, true));
  return {};
}

std::string DevCluster::MountPathOf(const std::string& path) const {
  return path.empty() ? state_.mount : NormalPath(path);
}

}  // namespace sheen::apps
