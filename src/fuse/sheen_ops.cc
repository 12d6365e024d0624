#include "fuse/sheen_ops.h"

#include <algorithm>
#include <future>
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "base/log.h"
#include "client/kernel_cache.h"
#include "client/stat.h"
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
  std::string job;
  bool job_known = false;                 // perhaps of a while ago
  std::shared_future<std::string> asked;  // valid: and not told yet
};

// Of this shard.
CachedIdentity* IdentityOf(uint32_t pid, uint32_t uid, uint32_t gid) {
  thread_local std::map<std::tuple<uint32_t, uint32_t, uint32_t>, CachedIdentity> cache;
  constexpr size_t kCacheMax = 1024;
  if (cache.size() > kCacheMax) cache.clear();
  return &cache[{pid, uid, gid}];
}

// Asks for the job anew, or takes what the answer was; never waits for it. False: it is still to
// come.
bool LearnJob(uint32_t pid, uint32_t uid, uint32_t gid, CachedIdentity* cached) {
  if (!cached->asked.valid()) {
    cached->asked = JobIds::Instance()->Ask(static_cast<int32_t>(pid), uid, gid);
  }
  if (cached->asked.wait_for(std::chrono::seconds(0)) != std::future_status::ready) return false;
  cached->job = std::exchange(cached->asked, {}).get();
  cached->job_known = true;
  return true;
}

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

bool KnowsCaller(uint32_t pid, uint32_t uid, uint32_t gid) {
  // The kernel's own requests, and those of processes that are not seen from here, have no job.
  if (pid == 0 || !JobIds::Instance()->enabled()) return true;
  CachedIdentity* const cached = IdentityOf(pid, uid, gid);
  return cached->job_known || LearnJob(pid, uid, gid, cached);
}

client::CredentialId WhoAsks(fuse_req_t req) {
  const fuse_ctx* context = fuse_req_ctx(req);
  const bool superuser = context->uid == 0;
  const bool jobs = JobIds::Instance()->enabled();
  if (superuser && !jobs) return FsOf(req)->CredentialFor(0, context->gid, {});
  const Nanos now = async::Shard::Current()->Now();
  const auto pid = static_cast<uint32_t>(context->pid);
  CachedIdentity* const cached = IdentityOf(pid, context->uid, context->gid);
  if (cached->read_at == Nanos(0) || now - cached->read_at > kGroupsWait) {
    // Until the answer is there it counts for the job that it was.
    const bool fresh = !jobs || LearnJob(pid, context->uid, context->gid, cached);
    cached->id = FsOf(req)->CredentialFor(
        context->uid, context->gid, superuser ? std::vector<uint32_t>() : GroupsOf(req),
        jobs ? cached->job : std::string());
    cached->read_at = fresh ? now : Nanos(0);
  }
  return cached->id;
}

fuse_entry_param EntryOf(client::Filesystem* fs, const Fid& directory, const std::string& name,
                         const client::Attr& attr) {
  fuse_entry_param entry{};
  entry.ino = NodeOf(fs, attr.fid);
  entry.generation = 1;  // FIDs are never reused
  entry.attr = client::StatOf(attr);
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
  const struct stat out = client::StatOf(*attr);
  fuse_reply_attr(req, &out, Seconds(FsOf(req)->PromiseAttr(*attr)));
}

void ReplyChangedAttr(fuse_req_t req, const Result<client::Attr>& attr) {
  if (!attr) return ReplyError(req, attr.error());
  const struct stat out = client::StatOf(*attr);
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
