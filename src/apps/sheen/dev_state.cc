#include "apps/sheen/dev_state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/common/ost_notes.h"

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

std::string Root() {
  if (::geteuid() == 0) return "/var/lib/sheen/dev";
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state != '\0') {
    return std::string(state) + "/sheen/dev";
  }
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr ? home : "/tmp") + "/.local/state/sheen/dev";
}

std::string StatePath(const std::string& directory) { return directory + "/state.json"; }
std::string PointerPath(const std::string& name) { return Root() + "/" + name + ".json"; }
std::string LockPath(const std::string& name) { return Root() + "/" + name + ".lock"; }

Status CheckName(const std::string& name) {
  const bool good = !name.empty() && name.size() <= 64 && name[0] != '.' &&
                    std::ranges::all_of(name, [](unsigned char c) {
                      return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.';
                    });
  if (good) return {};
  return Fail(Errc::kInvalid,
              fmt::format("instance name '{}': use 1 to 64 letters, digits, '-', '_' "
                          "or '.'",
                          name));
}

json ToJson(const ProcessId& process) {
  return {{"pid", process.pid}, {"start_time", process.start_time}};
}

ProcessId ProcessFrom(const json& from) {
  return {from.at("pid").get<pid_t>(), from.at("start_time").get<uint64_t>()};
}

json ToJson(const DevState& state) {
  json out = {{"version", 1},
              {"name", state.name},
              {"directory", state.directory},
              {"fsname", state.fsname},
              {"mount", state.mount},
              {"mount_created", state.mount_created},
              {"no_mount", state.no_mount},
              {"client_options", state.client_options},
              {"oss_count", state.oss_count},
              {"ost_count", state.ost_count},
              {"ost_bytes", state.ost_bytes},
              {"servers", json::array()},
              {"mounts", json::array()}};
  for (const DevServer& server : state.servers) {
    out["servers"].push_back({{"name", server.name},
                              {"is_mds", server.is_mds},
                              {"targets", server.targets},
                              {"formatted", server.formatted},
                              {"log", server.log},
                              {"process", ToJson(server.process)},
                              {"data_port", server.data_port},
                              {"control_port", server.control_port}});
  }
  for (const DevMount& mount : state.mounts) {
    out["mounts"].push_back({{"path", mount.path},
                             {"log", mount.log},
                             {"options", mount.options},
                             {"process", ToJson(mount.process)}});
  }
  return out;
}

// Throws json::exception where something is missing or of another type.
DevState StateFrom(const json& from) {
  DevState state;
  from.at("name").get_to(state.name);
  from.at("directory").get_to(state.directory);
  from.at("fsname").get_to(state.fsname);
  from.at("mount").get_to(state.mount);
  from.at("mount_created").get_to(state.mount_created);
  from.at("no_mount").get_to(state.no_mount);
  from.at("client_options").get_to(state.client_options);
  from.at("oss_count").get_to(state.oss_count);
  from.at("ost_count").get_to(state.ost_count);
  from.at("ost_bytes").get_to(state.ost_bytes);
  for (const json& entry : from.at("servers")) {
    DevServer server;
    entry.at("name").get_to(server.name);
    entry.at("is_mds").get_to(server.is_mds);
    entry.at("targets").get_to(server.targets);
    entry.at("formatted").get_to(server.formatted);
    entry.at("log").get_to(server.log);
    server.process = ProcessFrom(entry.at("process"));
    entry.at("data_port").get_to(server.data_port);
    entry.at("control_port").get_to(server.control_port);
    state.servers.push_back(std::move(server));
  }
  for (const json& entry : from.at("mounts")) {
    DevMount mount;
    entry.at("path").get_to(mount.path);
    entry.at("log").get_to(mount.log);
    entry.at("options").get_to(mount.options);
    mount.process = ProcessFrom(entry.at("process"));
    state.mounts.push_back(std::move(mount));
  }
  return state;
}

}  // namespace

DevServer* DevState::FindServer(const std::string& server) {
  const auto found = std::ranges::find(servers, server, &DevServer::name);
  return found == servers.end() ? nullptr : &*found;
}

DevMount* DevState::FindMount(const std::string& path) {
  const auto found = std::ranges::find(mounts, path, &DevMount::path);
  return found == mounts.end() ? nullptr : &*found;
}

DevLock::~DevLock() { ::close(fd_); }

Result<std::unique_ptr<DevLock>> LockInstance(const std::string& name) {
  SHEEN_TRY(CheckName(name));
  std::error_code error;
  fs::create_directories(Root(), error);
  if (error) {
    const Error failed = FailErrno(error.value(), "create " + Root()).error();
    return std::unexpected(Error(
        failed.code(), failed.message() + ": instances are noted there; set HOME (or "
                                          "XDG_STATE_HOME) to a directory that is yours"));
  }
  const std::string path = LockPath(name);
  while (true) {
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return FailErrno(errno, "open " + path);
    auto lock = std::make_unique<DevLock>(fd);
    while (::flock(fd, LOCK_EX) != 0) {
      if (errno != EINTR) return FailErrno(errno, "lock " + path);
    }
    // Whoever destroyed the instance meanwhile has removed the file that we waited for.
    struct stat held {};
    struct stat there {};
    if (::fstat(fd, &held) == 0 && ::stat(path.c_str(), &there) == 0 &&
        held.st_ino == there.st_ino) {
      return lock;
    }
  }
}

std::vector<std::string> InstanceNames() {
  std::vector<std::string> out;
  std::error_code error;
  for (fs::directory_iterator at(Root(), error), end; !error && at != end; at.increment(error)) {
    if (at->path().extension() == ".json") out.push_back(at->path().stem());
  }
  std::ranges::sort(out);
  return out;
}

std::string DefaultDirectory(const std::string& name) { return Root() + "/" + name; }

Result<std::optional<std::string>> DirectoryOfInstance(const std::string& name) {
  SHEEN_TRY(CheckName(name));
  const Result<std::string> text = ReadWholeFile(PointerPath(name));
  if (!text && text.error().code() == Errc::kNoEntry) return std::nullopt;
  if (!text) return std::unexpected(text.error());
  const json parsed = json::parse(*text, nullptr, false);
  if (!parsed.is_object() || !parsed.contains("directory") || !parsed["directory"].is_string()) {
    return Fail(
        Errc::kCorrupt,
        fmt::format("{} is damaged; it should hold {{\"directory\": \"DIR\"}} of the instance "
                    "{}: correct or remove it",
                    PointerPath(name), name));
  }
  return parsed["directory"].get<std::string>();
}

Result<DevState> LoadState(const std::string& name) {
  SHEEN_TRY_ASSIGN(const std::optional<std::string> directory, DirectoryOfInstance(name));
  if (!directory) {
    return Fail(Errc::kNoEntry,
                fmt::format("there is no instance '{}'; make one with: sheen dev up{}", name,
                            name == "dev" ? "" : " --name " + name));
  }
  const std::string path = StatePath(*directory);
  const Result<std::string> text = ReadWholeFile(path);
  if (!text && text.error().code() == Errc::kNoEntry) {
    return Fail(Errc::kNoEntry,
                fmt::format("{} is gone, so instance '{}' cannot be managed; if its directory was "
                            "removed, forget it with: rm {}",
                            path, name, PointerPath(name)));
  }
  if (!text) return std::unexpected(text.error());
  try {
    return StateFrom(json::parse(*text));
  } catch (const json::exception& error) {
    return Fail(Errc::kCorrupt, fmt::format("{} is damaged: {}; restore it, or end the daemons by "
                                            "hand and remove {} and {}",
                                            path, error.what(), *directory, PointerPath(name)));
  }
}

Status SaveState(const DevState& state) {
  SHEEN_TRY(WriteFileAtomically(StatePath(state.directory), ToJson(state).dump(2) + "\n"));
  const std::string pointer = PointerPath(state.name);
  const std::string text = json{{"directory", state.directory}}.dump() + "\n";
  const Result<std::string> now = ReadWholeFile(pointer);
  if (now && *now == text) return {};
  return WriteFileAtomically(pointer, text);
}

Status ForgetInstance(const std::string& name) {
  const std::string path = PointerPath(name);
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) return FailErrno(errno, "remove " + path);
  ::unlink(LockPath(name).c_str());
  return {};
}

}  // namespace sheen::apps
