#include "fuse/mount.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <cerrno>
#include <cstring>
#include <vector>

#include "base/log.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

constexpr const char* kDevicePath = "/dev/fuse";
constexpr const char* kFusermount = "fusermount3";
// Mounts can lie over each other at one place; more than this is no accident of ours.
constexpr int kStackedMountsMax = 16;

Status SetNonBlocking(int fd) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
    return FailErrno(errno, "set O_NONBLOCK on /dev/fuse");
  }
  return {};
}

Result<UniqueFd> OpenDevice() {
  UniqueFd device(open(kDevicePath, O_RDWR | O_CLOEXEC));
  if (device.get() >= 0) return device;
  if (errno == ENOENT || errno == ENODEV || errno == ENXIO) {
    return Fail(ErrcOfErrno(errno),
                "no /dev/fuse: load the kernel module (modprobe fuse); in a container pass "
                "--device /dev/fuse");
  }
  return FailErrno(errno, "open /dev/fuse");
}

unsigned long MountFlags(const MountOptions& options) {
  unsigned long flags = 0;
  if (options.read_only) flags |= MS_RDONLY;
  if (options.noatime) flags |= MS_NOATIME;
  if (options.nosuid) flags |= MS_NOSUID;
  if (options.nodev) flags |= MS_NODEV;
  if (options.noexec) flags |= MS_NOEXEC;
  return flags;
}

std::string CommonOptions(const MountOptions& options) {
  std::string out;
  if (options.allow_other) out += ",allow_other";
  if (options.default_permissions) out += ",default_permissions";
  return out;
}

Result<UniqueFd> MountAsRoot(const MountOptions& options) {
  struct stat root {};
  if (stat(options.mountpoint.c_str(), &root) != 0) {
    return FailErrno(errno, fmt::format("mount point {}", options.mountpoint));
  }
  SHEEN_TRY_ASSIGN(UniqueFd device, OpenDevice());
  const std::string data =
      fmt::format("fd={},rootmode={:o},user_id={},group_id={}{}", device.get(),
                  root.st_mode & S_IFMT, getuid(), getgid(), CommonOptions(options));
  const std::string type = "fuse." + options.subtype;
  if (mount(options.source.c_str(), options.mountpoint.c_str(), type.c_str(), MountFlags(options),
            data.c_str()) != 0) {
    return FailErrno(errno, fmt::format("mount {} on {}", type, options.mountpoint));
  }
  return device;
}

std::string FusermountOptions(const MountOptions& options) {
  std::string out = fmt::format("fsname={},subtype={}", EscapeMountValue(options.source),
                                EscapeMountValue(options.subtype));
  out += CommonOptions(options);
  if (options.read_only) out += ",ro";
  if (options.noatime) out += ",noatime";
  if (options.noexec) out += ",noexec";
  return out;
}

struct Fusermount {
  int status = -1;     // of its exit
  std::string reason;  // the last line it said
};

std::string LastLineOf(int fd) {
  std::string text;
  char part[1024];
  for (;;) {
    const ssize_t n = read(fd, part, sizeof part);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    text.append(part, static_cast<size_t>(n));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const size_t line = text.rfind('\n');
  return line == std::string::npos ? text : text.substr(line + 1);
}

// Runs fusermount3 with `environment` added to ours.
Result<Fusermount> RunFusermount(std::vector<std::string> arguments,
                                 const std::string& environment) {
  arguments.insert(arguments.begin(), kFusermount);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  std::string added = environment;
  std::vector<char*> envp;
  for (char** entry = environ; *entry != nullptr; ++entry) envp.push_back(*entry);
  if (!added.empty()) envp.push_back(added.data());
  envp.push_back(nullptr);
  int said[2] = {-1, -1};
  if (pipe2(said, O_CLOEXEC) != 0) return FailErrno(errno, "pipe");
  UniqueFd ours(said[0]);
  UniqueFd theirs(said[1]);
  posix_spawn_file_actions_t files;
  posix_spawn_file_actions_init(&files);
  posix_spawn_file_actions_adddup2(&files, theirs.get(), STDERR_FILENO);
  pid_t child = 0;
  const int failed =
      posix_spawnp(&child, kFusermount, &files, nullptr, argv.data(), envp.data());
  posix_spawn_file_actions_destroy(&files);
  theirs.Reset();
  if (failed != 0) {
    return FailErrno(failed, "run fusermount3 (package fuse3), needed to mount without root");
  }
  Fusermount out;
  out.reason = LastLineOf(ours.get());
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  out.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return out;
}

Result<UniqueFd> ReceiveDescriptor(int socket) {
  char byte = 0;
  iovec iov{.iov_base = &byte, .iov_len = 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  msghdr message{};
  message.msg_iov = &iov;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got = 0;
  do {
    got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  } while (got < 0 && errno == EINTR);
  const cmsghdr* header = got > 0 ? CMSG_FIRSTHDR(&message) : nullptr;
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) {
    return Fail(Errc::kPerm, "fusermount3 gave no descriptor; mount as root instead");
  }
  int fd = -1;
  std::memcpy(&fd, CMSG_DATA(header), sizeof fd);
  return UniqueFd(fd);
}

Result<UniqueFd> MountByFusermount(const MountOptions& options) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
    return FailErrno(errno, "socketpair");
  }
  UniqueFd ours(pair[0]);
  UniqueFd theirs(pair[1]);
  fcntl(theirs.get(), F_SETFD, 0);
  const std::string environment = fmt::format("_FUSE_COMMFD={}", theirs.get());
  SHEEN_TRY_ASSIGN(
      const Fusermount mounted,
      RunFusermount({"-o", FusermountOptions(options), "--", options.mountpoint}, environment));
  theirs.Reset();
  if (mounted.status != 0) {
    return Fail(Errc::kPerm,
                fmt::format("cannot mount on {}: {} (exit status {}); check that fusermount3 is "
                            "setuid root and that the directory is yours, or mount as root",
                            options.mountpoint,
                            mounted.reason.empty() ? "fusermount3 failed" : mounted.reason,
                            mounted.status));
  }
  return ReceiveDescriptor(ours.get());
}

}  // namespace

std::string EscapeMountValue(const std::string& value) {
  std::string out;
  for (const char c : value) {
    if (c == ',' || c == '\\') out += '\\';
    out += c;
  }
  return out;
}

Status DetachStaleMounts(const std::string& mountpoint) {
  for (int i = 0; i < kStackedMountsMax; ++i) {
    // Not stat: the kernel may answer that from what a daemon that is gone once told it.
    struct statfs unused {};
    if (statfs(mountpoint.c_str(), &unused) == 0) return {};
    if (errno != ENOTCONN && errno != ECONNABORTED) return {};
    SHEEN_LOG(Warn, "{}: detaching the mount of a daemon that is gone", mountpoint);
    SHEEN_TRY(DetachMount(mountpoint));
  }
  return {};
}

Result<UniqueFd> MountDevice(const MountOptions& options) {
  auto device = MountAsRoot(options);
  const bool may_not =
      !device && geteuid() != 0 &&
      (device.error().code() == Errc::kPerm || device.error().code() == Errc::kAccess);
  if (may_not) device = MountByFusermount(options);
  if (!device) return device;
  SHEEN_TRY(SetNonBlocking(device->get()));
  return device;
}

Result<UniqueFd> CloneDevice(int device) {
  UniqueFd clone(open(kDevicePath, O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (clone.get() < 0) return FailErrno(errno, "open /dev/fuse");
  uint32_t from = static_cast<uint32_t>(device);
  if (ioctl(clone.get(), FUSE_DEV_IOC_CLONE, &from) != 0) {
    return FailErrno(errno, "clone /dev/fuse descriptor");
  }
  return clone;
}

Status DetachMount(const std::string& mountpoint) {
  if (umount2(mountpoint.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) == 0) return {};
  if (errno != EPERM || geteuid() == 0) {
    return FailErrno(errno, fmt::format("unmount {}", mountpoint));
  }
  SHEEN_TRY_ASSIGN(const Fusermount done, RunFusermount({"-u", "-z", "--", mountpoint}, ""));
  if (done.status == 0) return {};
  return Fail(Errc::kPerm, fmt::format("fusermount3 -u {}: {} (exit status {})", mountpoint,
                                       done.reason, done.status));
}

Status AbortMount(const std::string& mountpoint, uint64_t device) {
  const auto mounted = DeviceOf(mountpoint);
  if (mounted && *mounted == device &&
      umount2(mountpoint.c_str(), MNT_FORCE | MNT_DETACH | UMOUNT_NOFOLLOW) == 0) {
    return {};
  }
  const std::string path =
      fmt::format("/sys/fs/fuse/connections/{}/abort", minor(static_cast<dev_t>(device)));
  UniqueFd control(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (control.get() < 0 || write(control.get(), "1", 1) != 1) {
    return FailErrno(errno, fmt::format("abort the connection of {} by {}", mountpoint, path));
  }
  return {};
}

Result<uint64_t> DeviceOf(const std::string& mountpoint) {
  // An empty mask and DONT_SYNC: answered from the inode in memory.
  struct statx found {};
  if (statx(AT_FDCWD, mountpoint.c_str(), AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, 0, &found) != 0) {
    return FailErrno(errno, fmt::format("statx {}", mountpoint));
  }
  return makedev(found.stx_dev_major, found.stx_dev_minor);
}

Status SetReadAhead(uint64_t device, uint32_t read_ahead_kb) {
  const dev_t dev = static_cast<dev_t>(device);
  const std::string path =
      fmt::format("/sys/class/bdi/{}:{}/read_ahead_kb", major(dev), minor(dev));
  UniqueFd file(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  const std::string value = std::to_string(read_ahead_kb);
  if (file.get() < 0 ||
      write(file.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return FailErrno(errno, fmt::format("set read-ahead by {}", path));
  }
  return {};
}

}  // namespace sheen::fuse
