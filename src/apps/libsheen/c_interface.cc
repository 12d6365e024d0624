// sheen/sheen.h over sheen/client.h.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sheen/client.h"
#include "sheen/sheen.h"

struct sheen_mount {
  std::unique_ptr<sheen::Mount> mount;
};
struct sheen_file {
  std::unique_ptr<sheen::File> file;
};

namespace {

thread_local std::string last_error;

int Failed(const sheen::Error& error) {
  const int number = sheen::ErrnoOf(error.code());
  last_error = error.message().empty() ? std::strerror(number)
                                       : error.message() + ": " + std::strerror(number);
  return -number;
}

int Finish(const sheen::Status& status) { return status ? 0 : Failed(status.error()); }

ssize_t Finish(const sheen::Result<size_t>& result) {
  return result ? static_cast<ssize_t>(*result) : Failed(result.error());
}

int Finish(const sheen::Result<struct stat>& result, struct stat* out) {
  if (!result) return Failed(result.error());
  *out = *result;
  return 0;
}

int Finish(sheen::Result<std::unique_ptr<sheen::File>> result, sheen_file** out) {
  if (!result) return Failed(result.error());
  *out = new sheen_file{std::move(*result)};
  return 0;
}

std::span<std::byte> Bytes(void* buffer, size_t bytes) {
  return {static_cast<std::byte*>(buffer), bytes};
}
std::span<const std::byte> Bytes(const void* buffer, size_t bytes) {
  return {static_cast<const std::byte*>(buffer), bytes};
}

sheen::File::Done Telling(sheen_done done, void* argument) {
  return [done, argument](sheen::Result<size_t> result) { done(argument, Finish(result)); };
}

}  // namespace

extern "C" {

const char* sheen_error(void) { return last_error.c_str(); }

int sheen_connect(const char* source, uint16_t port, sheen_mount** out) {
  sheen::ConnectOptions options;
  if (port != 0) options.port = port;
  auto mount = sheen::Mount::Connect(source, options);
  if (!mount) return Failed(mount.error());
  *out = new sheen_mount{std::move(*mount)};
  return 0;
}

int sheen_disconnect(sheen_mount* mount) {
  const int status = mount == nullptr ? 0 : Finish(mount->mount->Disconnect());
  delete mount;
  return status;
}

int sheen_open(sheen_mount* mount, const char* path, int flags, mode_t mode, sheen_file** out) {
  return Finish(mount->mount->Open(path, flags, mode), out);
}

int sheen_create_striped(sheen_mount* mount, const char* path, int flags, mode_t mode,
                         uint32_t stripe_count, uint64_t stripe_bytes, sheen_file** out) {
  return Finish(mount->mount->Create(path, flags, mode, {stripe_count, stripe_bytes}), out);
}

int sheen_close(sheen_file* file) {
  const int status = Finish(file->file->Close());
  delete file;
  return status;
}

ssize_t sheen_pread(sheen_file* file, void* buffer, size_t bytes, uint64_t offset) {
  return Finish(file->file->Read(offset, Bytes(buffer, bytes)));
}

ssize_t sheen_pwrite(sheen_file* file, const void* buffer, size_t bytes, uint64_t offset) {
  return Finish(file->file->Write(offset, Bytes(buffer, bytes)));
}

void sheen_pread_async(sheen_file* file, void* buffer, size_t bytes, uint64_t offset,
                       sheen_done done, void* argument) {
  file->file->ReadAsync(offset, Bytes(buffer, bytes), Telling(done, argument));
}

void sheen_pwrite_async(sheen_file* file, const void* buffer, size_t bytes, uint64_t offset,
                        sheen_done done, void* argument) {
  file->file->WriteAsync(offset, Bytes(buffer, bytes), Telling(done, argument));
}

int sheen_fsync(sheen_file* file) { return Finish(file->file->Sync()); }

int sheen_ftruncate(sheen_file* file, uint64_t size) { return Finish(file->file->Truncate(size)); }

int sheen_fstat(sheen_file* file, struct stat* out) { return Finish(file->file->Stat(), out); }

int sheen_stat(sheen_mount* mount, const char* path, struct stat* out) {
  return Finish(mount->mount->Stat(path), out);
}

int sheen_lstat(sheen_mount* mount, const char* path, struct stat* out) {
  return Finish(mount->mount->LinkStat(path), out);
}

int sheen_mkdir(sheen_mount* mount, const char* path, mode_t mode) {
  return Finish(mount->mount->MakeDirectory(path, mode));
}

int sheen_rmdir(sheen_mount* mount, const char* path) {
  return Finish(mount->mount->RemoveDirectory(path));
}

int sheen_unlink(sheen_mount* mount, const char* path) {
  return Finish(mount->mount->Unlink(path));
}

int sheen_rename(sheen_mount* mount, const char* from, const char* to) {
  return Finish(mount->mount->Rename(from, to));
}

int sheen_link(sheen_mount* mount, const char* existing, const char* path) {
  return Finish(mount->mount->Link(existing, path));
}

int sheen_symlink(sheen_mount* mount, const char* target, const char* path) {
  return Finish(mount->mount->Symlink(target, path));
}

ssize_t sheen_readlink(sheen_mount* mount, const char* path, char* buffer, size_t bytes) {
  const auto target = mount->mount->ReadLink(path);
  if (!target) return Failed(target.error());
  const size_t fits = bytes == 0 ? 0 : std::min(target->size(), bytes - 1);
  std::copy_n(target->data(), fits, buffer);
  if (bytes > 0) buffer[fits] = '\0';
  return static_cast<ssize_t>(target->size());
}

int sheen_chmod(sheen_mount* mount, const char* path, mode_t mode) {
  return Finish(mount->mount->ChangeMode(path, mode));
}

int sheen_truncate(sheen_mount* mount, const char* path, uint64_t size) {
  return Finish(mount->mount->Truncate(path, size));
}

int sheen_readdir(sheen_mount* mount, const char* path, sheen_entry entry, void* argument) {
  const auto entries = mount->mount->ReadDirectory(path);
  if (!entries) return Failed(entries.error());
  for (const sheen::DirectoryEntry& one : *entries) {
    const int wanted = entry(argument, one.name.c_str(), one.type, one.inode);
    if (wanted != 0) return wanted;
  }
  return 0;
}

int sheen_set_striping(sheen_mount* mount, const char* directory, uint32_t stripe_count,
                       uint64_t stripe_bytes) {
  return Finish(mount->mount->SetStriping(directory, {stripe_count, stripe_bytes}));
}

int sheen_get_striping(sheen_file* file, uint64_t offset, uint32_t* stripe_count,
                       uint64_t* stripe_bytes) {
  const auto parts = file->file->Layout();
  if (!parts) return Failed(parts.error());
  for (const sheen::StripeInfo& part : *parts) {
    if (offset < part.start || offset >= part.end) continue;
    *stripe_count = part.stripe_count;
    *stripe_bytes = part.stripe_bytes;
    return 0;
  }
  return Failed(sheen::Error(sheen::Errc::kNoData, "nothing of the file is striped there"));
}

}  // extern "C"
