#include "fuse/op_stats.h"

#include <algorithm>
#include <cstring>

#include "base/log.h"
#include "base/slow.h"
#include "fuse/fuse_kernel.h"

namespace sheen::fuse {
namespace {

// Names of llite.*.stats; then what Lustre's client does not see.
enum Op : size_t {
  kReadBytes,
  kWriteBytes,
  kRead,
  kWrite,
  kIoctl,
  kOpen,
  kClose,
  kSeek,
  kFsync,
  kReaddir,
  kSetattr,
  kFlock,
  kGetattr,
  kFallocate,
  kCreate,
  kLink,
  kUnlink,
  kSymlink,
  kMkdir,
  kRmdir,
  kMknod,
  kRename,
  kStatfs,
  kSetxattr,
  kGetxattr,
  kListxattr,
  kRemovexattr,
  kLookup,
  kReadlink,
  kFlush,
  kOther
};

Op OpOf(uint32_t opcode) {
  switch (opcode) {
    case FUSE_READ:
      return kRead;
    case FUSE_WRITE:
      return kWrite;
    case FUSE_IOCTL:
      return kIoctl;
    case FUSE_OPEN:
      return kOpen;
    case FUSE_RELEASE:
      return kClose;
    case FUSE_LSEEK:
      return kSeek;
    case FUSE_FSYNC:
    case FUSE_FSYNCDIR:
      return kFsync;
    case FUSE_READDIR:
    case FUSE_READDIRPLUS:
      return kReaddir;
    case FUSE_SETATTR:
      return kSetattr;
    case FUSE_GETLK:
    case FUSE_SETLK:
    case FUSE_SETLKW:
      return kFlock;
    case FUSE_GETATTR:
      return kGetattr;
    case FUSE_FALLOCATE:
      return kFallocate;
    case FUSE_CREATE:
      return kCreate;
    case FUSE_LINK:
      return kLink;
    case FUSE_UNLINK:
      return kUnlink;
    case FUSE_SYMLINK:
      return kSymlink;
    case FUSE_MKDIR:
      return kMkdir;
    case FUSE_RMDIR:
      return kRmdir;
    case FUSE_MKNOD:
      return kMknod;
    case FUSE_RENAME:
    case FUSE_RENAME2:
      return kRename;
    case FUSE_STATFS:
      return kStatfs;
    case FUSE_SETXATTR:
      return kSetxattr;
    case FUSE_GETXATTR:
      return kGetxattr;
    case FUSE_LISTXATTR:
      return kListxattr;
    case FUSE_REMOVEXATTR:
      return kRemovexattr;
    case FUSE_LOOKUP:
      return kLookup;
    case FUSE_READLINK:
      return kReadlink;
    case FUSE_FLUSH:
      return kFlush;
    default:
      return kOther;
  }
}

uint64_t NodeOf(const Request& request) {
  if (request.message == nullptr || request.message_bytes < sizeof(fuse_in_header)) return 0;
  return LoadLittle<uint64_t>(request.message + offsetof(fuse_in_header, nodeid));
}

}  // namespace

OpStats::OpStats()
    : operations_({{"read_bytes", Unit::kBytes},
                   {"write_bytes", Unit::kBytes},
                   {"read"},
                   {"write"},
                   {"ioctl"},
                   {"open"},
                   {"close"},
                   {"seek"},
                   {"fsync"},
                   {"readdir"},
                   {"setattr"},
                   {"flock"},
                   {"getattr"},
                   {"fallocate"},
                   {"create"},
                   {"link"},
                   {"unlink"},
                   {"symlink"},
                   {"mkdir"},
                   {"rmdir"},
                   {"mknod"},
                   {"rename"},
                   {"statfs"},
                   {"setxattr"},
                   {"getxattr"},
                   {"listxattr"},
                   {"removexattr"},
                   {"lookup"},
                   {"readlink"},
                   {"flush"},
                   {"other"}}) {}

void OpStats::Note(const Request& request, const iovec* iov, int count, Nanos took) {
  const Op op = OpOf(request.opcode);
  operations_.Record(op, static_cast<uint64_t>(std::max<int64_t>(took.count() / 1000, 0)));
  const bool done = static_cast<const fuse_out_header*>(iov[0].iov_base)->error == 0;
  if (done && op == kRead) {
    size_t bytes = 0;
    for (int i = 1; i < count; ++i) bytes += iov[i].iov_len;
    operations_.Record(kReadBytes, bytes);
  }
  if (done && op == kWrite && count > 1 && iov[1].iov_len >= sizeof(fuse_write_out)) {
    fuse_write_out out;
    std::memcpy(&out, iov[1].iov_base, sizeof out);
    operations_.Record(kWriteBytes, out.size);
  }
  // A lock that somebody else holds may take any time to get.
  if (took < SlowAfter() || request.opcode == FUSE_SETLKW) return;
  SHEEN_LOG(Warn, "slow operation: {} of inode {} by process {} took {:.3f} s: {}",
            operations_.spec(op).name, NodeOf(request), request.caller, SecondsOf(took),
            explain_ ? explain_(request.began) : "");
}

uint64_t OpStats::read_bytes() const { return operations_.tally(kReadBytes).sum(); }

uint64_t OpStats::written_bytes() const { return operations_.tally(kWriteBytes).sum(); }

}  // namespace sheen::fuse
