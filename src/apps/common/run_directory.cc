#include "apps/common/run_directory.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <set>

namespace sheen::apps {
namespace {

constexpr char kSystemDirectory[] = "/run/sheen";

std::string Environment(const char* name) {
  const char* const value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string OwnDirectory() {
  const std::string home = Environment("HOME");
  return home.empty() ? "" : home + "/.local/state/sheen/run";
}

std::set<std::string> SocketsIn(const std::string& directory) {
  std::set<std::string> found;
  std::error_code error;
  for (auto at = std::filesystem::directory_iterator(directory, error);
       !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
    if (at->path().extension() == ".sock") found.insert(at->path().string());
  }
  return found;
}

}  // namespace

Result<std::string> MakeRunDirectory() {
  std::string directory = Environment("SHEEN_RUN_DIR");
  if (directory.empty()) directory = Environment("RUNTIME_DIRECTORY");
  directory = directory.substr(0, directory.find(':'));  // systemd separates several by colons
  if (directory.empty()) directory = ::geteuid() == 0 ? kSystemDirectory : OwnDirectory();
  if (directory.empty()) {
    return Fail(Errc::kNoEntry, "no directory for the control socket: set SHEEN_RUN_DIR or HOME");
  }
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return FailErrno(error.value(), "make " + directory +
                                        " for the control socket (SHEEN_RUN_DIR "
                                        "names another place)");
  }
  return directory;
}

// By connecting, not by the pid in the name: that may be of another pid namespace.
void RemoveDeadSockets(const std::string& directory) {
  for (const std::string& path : SocketsIn(directory)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) continue;
    path.copy(address.sun_path, path.size());
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    const bool dead =
        ::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 &&
        errno == ECONNREFUSED;
    ::close(fd);
    if (dead) ::unlink(path.c_str());
  }
}

std::vector<std::string> RunDirectories() {
  const std::string named = Environment("SHEEN_RUN_DIR");
  if (!named.empty()) return {named};
  std::vector<std::string> out = {kSystemDirectory};
  if (const std::string own = OwnDirectory(); !own.empty()) out.push_back(own);
  return out;
}

std::vector<std::string> DaemonSockets() {
  std::set<std::string> found;
  for (const std::string& directory : RunDirectories()) found.merge(SocketsIn(directory));
  return {found.begin(), found.end()};
}

}  // namespace sheen::apps
