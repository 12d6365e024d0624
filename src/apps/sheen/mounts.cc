#include "apps/sheen/mounts.h"

#include <fmt/format.h>
#include <mntent.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

namespace sheen::apps {
namespace {

namespace fs = std::filesystem;

struct Mounted {
  std::string path;
  std::string type;
};

std::vector<Mounted> ReadMounts() {
  std::vector<Mounted> out;
  FILE* file = ::setmntent("/proc/self/mounts", "re");
  if (file == nullptr) return out;
  mntent entry{};
  char buffer[8192];
  while (::getmntent_r(file, &entry, buffer, sizeof buffer) != nullptr) {
    out.push_back({entry.mnt_dir, entry.mnt_type});
  }
  ::endmntent(file);
  return out;
}

bool IsWithin(const std::string& path, const std::string& directory) {
  return path == directory || path.starts_with(directory + "/");
}

// Processes with their working directory, root or an open file there, at most a few.
std::string UsersOf(const std::string& path) {
  std::string out;
  std::error_code error;
  size_t count = 0;
  for (fs::directory_iterator it("/proc", error), end; !error && it != end; it.increment(error)) {
    const std::string pid = it->path().filename();
    if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
    std::vector<fs::path> links = {it->path() / "cwd", it->path() / "root"};
    std::error_code ignored;
    for (fs::directory_iterator fd(it->path() / "fd", ignored), last; !ignored && fd != last;
         fd.increment(ignored)) {
      links.push_back(fd->path());
    }
    const bool uses = std::ranges::any_of(links, [&path](const fs::path& link) {
      std::error_code none;
      return IsWithin(fs::read_symlink(link, none).string(), path);
    });
    if (!uses) continue;
    out += (out.empty() ? "" : ", ") + pid;
    if (++count == 8) break;
  }
  return out;
}

// Not root: the mount was made by fusermount3, which undoes it too.
int UnmountAsUser(const std::string& path, bool lazy) {
  std::vector<std::string> words = {"fusermount3", "-u", "-q"};
  if (lazy) words.emplace_back("-z");
  words.push_back(path);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, "fusermount3", nullptr, nullptr, argv.data(), environ);
  if (error != 0) return error;
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

}  // namespace

bool IsSheenMount(const std::string& path) {
  return std::ranges::any_of(ReadMounts(), [&path](const Mounted& mounted) {
    return mounted.path == path && mounted.type == "fuse.sheen";
  });
}

bool HasMountBelow(const std::string& path) {
  return std::ranges::any_of(
      ReadMounts(), [&path](const Mounted& mounted) { return IsWithin(mounted.path, path); });
}

void AbortRequests(const std::string& path) {
  // Before it looks whether the mount is in use it aborts (umount(2), MNT_FORCE).
  static_cast<void>(::umount2(path.c_str(), UMOUNT_NOFOLLOW | MNT_FORCE));
}

Status Unmount(const std::string& path, bool lazy) {
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  int error = ::umount2(path.c_str(), flags) == 0 ? 0 : errno;
  if (error == EPERM) error = UnmountAsUser(path, lazy);
  if (error == 0) return {};
  if (error != EBUSY) return FailErrno(error, "umount " + path);
  const std::string users = UsersOf(path);
  return Fail(Errc::kBusy, fmt::format("{} is in use{}{}; end what uses it and try again", path,
                                       users.empty() ? "" : " by process ", users));
}

}  // namespace sheen::apps
