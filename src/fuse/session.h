// Session: one FUSE mount, served by the shards of a daemon.
//
// libfuse's low-level API parses requests and forms replies; how they travel is ours: by reads and
// writes of /dev/fuse (classic), or as io_uring commands on the shard's own ring (io_uring).
//
//   auto session = fuse::Session::Mount(options, ops, filesystem);      // INIT is answered here
//   on each shard's thread:  session->AttachShard(shard, uring_poller); // requests flow
//   ops.read = [](fuse_req_t req, ...) { shard->Spawn(Read(req, ...)); };   // on that shard
//   Task<void> Read(fuse_req_t req, ...) { ...; fuse_reply_buf(req, buffer.data(), n); }
//
// A callback runs on the shard that received the request; its fuse_reply_*() must be called on the
// same shard, at once or later. What a request carries (names, written bytes) stays valid until
// its reply. FORGET may run on any shard; INTERRUPT runs on the shard of the request it is for.
//
// A process that is killed ends within a second, whatever it waits for here. Its request goes on to
// its reply, which gives -ENOENT: what it took for its caller (a handle, a lookup) is given back.
// Until then what others would change of the same inode waits, and so does closing it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "async/shard.h"
#include "fuse/libfuse.h"
#include "io/uring.h"
#include "sheen/result.h"

namespace sheen::fuse {

// kAuto: io_uring where the kernel offers it, else classic with the reason in the log.
// kOn: Mount() fails where it is not offered.
enum class UringMode : uint8_t { kAuto, kOn, kOff };
enum class Transport : uint8_t { kClassic, kUring };

// "auto", "on", "off". Errors: kInvalid.
Result<UringMode> ParseUringMode(std::string_view text);

struct MountOptions {
  std::string mountpoint;
  std::string source = "sheen";   // first column of /proc/mounts
  std::string subtype = "sheen";  // third column: fuse.SUBTYPE
  bool read_only = false;
  bool noatime = false;
  bool nosuid = false;
  bool nodev = false;
  bool noexec = false;
  bool allow_other = false;
  bool default_permissions = true;
  uint32_t max_write = 1u << 20;       // bytes, at most 1 MiB; also the largest READ
  uint32_t max_readahead = 16u << 20;  // bytes that INIT allows; read_ahead_kb is what is used
  // Written to /sys/class/bdi/MAJ:MIN/read_ahead_kb after mounting (root only; else logged).
  std::optional<uint32_t> read_ahead_kb;
  UringMode io_uring = UringMode::kAuto;
  uint32_t shard_count = 1;
  // FUSE_HANDLE_KILLPRIV_V2: saves a GETXATTR of security.capability on every write(2). Only for
  // operations that drop suid, sgid and capabilities wherever KillSuidgid() says so.
  bool handle_killpriv_v2 = false;
  // Ring entries that each core's queue keeps; 0 chooses 8 to 16 by the number of cores. A queue
  // grows beyond it while requests are parked.
  uint32_t entries_per_queue = 0;
};

// Counters of one session, for tests and `sheen top`. Approximate while requests run.
struct SessionStats {
  uint64_t requests = 0;
  uint64_t ring_entries = 0;        // registered on all queues
  uint64_t ring_entries_grown = 0;  // of them beyond entries_per_queue
  uint64_t ring_kicks = 0;          // times that waiting requests had to be fetched
  uint64_t abandoned = 0;           // answered EINTR because their callers were being killed
};

class OpStats;

class Session final {
 public:
  // Mounts and answers INIT, which calls ops.init on the calling thread. A stale mount of a daemon
  // that was killed is detached first. `userdata` is what fuse_req_userdata() gives.
  // Errors: kNoEntry, kNotDirectory: the mountpoint; kPerm: no right to mount; kNotSupported:
  // io_uring=on and the kernel does not offer it, with how to switch it on.
  static Result<std::unique_ptr<Session>> Mount(const MountOptions& options,
                                                const fuse_lowlevel_ops& ops, void* userdata);
  // REQUIRES: the attached shards have stopped, their pollers still exist or were destroyed after
  // stopping. Unmounts when still mounted.
  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Starts serving on `shard`, the calling thread's. Each of shard_count shards must be attached
  // (index() 0 to shard_count - 1) before requests flow.
  // REQUIRES: `poller` was created with sqe128 when transport() is kUring.
  Status AttachShard(async::Shard* shard, io::UringPoller* poller);

  // Called once, on a shard, when the mount is gone (umount, umount -f, Unmount()) and the kernel
  // holds no buffer of this session any more. Set it before the first AttachShard().
  // Requests that are still parked then may be answered later; the answers go nowhere.
  void set_on_unmounted(std::function<void()> action);
  // Called, on a shard, when a request that may have changed `node` (and `name` in it, unless
  // empty) has ended after its caller was killed: the kernel does not know of the change. Set it
  // before the first AttachShard().
  void set_on_late_change(std::function<void(fuse_ino_t node, const std::string& name)> action);
  // Asked, on a shard, before a request begins; while it says no the request waits, for 20 ms at
  // most, and the shard goes on with others. Set it before the first AttachShard().
  void set_admission(std::function<bool(uint32_t pid, uint32_t uid, uint32_t gid)> admits);
  // Starts to unmount, on a thread of its own, and returns: umount2(MNT_DETACH), or fusermount3 -u
  // -z when unprivileged. on_unmounted follows when the last user is gone. Thread-safe.
  void Unmount();
  // As `umount -f`: waiting callers get ENOTCONN at once. Thread-safe.
  void Abort();

  Transport transport() const;
  // Why io_uring is not used; empty when it is.
  const std::string& fallback_reason() const;
  // "io_uring (...)" or "/dev/fuse (...)", with the reason.
  std::string TransportText() const;
  // For fuse_lowlevel_notify_*(): from a thread that serves no requests. Thread-safe.
  fuse_session* notify_session() const;
  // Of the kernel's FUSE protocol 7.x.
  uint32_t kernel_minor() const;
  // st_dev of the mounted filesystem.
  uint64_t device() const;
  SessionStats stats() const;
  // Requests of the kernel by operation.
  OpStats* operation_stats() const;

  class Impl;

 private:
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Memory for the reply of `request`: max_write bytes, page-aligned, valid until the reply. What of
// it is passed to fuse_reply_buf() or fuse_reply_data() from its start is not copied. It may
// overlap what the request carries (names of *xattr requests, written bytes): be done with those.
// Call on the request's shard.
std::span<std::byte> ReplyBuffer(fuse_req_t request);

// Flags for the answer that libfuse 3.14's fuse_file_info cannot say, such as
// kOpenParallelDirectWrites. Call before fuse_reply_open() or fuse_reply_create(), on the request's
// shard.
void AddOpenFlags(fuse_req_t request, uint32_t flags);
// With handle_killpriv_v2: this WRITE, SETATTR, OPEN or CREATE must drop suid, sgid (when group
// executable) and security.capability. libfuse 3.14 does not pass it on. Call on the request's
// shard, before the reply.
bool KillSuidgid(fuse_req_t request);
// In an interrupt function: the caller is being killed, and not only signalled.
bool CallerIsKilled(fuse_req_t request);

inline constexpr uint32_t kOpenParallelDirectWrites = 1u << 6;
inline constexpr uint32_t kOpenPassthrough = 1u << 7;

}  // namespace sheen::fuse
