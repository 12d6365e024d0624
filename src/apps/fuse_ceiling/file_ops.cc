#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "apps/fuse_ceiling/passthrough.h"
#include "fuse/session.h"

namespace sheen::ceiling {
namespace {

int FdOf(const fuse_file_info* file) { return static_cast<int>(file->fh); }

void SetCaching(fuse_req_t request, fuse_file_info* file) {
  const PassthroughOptions& options = Passthrough::Of(request)->options();
  file->direct_io = options.direct_io;
  file->keep_cache = options.keep_cache;
  // Reads and writes of one file at once: the directory below orders them.
  fuse::AddOpenFlags(request, fuse::kOpenParallelDirectWrites);
}

void Create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* file) {
  Passthrough* self = Passthrough::Of(request);
  const int fd = openat(self->FdOf(parent), name,
                        (file->flags | O_CREAT | O_CLOEXEC) & ~(O_NOFOLLOW | O_DIRECT), mode);
  if (fd < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  file->fh = static_cast<uint64_t>(fd);
  SetCaching(request, file);
  fuse_entry_param entry;
  const int failed = self->LookUp(parent, name, &entry);
  if (failed != 0) {
    close(fd);
    fuse_reply_err(request, failed);
  } else if (fuse_reply_create(request, &entry, file) == -ENOENT) {
    close(fd);
    self->Forget(entry.ino, 1);
  }
}

void Open(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  const std::string path = "/proc/self/fd/" + std::to_string(Passthrough::Of(request)->FdOf(id));
  const int fd = open(path.c_str(), (file->flags | O_CLOEXEC) & ~(O_NOFOLLOW | O_DIRECT));
  if (fd < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  file->fh = static_cast<uint64_t>(fd);
  SetCaching(request, file);
  if (fuse_reply_open(request, file) == -ENOENT) close(fd);
}

void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  close(FdOf(file));
  fuse_reply_err(request, 0);
}

void Flush(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  const int result = close(dup(FdOf(file)));
  fuse_reply_err(request, result == 0 ? 0 : errno);
}

void Sync(fuse_req_t request, fuse_ino_t, int data_only, fuse_file_info* file) {
  const int result = data_only != 0 ? fdatasync(FdOf(file)) : fsync(FdOf(file));
  fuse_reply_err(request, result == 0 ? 0 : errno);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  const std::span<std::byte> out = fuse::ReplyBuffer(request);
  const ssize_t got = pread(FdOf(file), out.data(), std::min(size, out.size()), offset);
  if (got < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_buf(request, reinterpret_cast<const char*>(out.data()), static_cast<size_t>(got));
}

void Write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
           fuse_file_info* file) {
  const ssize_t put = pwrite(FdOf(file), data, size, offset);
  if (put < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_write(request, static_cast<size_t>(put));
}

void StatFs(fuse_req_t request, fuse_ino_t id) {
  struct statvfs space {};
  if (fstatvfs(Passthrough::Of(request)->FdOf(id), &space) != 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_statfs(request, &space);
}

void Allocate(fuse_req_t request, fuse_ino_t, int mode, off_t offset, off_t length,
              fuse_file_info* file) {
  const int result = fallocate(FdOf(file), mode, offset, length);
  fuse_reply_err(request, result == 0 ? 0 : errno);
}

void Seek(fuse_req_t request, fuse_ino_t, off_t offset, int whence, fuse_file_info* file) {
  const off_t found = lseek(FdOf(file), offset, whence);
  if (found < 0) {
    fuse_reply_err(request, errno);
    return;
  }
  fuse_reply_lseek(request, found);
}

// The kernel remembers this answer and asks no more: else each write(2) costs a request for
// security.capability.
void GetXattr(fuse_req_t request, fuse_ino_t, const char*, size_t) {
  fuse_reply_err(request, ENOSYS);
}

}  // namespace

void AddFileOps(fuse_lowlevel_ops* ops) {
  ops->create = &Create;
  ops->open = &Open;
  ops->release = &Release;
  ops->flush = &Flush;
  ops->fsync = &Sync;
  ops->read = &Read;
  ops->write = &Write;
  ops->statfs = &StatFs;
  ops->fallocate = &Allocate;
  ops->lseek = &Seek;
  ops->getxattr = &GetXattr;
}

}  // namespace sheen::ceiling
