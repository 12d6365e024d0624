#include "io/memory_file_io.h"

#include <utility>

#include "io/memory_state.h"

namespace sheen::io {
namespace {

// Wall time of the shard; without one, 0.
int64_t WallNanos(async::Shard* shard) { return shard == nullptr ? 0 : shard->WallNow().count(); }

}  // namespace

MemoryFileIo::MemoryFileIo(MemoryFileSystem* file_system, async::Shard* shard,
                           MemoryFileIoOptions options)
    : file_system_(file_system), shard_(shard), options_(options), random_(options.seed) {}

MemoryFileIo::~MemoryFileIo() = default;

async::Task<void> MemoryFileIo::Delay() {
  if (shard_ == nullptr || options_.latency_max <= Nanos(0)) co_return;
  const auto range = static_cast<uint64_t>((options_.latency_max - options_.latency_min).count());
  co_await shard_->Sleep(options_.latency_min + Nanos(random_.Below(range + 1)));
}

// Each call first takes its time and then happens at once: what is given must stay valid till then.

async::Task<Result<FileId>> MemoryFileIo::Open(std::string path, int flags) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Open(path, flags, WallNanos(shard_));
}

async::Task<Status> MemoryFileIo::Close(FileId file) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Close(file);
}

async::Task<Result<size_t>> MemoryFileIo::Read(FileId file, MutableByteSpan out, uint64_t offset) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Read(file, out, offset);
}

async::Task<Status> MemoryFileIo::Write(FileId file, ByteSpan data, uint64_t offset) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Write(file, data, offset, WallNanos(shard_));
}

async::Task<Status> MemoryFileIo::SyncData(FileId file) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->SyncData(file);
}

async::Task<Status> MemoryFileIo::SyncDirectory(std::string path) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->SyncDirectory(path);
}

async::Task<Result<FileStat>> MemoryFileIo::Stat(FileId file) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Stat(file);
}

async::Task<Result<FileStat>> MemoryFileIo::StatPath(std::string path) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->StatPath(path);
}

async::Task<Status> MemoryFileIo::Truncate(FileId file, uint64_t size) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Truncate(file, size, WallNanos(shard_));
}

async::Task<Status> MemoryFileIo::Allocate(FileId file, int mode, uint64_t offset,
                                           uint64_t length) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Allocate(file, mode, offset, length);
}

async::Task<Result<uint64_t>> MemoryFileIo::Seek(FileId file, uint64_t offset, int whence) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Seek(file, offset, whence);
}

async::Task<Status> MemoryFileIo::Unlink(std::string path) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Unlink(path);
}

async::Task<Status> MemoryFileIo::MakeDirectory(std::string path) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->MakeDirectory(path);
}

async::Task<Status> MemoryFileIo::Rename(std::string from, std::string to) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Rename(from, to);
}

async::Task<Result<std::vector<std::string>>> MemoryFileIo::List(std::string directory) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->List(directory);
}

async::Task<Result<DiskSpace>> MemoryFileIo::Space(std::string path) {
  co_await Delay();
  std::lock_guard lock(file_system_->state_->mutex);
  co_return file_system_->state_->Space(path);
}

}  // namespace sheen::io
