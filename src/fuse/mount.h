// Mounting and unmounting: by mount(2) where we may, else through fusermount3.
//
// Thread-safe. All of it may block.
#pragma once

#include <unistd.h>

#include <string>
#include <utility>

#include "fuse/session.h"

namespace sheen::fuse {

class UniqueFd final {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      Reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  ~UniqueFd() { Reset(); }
  int get() const { return fd_; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }

 private:
  int fd_ = -1;
};

// Detaches mounts at `mountpoint` whose daemon is gone (statfs gives ENOTCONN); none is no error.
Status DetachStaleMounts(const std::string& mountpoint);
// Mounts and gives the connection's /dev/fuse descriptor, non-blocking.
Result<UniqueFd> MountDevice(const MountOptions& options);
// A further descriptor of the same connection with its own queue of read requests
// (FUSE_DEV_IOC_CLONE), non-blocking.
Result<UniqueFd> CloneDevice(int device);

// Takes it from the namespace; it ends when its last user is gone. kInvalid: nothing mounted.
Status DetachMount(const std::string& mountpoint);
// Ends the connection whose st_dev is `device`: umount -f, else the fusectl filesystem.
Status AbortMount(const std::string& mountpoint, uint64_t device);

// st_dev of the filesystem mounted at `mountpoint`, without a request to its daemon.
Result<uint64_t> DeviceOf(const std::string& mountpoint);
Status SetReadAhead(uint64_t device, uint32_t read_ahead_kb);

// "a,b\c" -> "a\,b\\c", as fusermount3 wants values in its options.
std::string EscapeMountValue(const std::string& value);

}  // namespace sheen::fuse
