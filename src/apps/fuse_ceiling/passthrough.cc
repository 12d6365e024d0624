#include "apps/fuse_ceiling/passthrough.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>

namespace sheen::ceiling {

Result<std::unique_ptr<Passthrough>> Passthrough::Open(const std::string& directory,
                                                       PassthroughOptions options) {
  std::unique_ptr<Passthrough> out(new Passthrough());
  out->options_ = options;
  out->root_.fd = open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (out->root_.fd < 0) return FailErrno(errno, fmt::format("open {}", directory));
  return out;
}

Passthrough::~Passthrough() {
  for (Part& part : parts_) {
    for (const auto& [key, inode] : part.inodes) close(inode->fd);
  }
  if (root_.fd >= 0) close(root_.fd);
}

int Passthrough::LookUp(fuse_ino_t parent, const char* name, fuse_entry_param* entry) {
  *entry = {};
  entry->attr_timeout = options_.timeout_seconds;
  entry->entry_timeout = options_.timeout_seconds;
  const int fd = openat(FdOf(parent), name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  if (fstatat(fd, "", &entry->attr, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) != 0) {
    const int failed = errno;
    close(fd);
    return failed;
  }
  const Key key{.number = entry->attr.st_ino, .device = entry->attr.st_dev};
  Part& part = PartOf(key.number);
  std::unique_lock lock(part.mutex);
  std::unique_ptr<Inode>& inode = part.inodes[key];
  const bool known = inode != nullptr;
  if (!known) {
    inode = std::make_unique<Inode>(
        Inode{.fd = fd, .number = key.number, .device = key.device, .lookups = 0});
  }
  ++inode->lookups;
  entry->ino = reinterpret_cast<fuse_ino_t>(inode.get());
  lock.unlock();
  if (known) close(fd);
  return 0;
}

void Passthrough::Forget(fuse_ino_t id, uint64_t lookups) {
  if (id == FUSE_ROOT_ID) return;
  Inode* inode = At(id);
  Part& part = PartOf(inode->number);
  std::unique_ptr<Inode> last;
  {
    std::lock_guard lock(part.mutex);
    inode->lookups -= std::min(lookups, inode->lookups);
    if (inode->lookups > 0) return;
    auto node = part.inodes.extract(Key{.number = inode->number, .device = inode->device});
    if (!node.empty()) last = std::move(node.mapped());
  }
  if (last != nullptr) close(last->fd);
}

const fuse_lowlevel_ops& Passthrough::Ops() {
  static const fuse_lowlevel_ops ops = [] {
    fuse_lowlevel_ops out{};
    AddNameOps(&out);
    AddFileOps(&out);
    AddDirectoryOps(&out);
    return out;
  }();
  return ops;
}

}  // namespace sheen::ceiling
