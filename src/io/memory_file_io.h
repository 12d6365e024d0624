// MemoryFileSystem and MemoryFileIo: the fake of FileIo for tests and the simulator.
//
// A file system object outlives the daemons that use it, as a disk does: a test stops a daemon,
// calls PowerCut() and starts another on what survived.
//
//   volatile state  --SyncData(file)-->       durable data and size of that file
//                   --SyncDirectory(path)-->  durable entries of that directory
//   PowerCut(): volatile := durable, every open FileId becomes invalid
//
// It is stricter than a real file system: an entry whose directory was not synced is lost even if
// its file was synced. A rename over two directories stays one step, as a journal makes it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "async/shard.h"
#include "base/random.h"
#include "io/file_io.h"

namespace sheen::io {

struct MemoryFileSystemOptions {
  uint64_t capacity_bytes = uint64_t{1} << 40;
  uint64_t device = 1;  // DiskSpace::device
};

struct MemoryNode;

// Thread-safe. The root directory "/" exists and is durable; so is every directory that
// MakeDurableDirectory() makes.
class MemoryFileSystem final {
 public:
  explicit MemoryFileSystem(MemoryFileSystemOptions options = {});
  ~MemoryFileSystem();
  MemoryFileSystem(const MemoryFileSystem&) = delete;
  MemoryFileSystem& operator=(const MemoryFileSystem&) = delete;

  // mkdir -p, synced at once: where a test's target lives.
  void MakeDurableDirectory(const std::string& path);

  // Everything that was not synced is gone. FileIds opened before give kBadHandle from now on.
  void PowerCut();
  // The same, but each unsynced 4 KiB block, size and directory survives or not by `random`:
  // torn writes.
  void PowerCutKeepingSome(Random* random);

  // A power cut, and until PowerOn() every call with a path fails with kIo (open files are gone).
  void PowerOff(Random* random);
  void PowerOn();

  // From now on Write, Truncate and Allocate (or the syncs, or the reads) fail so; kOk ends it.
  // A sync that failed marks the data clean, as Linux does: a later one that succeeds does not
  // save it.
  void FailWrites(Errc code);
  void FailSyncs(Errc code);
  void FailReads(Errc code);

  // Blocks held by files x 4 KiB.
  uint64_t used_bytes() const;
  // Flips one bit of what a file holds, volatile and durable: rot. False: no such byte.
  bool FlipBit(const std::string& path, uint64_t offset);

 private:
  friend class MemoryFileIo;
  struct State;
  std::unique_ptr<State> state_;
};

struct MemoryFileIoOptions {
  // Each call waits for a time between these two on the shard's timers, chosen from `seed`.
  Nanos latency_min{0};
  Nanos latency_max{0};
  uint64_t seed = 1;
};

// Shard-confined: call only on the owning shard. `file_system` and `shard` must outlive it;
// `shard` may be nullptr when there is no latency.
class MemoryFileIo final : public FileIo {
 public:
  MemoryFileIo(MemoryFileSystem* file_system, async::Shard* shard,
               MemoryFileIoOptions options = {});
  ~MemoryFileIo() override;

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
  async::Task<void> Delay();

  MemoryFileSystem* const file_system_;
  async::Shard* const shard_;
  const MemoryFileIoOptions options_;
  Random random_;
};

}  // namespace sheen::io
