// Names and attributes: lookup, getattr, setattr, mknod, mkdir, symlink, link, unlink, rmdir,
// rename, readlink, statfs.

#include <sys/statvfs.h>

#include <span>

#include "client/kernel_cache.h"
#include "fuse/sheen_front.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::fuse {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr unsigned long kNameBytesMax = 255;

async::Task<void> Lookup(fuse_req_t req, Fid parent, std::string name) {
  const Result<client::Attr> attr =
      co_await FsOf(req)->Lookup(WhoAsks(req), parent, name);
  ReplyEntry(req, parent, name, attr);
}

async::Task<void> GetAttr(fuse_req_t req, Fid fid) {
  const Result<client::Attr> attr = co_await FsOf(req)->GetAttr(WhoAsks(req), fid);
  ReplyAttr(req, attr);
}

int64_t ToNanos(const timespec& time) { return time.tv_sec * 1'000'000'000 + time.tv_nsec; }

client::AttrChange ChangeOf(const struct stat& attr, int to_set) {
  client::AttrChange change;
  change.mode = attr.st_mode & 07777;
  change.uid = attr.st_uid;
  change.gid = attr.st_gid;
  change.atime_ns = ToNanos(attr.st_atim);
  change.mtime_ns = ToNanos(attr.st_mtim);
  change.atime_now = (to_set & FUSE_SET_ATTR_ATIME_NOW) != 0;
  change.mtime_now = (to_set & FUSE_SET_ATTR_MTIME_NOW) != 0;
  if ((to_set & FUSE_SET_ATTR_MODE) != 0) change.valid |= v1::SET_MODE;
  if ((to_set & FUSE_SET_ATTR_UID) != 0) change.valid |= v1::SET_UID;
  if ((to_set & FUSE_SET_ATTR_GID) != 0) change.valid |= v1::SET_GID;
  if ((to_set & FUSE_SET_ATTR_ATIME) != 0 || change.atime_now) change.valid |= v1::SET_ATIME;
  if ((to_set & FUSE_SET_ATTR_MTIME) != 0 || change.mtime_now) change.valid |= v1::SET_MTIME;
  change.set_size = (to_set & FUSE_SET_ATTR_SIZE) != 0;
  change.size = static_cast<uint64_t>(attr.st_size);
  return change;
}

async::Task<void> SetAttr(fuse_req_t req, Fid fid, client::AttrChange change, uint64_t handle) {
  // Of nothing at all, as chown(-1, -1) asks: the status change time moves all the same.
  const Result<client::Attr> attr = co_await FsOf(req)->SetAttr(WhoAsks(req), fid, change, handle);
  ReplyChangedAttr(req, attr);
}

async::Task<void> MakeNode(fuse_req_t req, Fid parent, std::string name,
                           client::NodeOptions options) {
  options.umask = fuse_req_ctx(req)->umask;
  const Result<client::Attr> attr =
      co_await FsOf(req)->MakeNode(WhoAsks(req), parent, name, options);
  ReplyEntry(req, parent, name, attr);
}

async::Task<void> Symlink(fuse_req_t req, Fid parent, std::string name, std::string target) {
  const Result<client::Attr> attr =
      co_await FsOf(req)->Symlink(WhoAsks(req), parent, name, std::move(target));
  ReplyEntry(req, parent, name, attr);
}

async::Task<void> Link(fuse_req_t req, Fid fid, Fid parent, std::string name) {
  const Result<client::Attr> attr =
      co_await FsOf(req)->Link(WhoAsks(req), fid, parent, name);
  if (!attr) {
    ReplyError(req, attr.error());
    co_return;
  }
  fuse_entry_param entry = EntryOf(FsOf(req), parent, name, *attr);
  // The kernel takes these for newer than what it was told meanwhile.
  entry.attr_timeout = 0;
  ReplyCounted(req, attr->fid, entry);
}

async::Task<void> Unlink(fuse_req_t req, Fid parent, std::string name) {
  const Status status = co_await FsOf(req)->Unlink(WhoAsks(req), parent, std::move(name));
  ReplyStatus(req, status);
}

async::Task<void> RemoveDir(fuse_req_t req, Fid parent, std::string name) {
  const Status status = co_await FsOf(req)->RemoveDir(WhoAsks(req), parent, std::move(name));
  ReplyStatus(req, status);
}

struct RenameArgs {
  Fid old_parent;
  std::string old_name;
  Fid new_parent;
  std::string new_name;
  uint32_t flags = 0;
};

async::Task<void> Rename(fuse_req_t req, RenameArgs args) {
  const Status status =
      co_await FsOf(req)->Rename(WhoAsks(req), args.old_parent, std::move(args.old_name),
                                 args.new_parent, std::move(args.new_name), args.flags);
  ReplyStatus(req, status);
}

async::Task<void> ReadLink(fuse_req_t req, Fid fid) {
  const Result<std::string> target = co_await FsOf(req)->ReadLink(WhoAsks(req), fid);
  if (!target) {
    ReplyError(req, target.error());
  } else {
    fuse_reply_readlink(req, target->c_str());
  }
}

async::Task<void> StatFs(fuse_req_t req) {
  const Result<client::SpaceSummary> space = co_await FsOf(req)->StatFs();
  if (!space) {
    ReplyError(req, space.error());
    co_return;
  }
  struct statvfs out {};
  out.f_bsize = kBlockBytes;
  out.f_frsize = kBlockBytes;
  out.f_blocks = space->bytes_total / kBlockBytes;
  out.f_bfree = space->bytes_free / kBlockBytes;
  out.f_bavail = space->bytes_available / kBlockBytes;
  out.f_files = space->files_total;
  out.f_ffree = space->files_free;
  out.f_favail = space->files_free;
  out.f_namemax = kNameBytesMax;
  fuse_reply_statfs(req, &out);
}

void AddMakingOps(fuse_lowlevel_ops* ops) {
  ops->mknod = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode, dev_t rdev) {
    Spawn(MakeNode(req, FidOfNode(FsOf(req), parent), name, {.mode = mode, .rdev = rdev}));
  };
  ops->mkdir = [](fuse_req_t req, fuse_ino_t parent, const char* name, mode_t mode) {
    Spawn(MakeNode(req, FidOfNode(FsOf(req), parent), name, {.mode = (mode & 07777) | S_IFDIR}));
  };
  ops->symlink = [](fuse_req_t req, const char* target, fuse_ino_t parent, const char* name) {
    Spawn(Symlink(req, FidOfNode(FsOf(req), parent), name, target));
  };
  ops->link = [](fuse_req_t req, fuse_ino_t node, fuse_ino_t parent, const char* name) {
    Spawn(Link(req, FidOfNode(FsOf(req), node), FidOfNode(FsOf(req), parent), name));
  };
}

}  // namespace

void AddNameOps(fuse_lowlevel_ops* ops) {
  AddMakingOps(ops);
  ops->lookup = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    Spawn(Lookup(req, FidOfNode(FsOf(req), parent), name));
  };
  ops->forget = [](fuse_req_t req, fuse_ino_t node, uint64_t lookups) {
    FsOf(req)->kernel()->Forget(FidOfNode(FsOf(req), node), lookups);
    fuse_reply_none(req);
  };
  ops->forget_multi = [](fuse_req_t req, size_t count, fuse_forget_data* nodes) {
    for (const fuse_forget_data& one : std::span(nodes, count)) {
      FsOf(req)->kernel()->Forget(FidOfNode(FsOf(req), one.ino), one.nlookup);
    }
    fuse_reply_none(req);
  };
  ops->getattr = [](fuse_req_t req, fuse_ino_t node, fuse_file_info*) {
    Spawn(GetAttr(req, FidOfNode(FsOf(req), node)));
  };
  ops->setattr = [](fuse_req_t req, fuse_ino_t node, struct stat* attr, int to_set,
                    fuse_file_info* file) {
    const uint64_t handle = file != nullptr ? file->fh : 0;
    Spawn(SetAttr(req, FidOfNode(FsOf(req), node), ChangeOf(*attr, to_set), handle));
  };
  ops->unlink = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    Spawn(Unlink(req, FidOfNode(FsOf(req), parent), name));
  };
  ops->rmdir = [](fuse_req_t req, fuse_ino_t parent, const char* name) {
    Spawn(RemoveDir(req, FidOfNode(FsOf(req), parent), name));
  };
  ops->rename = [](fuse_req_t req, fuse_ino_t old_parent, const char* old_name,
                   fuse_ino_t new_parent, const char* new_name, unsigned flags) {
    const client::Filesystem* fs = FsOf(req);
    Spawn(Rename(
        req, {FidOfNode(fs, old_parent), old_name, FidOfNode(fs, new_parent), new_name, flags}));
  };
  ops->readlink = [](fuse_req_t req, fuse_ino_t node) {
    Spawn(ReadLink(req, FidOfNode(FsOf(req), node)));
  };
  ops->statfs = [](fuse_req_t req, fuse_ino_t) { Spawn(StatFs(req)); };
}

}  // namespace sheen::fuse
