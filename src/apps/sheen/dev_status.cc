#include "apps/sheen/dev_status.h"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace sheen::apps {
namespace {

int64_t PidOf(const ProcessId& process) {
  return StateOf(process) == ProcessState::kGone ? 0 : process.pid;
}

std::string PidText(const ProcessId& process) {
  const int64_t pid = PidOf(process);
  return pid == 0 ? "-" : std::to_string(pid);
}

// Of a server: its one target, or the directory above its targets.
std::string DirectoryOf(const DevServer& server) {
  if (server.targets.size() == 1) return server.targets[0];
  return std::filesystem::path(server.targets[0]).parent_path();
}

}  // namespace

std::string StateWord(const ProcessId& process) {
  switch (StateOf(process)) {
    case ProcessState::kRunning:
      return "running";
    case ProcessState::kFrozen:
      return "frozen";
    case ProcessState::kGone:
      break;
  }
  return process.pid == 0 ? "stopped" : "dead";
}

std::string StatusAsText(const DevState& state) {
  std::string out = fmt::format("instance {}: filesystem {}, directory {}\n", state.name,
                                state.fsname, state.directory);
  constexpr std::string_view kRow = "{:<12} {:<8} {:>8}  {:<13} {}\n";
  out += fmt::format(fmt::runtime(kRow), "DAEMON", "STATE", "PID", "PORTS", "LOG");
  for (const DevServer& server : state.servers) {
    out += fmt::format(fmt::runtime(kRow), server.name, StateWord(server.process),
                       PidText(server.process),
                       fmt::format("{}, {}", server.data_port, server.control_port), server.log);
  }
  for (const DevMount& mount : state.mounts) {
    out += fmt::format(fmt::runtime(kRow), "client:" + mount.path, StateWord(mount.process),
                       PidText(mount.process), "-", mount.log);
  }
  return out;
}

std::string StatusAsJson(const DevState& state) {
  nlohmann::json out = {{"name", state.name},
                        {"directory", state.directory},
                        {"fsname", state.fsname},
                        {"mount", state.mount},
                        {"daemons", nlohmann::json::array()}};
  for (const DevServer& server : state.servers) {
    out["daemons"].push_back(
        {{"name", server.name},
         {"pid", PidOf(server.process)},
         {"ports", {{"data", server.data_port}, {"control", server.control_port}}},
         {"directory", DirectoryOf(server)},
         {"targets", server.targets},
         {"log", server.log},
         {"state", StateWord(server.process)}});
  }
  for (const DevMount& mount : state.mounts) {
    out["daemons"].push_back({{"name", "client:" + mount.path},
                              {"pid", PidOf(mount.process)},
                              {"ports", nlohmann::json::object()},
                              {"directory", mount.path},
                              {"log", mount.log},
                              {"state", StateWord(mount.process)}});
  }
  return out.dump(2) + "\n";
}

}  // namespace sheen::apps
