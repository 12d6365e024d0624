#include "client/stat.h"

namespace sheen::client {

struct stat StatOf(const Attr& attr) {
  constexpr int64_t kSecond = 1'000'000'000;
  const auto to_timespec = [](int64_t ns) {
    int64_t seconds = ns / kSecond;
    if (ns % kSecond < 0) --seconds;
    return timespec{seconds, ns - seconds * kSecond};
  };
  struct stat out {};
  out.st_ino = attr.fid.ToInode();
  out.st_mode = attr.mode;
  out.st_nlink = attr.nlink;
  out.st_uid = attr.uid;
  out.st_gid = attr.gid;
  out.st_rdev = attr.rdev;
  out.st_size = static_cast<off_t>(attr.size);
  out.st_blocks = static_cast<blkcnt_t>(attr.blocks);
  out.st_blksize = S_ISREG(attr.mode) ? 1 << 20 : 4096;
  out.st_atim = to_timespec(attr.atime_ns);
  out.st_mtim = to_timespec(attr.mtime_ns);
  out.st_ctim = to_timespec(attr.ctime_ns);
  return out;
}

}  // namespace sheen::client
