#include "ost/directory_lock.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "base/log.h"

namespace sheen::ost {
namespace {

// What the owner wrote; "?" when it has not yet.
std::string OwnerPid(int descriptor) {
  char text[32] = {};
  const ssize_t size = pread(descriptor, text, sizeof text - 1, 0);
  std::string pid(text, size > 0 ? static_cast<size_t>(size) : 0);
  while (!pid.empty() && pid.back() == '\n') pid.pop_back();
  return pid.empty() ? "?" : pid;
}

}  // namespace

Result<std::unique_ptr<DirectoryLock>> DirectoryLock::Acquire(const std::string& directory) {
  const std::string path = directory + "/lock";
  const int descriptor = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (descriptor < 0) {
    return FailErrno(
        errno, fmt::format("cannot lock the target's directory {} (open {})", directory, path));
  }
  // Retried because a signal may interrupt even a call that does not wait.
  int locked = flock(descriptor, LOCK_EX | LOCK_NB);
  while (locked != 0 && errno == EINTR) locked = flock(descriptor, LOCK_EX | LOCK_NB);
  if (locked != 0) {
    const int error = errno;
    const std::string pid = OwnerPid(descriptor);
    close(descriptor);
    if (error != EWOULDBLOCK) return FailErrno(error, "flock " + path);
    return Fail(Errc::kBusy,
                fmt::format("target directory {} is in use by the process with pid {}; stop it "
                            "first, or give another directory",
                            directory, pid));
  }
  const std::string pid = fmt::format("{}\n", getpid());
  if (ftruncate(descriptor, 0) != 0 ||
      pwrite(descriptor, pid.data(), pid.size(), 0) != static_cast<ssize_t>(pid.size())) {
    // The lock holds without the pid; only the message of a second process is poorer.
    SHEEN_LOG(Warn, "cannot write the pid into {}: errno {}", path, errno);
  }
  return std::unique_ptr<DirectoryLock>(new DirectoryLock(descriptor));
}

DirectoryLock::~DirectoryLock() { close(descriptor_); }

}  // namespace sheen::ost
