// The inside of MemoryFileSystem: nodes with a volatile and a durable half, and the operations of
// FileIo as plain functions on them. Included by memory_file_system.cc and memory_file_io.cc only.
//
// Not thread-safe: MemoryFileSystem::State's callers hold its mutex.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "io/memory_file_io.h"

namespace sheen::io {

inline constexpr uint64_t kMemoryBlockBytes = 4096;

// Shared by both halves until one of them changes it (copy on write). Immutable while shared.
using MemoryBlock = std::array<std::byte, kMemoryBlockBytes>;
using MemoryBlockRef = std::shared_ptr<MemoryBlock>;

struct MemoryContent {
  uint64_t size = 0;
  // Absent: a hole. Bytes at and beyond `size` are zero.
  std::map<uint64_t, MemoryBlockRef> blocks;
};

struct MemoryNode {
  using Ref = std::shared_ptr<MemoryNode>;
  using Entries = std::map<std::string, Ref>;

  bool is_directory = false;
  int64_t mtime_ns = 0;
  uint32_t links = 0;  // volatile entries that name it
  uint32_t opens = 0;  // handles
  // Of a file.
  MemoryContent now;
  MemoryContent durable;
  std::set<uint64_t> dirty_blocks;  // changed since the last sync
  bool dirty_size = false;
  // Of a directory.
  Entries entries;
  Entries durable_entries;
  // Directories that a rename tied to this one: their entries become durable together.
  std::vector<std::weak_ptr<MemoryNode>> tied;
};

struct MemoryFileSystem::State {
  struct Handle {
    MemoryNode::Ref node;
    std::string path;  // as opened, for messages
    bool readable = false;
    bool writable = false;
  };
  struct Place {  // a name in a directory, existing or not
    MemoryNode::Ref directory;
    std::string name;
  };

  explicit State(MemoryFileSystemOptions file_system_options);

  // Paths. Errors: kNoEntry, kNotDirectory, without context.
  Result<MemoryNode::Ref> Find(const std::string& path);
  Result<Place> FindPlace(const std::string& path);
  Result<Handle*> HandleOf(FileId file);

  Result<FileId> Open(const std::string& path, int flags, int64_t now_ns);
  Status Close(FileId file);
  Result<size_t> Read(FileId file, MutableByteSpan out, uint64_t offset);
  Status Write(FileId file, ByteSpan data, uint64_t offset, int64_t now_ns);
  Status SyncData(FileId file);
  Status SyncDirectory(const std::string& path);
  Result<FileStat> Stat(FileId file);
  Result<FileStat> StatPath(const std::string& path);
  Status Truncate(FileId file, uint64_t size, int64_t now_ns);
  Status Allocate(FileId file, int mode, uint64_t offset, uint64_t length);
  Result<uint64_t> Seek(FileId file, uint64_t offset, int whence);
  Status Unlink(const std::string& path);
  Status MakeDirectory(const std::string& path);
  Status Rename(const std::string& from, const std::string& to);
  Result<std::vector<std::string>> List(const std::string& path);
  Result<DiskSpace> Space(const std::string& path);
  // `keep`: asked for each unsynced thing; nullptr: nothing survives.
  void PowerCut(Random* keep);

  MemoryNode::Ref NewNode(bool is_directory);
  // A block that may be changed: present, unshared, marked dirty.
  MemoryBlock* WritableBlock(MemoryNode* node, uint64_t index);
  void DropBlock(MemoryNode* node, uint64_t index);
  void ZeroRange(MemoryNode* node, uint64_t begin, uint64_t end, bool punch);
  void SetSize(MemoryNode* node, uint64_t size);
  // Blocks of [begin, end) that are holes, if they fit. Errors: kNoSpace.
  Status CheckRoom(const MemoryNode& node, uint64_t begin, uint64_t end) const;
  // Room that nobody can reach any more is free.
  void MaybeFree(MemoryNode* node);
  void SyncEntries(MemoryNode* directory);
  void KeepSome(Random* keep);
  void KeepSomeOfFile(MemoryNode* node, Random* keep);
  void RevertTree(const MemoryNode::Ref& node);

  const MemoryFileSystemOptions options;
  mutable std::mutex mutex;  // guards everything below
  MemoryNode::Ref root;
  std::map<int32_t, Handle> handles;
  int32_t next_handle = 3;
  uint64_t used_blocks = 0;
  Errc fail_writes = Errc::kOk;
  Errc fail_syncs = Errc::kOk;
  Errc fail_reads = Errc::kOk;
  bool off = false;
};

}  // namespace sheen::io
