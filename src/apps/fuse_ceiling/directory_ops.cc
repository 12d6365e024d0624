#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <span>
#include <string_view>

#include "apps/fuse_ceiling/passthrough.h"
#include "fuse/session.h"

namespace sheen::ceiling {
namespace {

struct OpenDirectory {
  DIR* stream = nullptr;
  dirent* pending = nullptr;  // read, did not fit into the last answer
  off_t offset = 0;
};

OpenDirectory* DirectoryOf(const fuse_file_info* file) {
  return reinterpret_cast<OpenDirectory*>(file->fh);
}

void Open(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  const int fd = openat(Passthrough::Of(request)->FdOf(id), ".", O_RDONLY | O_CLOEXEC);
  DIR* stream = fd < 0 ? nullptr : fdopendir(fd);
  if (stream == nullptr) {
    const int failed = errno;
    if (fd >= 0) close(fd);
    fuse_reply_err(request, failed);
    return;
  }
  auto directory = std::make_unique<OpenDirectory>();
  directory->stream = stream;
  file->fh = reinterpret_cast<uint64_t>(directory.get());
  if (fuse_reply_open(request, file) == -ENOENT) {
    closedir(stream);
    return;
  }
  (void)directory.release();
}

void Release(fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
  const std::unique_ptr<OpenDirectory> directory(DirectoryOf(file));
  closedir(directory->stream);
  fuse_reply_err(request, 0);
}

void Sync(fuse_req_t request, fuse_ino_t, int, fuse_file_info* file) {
  const int result = fsync(dirfd(DirectoryOf(file)->stream));
  fuse_reply_err(request, result == 0 ? 0 : errno);
}

bool IsDotOrDotDot(std::string_view name) { return name == "." || name == ".."; }

// Bytes of the entry; more than `space` when it does not fit; 0 for one that is gone.
size_t Add(fuse_req_t request, fuse_ino_t parent, const dirent& entry, std::span<char> space,
           bool plus) {
  fuse_entry_param param{};
  param.attr.st_ino = entry.d_ino;
  param.attr.st_mode = static_cast<mode_t>(entry.d_type) << 12;
  if (!plus) {
    return fuse_add_direntry(request, space.data(), space.size(), entry.d_name, &param.attr,
                             entry.d_off);
  }
  const bool looked_up = !IsDotOrDotDot(entry.d_name);
  if (looked_up && Passthrough::Of(request)->LookUp(parent, entry.d_name, &param) != 0) return 0;
  const size_t bytes = fuse_add_direntry_plus(request, space.data(), space.size(), entry.d_name,
                                              &param, entry.d_off);
  if (bytes > space.size() && looked_up) Passthrough::Of(request)->Forget(param.ino, 1);
  return bytes;
}

void List(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, fuse_file_info* file,
          bool plus) {
  OpenDirectory* directory = DirectoryOf(file);
  if (offset != directory->offset) {
    seekdir(directory->stream, offset);
    directory->pending = nullptr;
    directory->offset = offset;
  }
  const std::span<std::byte> out = fuse::ReplyBuffer(request);
  const std::span<char> space(reinterpret_cast<char*>(out.data()), std::min(size, out.size()));
  size_t used = 0;
  int failed = 0;
  for (;;) {
    if (directory->pending == nullptr) {
      errno = 0;
      directory->pending = readdir(directory->stream);
      if (directory->pending == nullptr) {
        failed = errno;
        break;
      }
    }
    const size_t bytes = Add(request, id, *directory->pending, space.subspan(used), plus);
    if (bytes > space.size() - used) break;
    used += bytes;
    directory->offset = directory->pending->d_off;
    directory->pending = nullptr;
  }
  // What has been gathered holds lookups: it must arrive, the error comes with the next call.
  if (failed != 0 && used == 0) {
    fuse_reply_err(request, failed);
    return;
  }
  fuse_reply_buf(request, space.data(), used);
}

void Read(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, fuse_file_info* file) {
  List(request, id, size, offset, file, false);
}

void ReadPlus(fuse_req_t request, fuse_ino_t id, size_t size, off_t offset, fuse_file_info* file) {
  List(request, id, size, offset, file, true);
}

}  // namespace

void AddDirectoryOps(fuse_lowlevel_ops* ops) {
  ops->opendir = &Open;
  ops->releasedir = &Release;
  ops->fsyncdir = &Sync;
  ops->readdir = &Read;
  ops->readdirplus = &ReadPlus;
}

}  // namespace sheen::ceiling
