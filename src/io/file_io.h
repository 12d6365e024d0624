// FileIo: files as a seam. UringFileIo does it on an io_uring; MemoryFileIo is the fake, which can
// lose what was not synced (a power cut), fail and fill up.
//
// One FileIo belongs to one shard (shard-confined), but a FileId is good for every FileIo of the
// same kind in the process, so an object opened on one shard may be read on another.
// Buffers must stay alive until the call returns. Error messages name the call and the path.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/bytes.h"
#include "sheen/result.h"

namespace sheen::io {

// A file descriptor for the real thing, a handle of the fake.
enum class FileId : int64_t { kNone = -1 };

struct FileStat {
  uint64_t size = 0;
  uint64_t allocated_bytes = 0;
  int64_t mtime_ns = 0;
  bool is_directory = false;
};

struct DiskSpace {
  uint64_t bytes_total = 0;
  uint64_t bytes_free = 0;  // for unprivileged use
  uint64_t files_total = 0;
  uint64_t files_free = 0;
  uint64_t device = 0;  // st_dev: OSTs that share a disk are told by it
};

class FileIo {
 public:
  virtual ~FileIo() = default;

  // `flags` as open(2) (O_RDWR, O_CREAT, O_EXCL, O_DIRECTORY, O_DIRECT ...); mode 0600.
  virtual async::Task<Result<FileId>> Open(std::string path, int flags) = 0;
  virtual async::Task<Status> Close(FileId file) = 0;
  // Bytes read; fewer than asked only at end of file. "buffered"
  virtual async::Task<Result<size_t>> Read(FileId file, MutableByteSpan out, uint64_t offset) = 0;
  // All or an error (kNoSpace, kIo ...). "buffered"
  virtual async::Task<Status> Write(FileId file, ByteSpan data, uint64_t offset) = 0;
  // fdatasync(2): data and size survive power loss when it returns.
  virtual async::Task<Status> SyncData(FileId file) = 0;
  // fsync(2) of a directory by path: its entries survive power loss.
  virtual async::Task<Status> SyncDirectory(std::string path) = 0;
  virtual async::Task<Result<FileStat>> Stat(FileId file) = 0;
  virtual async::Task<Result<FileStat>> StatPath(std::string path) = 0;
  virtual async::Task<Status> Truncate(FileId file, uint64_t size) = 0;
  // fallocate(2); `mode` as there.
  virtual async::Task<Status> Allocate(FileId file, int mode, uint64_t offset, uint64_t length) = 0;
  // lseek(2) SEEK_DATA / SEEK_HOLE; kNoDevice (ENXIO) beyond the end.
  virtual async::Task<Result<uint64_t>> Seek(FileId file, uint64_t offset, int whence) = 0;
  virtual async::Task<Status> Unlink(std::string path) = 0;
  virtual async::Task<Status> MakeDirectory(std::string path) = 0;  // kExists when there
  virtual async::Task<Status> Rename(std::string from, std::string to) = 0;
  virtual async::Task<Result<std::vector<std::string>>> List(std::string directory) = 0;
  virtual async::Task<Result<DiskSpace>> Space(std::string path) = 0;
};

}  // namespace sheen::io
