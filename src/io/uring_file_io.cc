#include "io/uring_file_io.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>

namespace sheen::io {
namespace {

// One request moves at most this much (Linux cuts at 2 GiB - 4 KiB: rw_verify_area, MAX_RW_COUNT).
constexpr size_t kRequestBytesMax = size_t{1} << 30;
constexpr unsigned kStatxMask = STATX_TYPE | STATX_SIZE | STATX_BLOCKS | STATX_MTIME;
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

// In a FileId, above the descriptor: the file lies in memory. Reading and writing it is a copy that
// never waits, and io_uring would hand each one to a worker thread (tmpfs does not know NOWAIT).
constexpr int64_t kInMemory = int64_t{1} << 32;
// Larger ones go to a worker all the same: meanwhile the shard serves others.
constexpr size_t kInlineBytesMax = size_t{64} << 10;

int Fd(FileId file) { return static_cast<int>(file); }

bool IsInMemory(FileId file) { return (static_cast<int64_t>(file) & kInMemory) != 0; }

FileId IdOf(int descriptor) {
  struct statfs filesystem {};
  const bool in_memory = fstatfs(descriptor, &filesystem) == 0 &&
                         (filesystem.f_type == TMPFS_MAGIC || filesystem.f_type == RAMFS_MAGIC);
  return static_cast<FileId>(descriptor | (in_memory ? kInMemory : 0));
}

// As a completion gives it: the count, or -errno.
int32_t Outcome(ssize_t returned) {
  return returned < 0 ? -errno : static_cast<int32_t>(returned);
}

bool IsTransient(int32_t result) { return result == -EINTR || result == -EAGAIN; }

// For messages only: what the descriptor was opened as.
std::string PathOf(FileId file) {
  const std::string link = "/proc/self/fd/" + std::to_string(Fd(file));
  char path[4096];
  const ssize_t size = readlink(link.c_str(), path, sizeof path);
  return size > 0 ? std::string(path, static_cast<size_t>(size)) : "file " + link;
}

std::unexpected<Error> FailFile(int32_t result, const char* call, FileId file) {
  return FailErrno(-result, std::string(call) + " " + PathOf(file));
}

std::unexpected<Error> FailFileAt(int32_t result, const char* call, FileId file, uint64_t offset) {
  return FailErrno(-result,
                   std::string(call) + " " + PathOf(file) + " at byte " + std::to_string(offset));
}

std::unexpected<Error> FailPath(int32_t result, const char* call, const std::string& path) {
  return FailErrno(-result, std::string(call) + " " + path);
}

FileStat StatOf(const struct statx& stat) {
  FileStat out;
  out.size = stat.stx_size;
  out.allocated_bytes = stat.stx_blocks * 512;
  out.mtime_ns = int64_t{stat.stx_mtime.tv_sec} * 1'000'000'000 + stat.stx_mtime.tv_nsec;
  out.is_directory = S_ISDIR(stat.stx_mode);
  return out;
}

Result<std::vector<std::string>> ListNow(const std::string& directory) {
  std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(directory.c_str()), closedir);
  if (!stream) return FailErrno(errno, "list " + directory);
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = readdir(stream.get());
    if (entry == nullptr) break;
    const std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  if (errno != 0) return FailErrno(errno, "list " + directory);
  return names;
}

Result<DiskSpace> SpaceNow(const std::string& path) {
  struct statvfs space {};
  struct stat stat {};
  if (statvfs(path.c_str(), &space) != 0) return FailErrno(errno, "statvfs " + path);
  if (::stat(path.c_str(), &stat) != 0) return FailErrno(errno, "stat " + path);
  DiskSpace out;
  out.bytes_total = uint64_t{space.f_blocks} * space.f_frsize;
  out.bytes_free = uint64_t{space.f_bavail} * space.f_frsize;
  out.files_total = space.f_files;
  out.files_free = space.f_favail;
  out.device = stat.st_dev;
  return out;
}

}  // namespace

async::Task<Result<FileId>> UringFileIo::Open(std::string path, int flags) {
  const int all_flags = flags | O_CLOEXEC;
  const int32_t result = co_await uring_->Do([&path, all_flags](io_uring_sqe* sqe) {
    io_uring_prep_openat(sqe, AT_FDCWD, path.c_str(), all_flags, kFileMode);
  });
  if (result < 0) co_return FailPath(result, "open", path);
  co_return IdOf(result);
}

async::Task<Status> UringFileIo::Close(FileId file) {
  const int32_t result =
      co_await uring_->Do([file](io_uring_sqe* sqe) { io_uring_prep_close(sqe, Fd(file)); });
  if (result < 0) co_return FailFile(result, "close", file);
  co_return Status{};
}

async::Task<Result<size_t>> UringFileIo::Read(FileId file, MutableByteSpan out, uint64_t offset) {
  size_t done = 0;
  while (done < out.size()) {
    const auto part = static_cast<unsigned>(std::min(out.size() - done, kRequestBytesMax));
    std::byte* target = out.data() + done;
    const uint64_t position = offset + done;
    const int32_t result =
        IsInMemory(file) && part <= kInlineBytesMax
            ? Outcome(pread(Fd(file), target, part, static_cast<off_t>(position)))
            : co_await uring_->Do([=](io_uring_sqe* sqe) {
                io_uring_prep_read(sqe, Fd(file), target, part, position);
              });
    if (IsTransient(result)) continue;
    if (result < 0) co_return FailFileAt(result, "read", file, position);
    if (result == 0) break;
    done += static_cast<size_t>(result);
  }
  co_return done;
}

async::Task<Status> UringFileIo::Write(FileId file, ByteSpan data, uint64_t offset) {
  size_t done = 0;
  while (done < data.size()) {
    const auto part = static_cast<unsigned>(std::min(data.size() - done, kRequestBytesMax));
    const std::byte* source = data.data() + done;
    const uint64_t position = offset + done;
    const int32_t result =
        IsInMemory(file) && part <= kInlineBytesMax
            ? Outcome(pwrite(Fd(file), source, part, static_cast<off_t>(position)))
            : co_await uring_->Do([=](io_uring_sqe* sqe) {
                io_uring_prep_write(sqe, Fd(file), source, part, position);
              });
    if (IsTransient(result)) continue;
    if (result < 0) co_return FailFileAt(result, "write", file, position);
    if (result == 0) co_return FailFileAt(-EIO, "write (took nothing)", file, position);
    done += static_cast<size_t>(result);
  }
  co_return Status{};
}

async::Task<Status> UringFileIo::SyncData(FileId file) {
  const int32_t result = IsInMemory(file) ? Outcome(fdatasync(Fd(file)))
                                          : co_await uring_->Do([file](io_uring_sqe* sqe) {
                                              io_uring_prep_fsync(sqe, Fd(file),
                                                                  IORING_FSYNC_DATASYNC);
                                            });
  if (result < 0) co_return FailFile(result, "fdatasync", file);
  co_return Status{};
}

async::Task<Status> UringFileIo::SyncDirectory(std::string path) {
  SHEEN_CO_TRY_ASSIGN(const FileId directory, co_await Open(path, O_RDONLY | O_DIRECTORY));
  const int32_t result = co_await uring_->Do(
      [directory](io_uring_sqe* sqe) { io_uring_prep_fsync(sqe, Fd(directory), 0); });
  const Status closed = co_await Close(directory);
  if (result < 0) co_return FailPath(result, "fsync", path);
  co_return closed;
}

async::Task<Result<FileStat>> UringFileIo::Stat(FileId file) {
  struct statx stat {};
  const int32_t result = co_await uring_->Do([file, &stat](io_uring_sqe* sqe) {
    io_uring_prep_statx(sqe, Fd(file), "", AT_EMPTY_PATH, kStatxMask, &stat);
  });
  if (result < 0) co_return FailFile(result, "stat", file);
  co_return StatOf(stat);
}

async::Task<Result<FileStat>> UringFileIo::StatPath(std::string path) {
  struct statx stat {};
  const int32_t result = co_await uring_->Do([&path, &stat](io_uring_sqe* sqe) {
    io_uring_prep_statx(sqe, AT_FDCWD, path.c_str(), 0, kStatxMask, &stat);
  });
  if (result < 0) co_return FailPath(result, "stat", path);
  co_return StatOf(stat);
}

async::Task<Status> UringFileIo::Truncate(FileId file, uint64_t size) {
  // Not inline: cutting a large file frees extents, which waits for the journal.
  const std::function<int()> work = [file, size] {
    return ftruncate(Fd(file), static_cast<off_t>(size)) == 0 ? 0 : -errno;
  };
  const int result = co_await pool_->Run<int>(work);
  if (result < 0) co_return FailFileAt(result, "truncate", file, size);
  co_return Status{};
}

async::Task<Status> UringFileIo::Allocate(FileId file, int mode, uint64_t offset, uint64_t length) {
  for (;;) {
    const int32_t result = co_await uring_->Do([=](io_uring_sqe* sqe) {
      io_uring_prep_fallocate(sqe, Fd(file), mode, static_cast<off_t>(offset),
                              static_cast<off_t>(length));
    });
    if (IsTransient(result)) continue;
    if (result < 0) co_return FailFileAt(result, "fallocate", file, offset);
    co_return Status{};
  }
}

async::Task<Result<uint64_t>> UringFileIo::Seek(FileId file, uint64_t offset, int whence) {
  const std::function<int64_t()> work = [=] {
    const off_t found = lseek(Fd(file), static_cast<off_t>(offset), whence);
    return found < 0 ? int64_t{-errno} : int64_t{found};
  };
  const int64_t result = co_await pool_->Run<int64_t>(work);
  if (result < 0) co_return FailFileAt(static_cast<int32_t>(result), "lseek", file, offset);
  co_return static_cast<uint64_t>(result);
}

async::Task<Status> UringFileIo::Unlink(std::string path) {
  const int32_t result = co_await uring_->Do(
      [&path](io_uring_sqe* sqe) { io_uring_prep_unlinkat(sqe, AT_FDCWD, path.c_str(), 0); });
  if (result < 0) co_return FailPath(result, "unlink", path);
  co_return Status{};
}

async::Task<Status> UringFileIo::MakeDirectory(std::string path) {
  const int32_t result = co_await uring_->Do([&path](io_uring_sqe* sqe) {
    io_uring_prep_mkdirat(sqe, AT_FDCWD, path.c_str(), kDirectoryMode);
  });
  if (result < 0) co_return FailPath(result, "mkdir", path);
  co_return Status{};
}

async::Task<Status> UringFileIo::Rename(std::string from, std::string to) {
  const int32_t result = co_await uring_->Do([&from, &to](io_uring_sqe* sqe) {
    io_uring_prep_renameat(sqe, AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(), 0);
  });
  if (result < 0) co_return FailPath(result, "rename", from + " to " + to);
  co_return Status{};
}

async::Task<Result<std::vector<std::string>>> UringFileIo::List(std::string directory) {
  using Names = Result<std::vector<std::string>>;
  const std::function<Names()> work = [&directory] { return ListNow(directory); };
  co_return co_await pool_->Run<Names>(work);
}

async::Task<Result<DiskSpace>> UringFileIo::Space(std::string path) {
  const std::function<Result<DiskSpace>()> work = [&path] { return SpaceNow(path); };
  co_return co_await pool_->Run<Result<DiskSpace>>(work);
}

}  // namespace sheen::io
