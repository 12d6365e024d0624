// UringFileIo: FileIo on a shard's io_uring. What io_uring cannot do on the kernels we run on
// (ftruncate, lseek, statvfs, readdir) goes to the blocking pool; nothing blocks the shard.
//
// Shard-confined: call only on the owning shard. FileIds are file descriptors of the process, so
// an object opened on one shard may be read on another. The poller and the pool must outlive it,
// and calls must have returned before it is destroyed.
#pragma once

#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "io/file_io.h"
#include "io/uring.h"

namespace sheen::io {

class UringFileIo final : public FileIo {
 public:
  UringFileIo(UringPoller* uring, async::BlockingPool* pool) : uring_(uring), pool_(pool) {}

  async::Task<Result<FileId>> Open(std::string path, int flags) override;
  async::Task<Status> Close(FileId file) override;
  async::Task<Result<size_t>> Read(FileId file, MutableByteSpan out, uint64_t offset) override;
  async::Task<Status> Write(FileId file, ByteSpan data, uint64_t offset) override;
  async::Task<Status> SyncData(FileId file) override;
  async::Task<Status> SyncDirectory(std::string path) override;
  async::Task<Result<FileStat>> Stat(FileId file) override;
  async::Task<Result<FileStat>> StatPath(std::string path) override;
  async::Task<Status> Truncate(FileId file, uint64_t size) override;
  async::Task<Status> Allocate(FileId file, int mode, uint64_t offset, uint64_t length) override;
  async::Task<Result<uint64_t>> Seek(FileId file, uint64_t offset, int whence) override;
  async::Task<Status> Unlink(std::string path) override;
  async::Task<Status> MakeDirectory(std::string path) override;
  async::Task<Status> Rename(std::string from, std::string to) override;
  async::Task<Result<std::vector<std::string>>> List(std::string directory) override;
  async::Task<Result<DiskSpace>> Space(std::string path) override;

 private:
  UringPoller* const uring_;
  async::BlockingPool* const pool_;
};

}  // namespace sheen::io
