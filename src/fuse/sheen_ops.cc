#include "fuse/sheen_ops.h"

#include <algorithm>
#include <map>

#include "base/log.h"
#include "client/kernel_cache.h"
#include "fuse/job_id.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

constexpr uint32_t kRequestBytesMax = 1 << 20;
constexpr Nanos kGroupsWait = std::chrono::seconds(1);
constexpr int kGroupsMax = 65536;

void Init(void* userdata, fuse_conn_info* conn) {
  const unsigned wanted = FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_READDIRPLUS |
                          FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_AUTO_INVAL_DATA |
                          FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_IOCTL_DIR | FUSE_CAP_ASYNC_DIO |
                          FUSE_CAP_POSIX_ACL | FUSE_CAP_DONT_MASK |
                          FUSE_CAP_CACHE_SYMLINKS |  // what a FID's symlink says never changes
                          LockCapabilities(static_cast<client::Filesystem*>(userdata));
  conn->want = wanted & conn->capable;
  conn->max_write = std::min<unsigned>(conn->max_write, kRequestBytesMax);
  conn->time_gran = 1;
}

struct CachedIdentity {
  Nanos read_at{0};
  client::CredentialId id = 0;
};

std::vector<uint32_t> GroupsOf(fuse_req_t req) {
  std::vector<gid_t> groups(64);
  int count = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
  if (count > static_cast<int>(groups.size())) {
    groups.resize(static_cast<size_t>(std::min(count, kGroupsMax)));
    count = fuse_req_getgroups(req, static_cast<int>(groups.size()), groups.data());
  }
  groups.resize(static_cast<size_t>(std::clamp(count, 0, static_cast<int>(groups.size()))));
  return {groups.begin(), groups.end()};
}

double Seconds(Nanos time) { return std::chrono::duration<double>(time).count(); }

}  // namespace

Fid FidOfNode(const client::Filesystem* fs, fuse_ino_t node) {
  return node == kFuseRootInode ? fs->root() : Fid::FromInode(node);
}

fuse_ino_t NodeOf(const client::Filesystem* fs, const Fid& fid) {
  return fid == fs->root() ? kFuseRootInode : fid.ToInode();
}

client::CredentialId WhoAsks(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  const JobIds* const jobs = JobIds::Instance();
  const bool superuser = context->uid == 0;
  if (superuser && !jobs->enabled()) return FsOf(req)->CredentialFor(0, context->gid, {});
  thread_local std::map<std::tuple<pid_t, uid_t, gid_t>, CachedIdentity> cache;
  const Nanos now = async::Shard::Current()->Now();
  constexpr size_t kCacheMax = 1024;
  if (cache.size() > kCacheMax) cache.clear();
  CachedIdentity& cached = cache[{context->pid, context->uid, context->gid}];
  if (cached.read_at == Nanos(0) || now - cached.read_at > kGroupsWait) {
    cached.id = FsOf(req)->CredentialFor(
        context->uid, context->gid, superuser ? std::vector<uint32_t>() : GroupsOf(req),
        jobs->Of(context->pid, context->uid, context->gid));
    cached.read_at = now;
  }
  return cached.id;
}

struct stat StatOf(const client::Attr& attr) {
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

fuse_entry_param EntryOf(client::Filesystem* fs, const Fid& directory, const std::string& name,
                         const client::Attr& attr) {
  fuse_entry_param entry{};
  entry.ino = NodeOf(fs, attr.fid);
  entry.generation = 1;  // FIDs are never reused
  entry.attr = StatOf(attr);
  const client::KernelPromise promise = fs->PromiseEntry(directory, name, attr);
  entry.attr_timeout = Seconds(promise.attr);
  entry.entry_timeout = Seconds(promise.entry);
  return entry;
}

void ReplyError(fuse_req_t req, const Error& error) {
  SHEEN_LOG(Debug, "answering {}", error.ToString());
  if (error.code() == Errc::kCorrupt || error.code() == Errc::kIo) {
    SHEEN_LOG(Warn, "an application gets an I/O error: {}", error.ToString());
  }
  // A server did not answer within the mount's deadline.
  const bool outage = error.code() == Errc::kTimedOut || error.code() == Errc::kDisconnected ||
                      error.code() == Errc::kConnectionRefused;
  fuse_reply_err(req, outage ? EIO : ErrnoOf(error.code()));
}

void ReplyStatus(fuse_req_t req, const Status& status) {
  if (status) {
    fuse_reply_err(req, 0);
  } else {
    ReplyError(req, status.error());
  }
}

void ReplyEntry(fuse_req_t req, const Fid& directory, const std::string& name,
                const Result<client::Attr>& attr) {
  if (!attr) return ReplyError(req, attr.error());
  ReplyCounted(req, attr->fid, EntryOf(FsOf(req), directory, name, *attr));
}

void ReplyCounted(fuse_req_t req, const Fid& fid, const fuse_entry_param& entry) {
  client::Filesystem* fs = FsOf(req);
  if (fuse_reply_entry(req, &entry) != 0) fs->kernel()->Forget(fid, 1);
}

void ReplyAttr(fuse_req_t req, const Result<client::Attr>& attr) {
  if (!attr) return ReplyError(req, attr.error());
  const struct stat out = StatOf(*attr);
  fuse_reply_attr(req, &out, Seconds(FsOf(req)->PromiseAttr(*attr)));
}

void ReplyChangedAttr(fuse_req_t req, const Result<client::Attr>& attr) {
  if (!attr) return ReplyError(req, attr.error());
  const struct stat out = StatOf(*attr);
  fuse_reply_attr(req, &out, 0);
}

const fuse_lowlevel_ops& SheenOps() {
  static const fuse_lowlevel_ops table = [] {
    fuse_lowlevel_ops ops{};
    ops.init = Init;
    AddNameOps(&ops);
    AddFileOps(&ops);
    AddDirectoryOps(&ops);
    AddXattrOps(&ops);
    AddIoctlOps(&ops);
    AddLockOps(&ops);
    return ops;
  }();
  return table;
}

}  // namespace sheen::fuse
