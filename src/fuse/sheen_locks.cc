// flock(2) and fcntl(2): the kernel asks only when INIT said that this filesystem keeps the locks
// (client::Filesystem::KeepsFileLocks); else it keeps them itself, for this mount.
//
// What the kernel (6.18, fs/fuse/file.c) tells of whose lock it is:
//   fcntl F_SETLK   owner = the process' table of descriptors; FLUSH names it at each close
//   F_OFD_SETLK     the same message; owner = the open file description. No message says that it
//                   is one, and no FLUSH names it: such locks go with their handle, at RELEASE
//   flock           flagged; owner = the description; RELEASE names it
// It keeps no record of locks itself. EINTR makes it restart flock and fcntl where the signal's
// handler says so (SA_RESTART).

#include <fcntl.h>
#include <sys/file.h>

#include "base/log.h"
#include "fuse/session.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

using client::FileLockSpec;
using lock::Extent;
using lock::FileLockKind;
using lock::FileLockType;

FileLockType TypeOf(int type) {
  if (type == F_UNLCK) return FileLockType::kUnlock;
  return type == F_WRLCK ? FileLockType::kWrite : FileLockType::kRead;
}

// libfuse gives a length, 0 for "to the end".
FileLockSpec SpecOf(const struct flock& from, uint64_t owner) {
  FileLockSpec spec;
  spec.type = TypeOf(from.l_type);
  spec.owner = owner;
  spec.pid = static_cast<uint32_t>(from.l_pid);
  const auto start = static_cast<uint64_t>(from.l_start);
  const auto length = static_cast<uint64_t>(from.l_len);
  spec.extent =
      Extent::FromInclusive(start, length == 0 ? lock::kLastByteMax : start + (length - 1));
  return spec;
}

struct flock ToFlock(const FileLockSpec& spec) {
  struct flock out {};
  out.l_type = spec.type == FileLockType::kWrite ? F_WRLCK : F_RDLCK;
  out.l_whence = SEEK_SET;
  out.l_start = static_cast<off_t>(spec.extent.start);
  const bool to_the_end = spec.extent.end == lock::kEof;
  out.l_len = to_the_end ? 0 : static_cast<off_t>(spec.extent.end - spec.extent.start);
  out.l_pid = static_cast<pid_t>(spec.pid);
  return out;
}

struct Interruptible {
  client::Filesystem* fs = nullptr;
  uint64_t ticket = 0;
  bool waits = false;  // else no signal interrupts it, but one that kills
};

// libfuse may still use the request when this returns, so it is answered later.
void OnInterrupt(fuse_req_t req, void* data) {
  const Interruptible wait = *static_cast<const Interruptible*>(data);
  if (!wait.waits && !CallerIsKilled(req)) return;
  async::Shard::Current()->Post([wait] { wait.fs->InterruptLock(wait.ticket); });
}

async::Task<void> SetLock(fuse_req_t req, Fid fid, uint64_t handle, FileLockSpec spec, bool wait) {
  Interruptible interruptible{FsOf(req), FsOf(req)->NewLockTicket(), wait};
  fuse_req_interrupt_func(req, &OnInterrupt, &interruptible);
  const client::LockWait how{.wait = wait, .ticket = interruptible.ticket};
  const Status status = co_await FsOf(req)->SetLock(fid, handle, spec, how);
  ReplyStatus(req, status);
}

async::Task<void> GetLock(fuse_req_t req, Fid fid, FileLockSpec spec) {
  const Result<std::optional<FileLockSpec>> blocker = co_await FsOf(req)->GetLock(fid, spec);
  if (!blocker) {
    ReplyError(req, blocker.error());
    co_return;
  }
  struct flock out {};
  out.l_type = F_UNLCK;
  if (*blocker) out = ToFlock(**blocker);
  fuse_reply_lock(req, &out);
}

}  // namespace

std::optional<async::Task<void>> FlushLocks(fuse_req_t req, fuse_ino_t node,
                                            const fuse_file_info& file) {
  client::Filesystem* fs = FsOf(req);
  return fs->FlushLocks(FidOfNode(fs, node), file.lock_owner);
}

void ReleaseLocks(fuse_req_t req, fuse_ino_t node, const fuse_file_info& file) {
  client::Filesystem* fs = FsOf(req);
  std::optional<uint64_t> flock_owner;
  if (file.flock_release != 0) flock_owner = file.lock_owner;
  fs->ReleaseLocks(FidOfNode(fs, node), file.fh, flock_owner);
}

unsigned LockCapabilities(const client::Filesystem* fs) {
  if (fs->KeepsFileLocks()) return FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS;
  if (!fs->options().local_locks) {
    SHEEN_LOG(Warn,
              "the MDS is of a version that keeps no locks of flock(2) and fcntl(2): they hold "
              "among the processes of this mount only; upgrade the MDS and mount again");
  }
  return 0;
}

void AddLockOps(fuse_lowlevel_ops* ops) {
  ops->getlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file, struct flock* lock) {
    Spawn(GetLock(req, FidOfNode(FsOf(req), node), SpecOf(*lock, file->lock_owner)));
  };
  ops->setlk = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file, struct flock* lock,
                  int sleep) {
    Spawn(SetLock(req, FidOfNode(FsOf(req), node), file->fh, SpecOf(*lock, file->lock_owner),
                  sleep != 0));
  };
  ops->flock = [](fuse_req_t req, fuse_ino_t node, fuse_file_info* file, int op) {
    FileLockSpec spec;
    spec.kind = FileLockKind::kFlock;
    spec.owner = file->lock_owner;
    spec.pid = static_cast<uint32_t>(fuse_req_ctx(req)->pid);
    const int what = op & ~LOCK_NB;
    spec.type = what == LOCK_UN   ? FileLockType::kUnlock
                : what == LOCK_EX ? FileLockType::kWrite
                                  : FileLockType::kRead;
    Spawn(SetLock(req, FidOfNode(FsOf(req), node), file->fh, spec, (op & LOCK_NB) == 0));
  };
}

}  // namespace sheen::fuse
