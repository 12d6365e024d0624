#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <string>

#include "apps/fuse_ceiling/passthrough.h"

namespace sheen::ceiling {
namespace {

// An O_PATH descriptor by the name that system calls without AT_EMPTY_PATH take.
std::string ProcPath(int fd) { return "/proc/self/fd/" + std::to_string(fd); }

void ReplyStatus(fuse_req_t request, int result) {
  fuse_reply_err(request, result == 0 ? 0 : errno);
}

void ReplyEntry(fuse_req_t request, fuse_ino_t parent, const char* name) {
  Passthrough* self = Passthrough::Of(request);
  fuse_entry_param entry;
  const int failed = self->LookUp(parent, name, &entry);
  if (failed != 0) {
    fuse_reply_err(request, failed);
  } else if (fuse_reply_entry(request, &entry) == -ENOENT) {
    self->Forget(entry.ino, 1);
  }
}

void LookUp(fuse_req_t request, fuse_ino_t parent, const char* name) {
  ReplyEntry(request, parent, name);
}

void Forget(fuse_req_t request, fuse_ino_t id, uint64_t lookups) {
  Passthrough::Of(request)->Forget(id, lookups);
  fuse_reply_none(request);
}

void ForgetMulti(fuse_req_t request, size_t count, fuse_forget_data* forgets) {
  for (size_t i = 0; i < count; ++i) {
    Passthrough::Of(request)->Forget(forgets[i].ino, forgets[i].nlookup);
  }
  fuse_reply_none(request);
}

void GetAttr(fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
  Passthrough* self = Passthrough::Of(request);
  struct stat attr {};
  if (fstatat(self->FdOf(id), "", &attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_attr(request, &attr, self->options().timeout_seconds);
}

int SetTimes(int fd, const struct stat& attr, int valid) {
  timespec times[2] = {{.tv_sec = 0, .tv_nsec = UTIME_OMIT}, {.tv_sec = 0, .tv_nsec = UTIME_OMIT}};
  if ((valid & FUSE_SET_ATTR_ATIME_NOW) != 0) {
    times[0].tv_nsec = UTIME_NOW;
  } else if ((valid & FUSE_SET_ATTR_ATIME) != 0) {
    times[0] = attr.st_atim;
  }
  if ((valid & FUSE_SET_ATTR_MTIME_NOW) != 0) {
    times[1].tv_nsec = UTIME_NOW;
  } else if ((valid & FUSE_SET_ATTR_MTIME) != 0) {
    times[1] = attr.st_mtim;
  }
  return utimensat(AT_FDCWD, ProcPath(fd).c_str(), times, 0);
}

int Apply(int fd, const struct stat& attr, int valid, const fuse_file_info* file) {
  if ((valid & FUSE_SET_ATTR_MODE) != 0 && chmod(ProcPath(fd).c_str(), attr.st_mode) != 0) {
    return errno;
  }
  if ((valid & (FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID)) != 0) {
    const uid_t uid = (valid & FUSE_SET_ATTR_UID) != 0 ? attr.st_uid : static_cast<uid_t>(-1);
    const gid_t gid = (valid & FUSE_SET_ATTR_GID) != 0 ? attr.st_gid : static_cast<gid_t>(-1);
    if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) return errno;
  }
  if ((valid & FUSE_SET_ATTR_SIZE) != 0) {
    const int cut = file != nullptr ? ftruncate(static_cast<int>(file->fh), attr.st_size)
                                    : truncate(ProcPath(fd).c_str(), attr.st_size);
    if (cut != 0) return errno;
  }
  constexpr int kTimes =
      FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW;
  if ((valid & kTimes) != 0 && SetTimes(fd, attr, valid) != 0) return errno;
  return 0;
}

void SetAttr(fuse_req_t request, fuse_ino_t id, struct stat* attr, int valid,
             fuse_file_info* file) {
  const int failed = Apply(Passthrough::Of(request)->FdOf(id), *attr, valid, file);
  if (failed != 0) {
    fuse_reply_err(request, failed);
    return;
  }
  GetAttr(request, id, file);
}

void ReadLink(fuse_req_t request, fuse_ino_t id) {
  char target[PATH_MAX + 1];
  const ssize_t bytes = readlinkat(Passthrough::Of(request)->FdOf(id), "", target, PATH_MAX);
  if (bytes < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  target[bytes] = '\0';
  fuse_reply_readlink(request, target);
}

void MakeNode(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device) {
  if (mknodat(Passthrough::Of(request)->FdOf(parent), name, mode, device) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  ReplyEntry(request, parent, name);
}

void MakeDirectory(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode) {
  if (mkdirat(Passthrough::Of(request)->FdOf(parent), name, mode) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  ReplyEntry(request, parent, name);
}

void SymLink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name) {
  if (symlinkat(target, Passthrough::Of(request)->FdOf(parent), name) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  ReplyEntry(request, parent, name);
}

void Link(fuse_req_t request, fuse_ino_t id, fuse_ino_t parent, const char* name) {
  Passthrough* self = Passthrough::Of(request);
  if (linkat(AT_FDCWD, ProcPath(self->FdOf(id)).c_str(), self->FdOf(parent), name,
             AT_SYMLINK_FOLLOW) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  ReplyEntry(request, parent, name);
}

void Unlink(fuse_req_t request, fuse_ino_t parent, const char* name) {
  ReplyStatus(request, unlinkat(Passthrough::Of(request)->FdOf(parent), name, 0));
}

void RemoveDirectory(fuse_req_t request, fuse_ino_t parent, const char* name) {
  ReplyStatus(request, unlinkat(Passthrough::Of(request)->FdOf(parent), name, AT_REMOVEDIR));
}

void Rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned int flags) {
  Passthrough* self = Passthrough::Of(request);
  ReplyStatus(request,
              renameat2(self->FdOf(parent), name, self->FdOf(new_parent), new_name, flags));
}

}  // namespace

void AddNameOps(fuse_lowlevel_ops* ops) {
  ops->lookup = &LookUp;
  ops->forget = &Forget;
  ops->forget_multi = &ForgetMulti;
  ops->getattr = &GetAttr;
  ops->setattr = &SetAttr;
  ops->readlink = &ReadLink;
  ops->mknod = &MakeNode;
  ops->mkdir = &MakeDirectory;
  ops->symlink = &SymLink;
  ops->link = &Link;
  ops->unlink = &Unlink;
  ops->rmdir = &RemoveDirectory;
  ops->rename = &Rename;
}

}  // namespace sheen::ceiling
