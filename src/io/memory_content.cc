// The bytes of MemoryFileSystem's files: blocks, copy on write, what a sync makes durable.
#include <linux/falloc.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "io/memory_state.h"

namespace sheen::io {
namespace {

uint64_t BlockOf(uint64_t offset) { return offset / kMemoryBlockBytes; }
uint64_t BlocksFor(uint64_t bytes) {
  return bytes / kMemoryBlockBytes + (bytes % kMemoryBlockBytes != 0 ? 1 : 0);
}

// Largest file size, as ext4's with 4 KiB blocks.
constexpr uint64_t kFileBytesMax = uint64_t{16} << 40;

std::unexpected<Error> FailHandle(Errc code, const char* call, FileId file, const std::string& path,
                                  uint64_t offset) {
  const std::string what = path.empty() ? "file " + std::to_string(int32_t(file)) : path;
  return Fail(code, std::string(call) + " " + what + " at byte " + std::to_string(offset));
}

// Makes bytes at and beyond `size` zero, so that a later extension reads as zeros.
void CutTail(MemoryContent* content) {
  content->blocks.erase(content->blocks.lower_bound(BlocksFor(content->size)),
                        content->blocks.end());
  const uint64_t tail = content->size % kMemoryBlockBytes;
  const auto last = content->blocks.find(BlockOf(content->size));
  if (tail == 0 || last == content->blocks.end()) return;
  last->second = std::make_shared<MemoryBlock>(*last->second);
  std::memset(last->second->data() + tail, 0, kMemoryBlockBytes - tail);
}

void CopyBlock(const MemoryContent& from, MemoryContent* to, uint64_t index) {
  const auto found = from.blocks.find(index);
  if (found == from.blocks.end()) {
    to->blocks.erase(index);
  } else {
    to->blocks[index] = found->second;
  }
}

}  // namespace

MemoryBlock* MemoryFileSystem::State::WritableBlock(MemoryNode* node, uint64_t index) {
  MemoryBlockRef& block = node->now.blocks[index];
  if (!block) {
    block = std::make_shared<MemoryBlock>();
    block->fill(std::byte{0});
    ++used_blocks;
  } else if (block.use_count() > 1) {
    block = std::make_shared<MemoryBlock>(*block);
  }
  node->dirty_blocks.insert(index);
  return block.get();
}

void MemoryFileSystem::State::DropBlock(MemoryNode* node, uint64_t index) {
  if (node->now.blocks.erase(index) == 0) return;
  --used_blocks;
  node->dirty_blocks.insert(index);
}

Status MemoryFileSystem::State::CheckRoom(const MemoryNode& node, uint64_t begin,
                                          uint64_t end) const {
  uint64_t missing = 0;
  for (uint64_t index = BlockOf(begin); index < BlocksFor(end); ++index) {
    if (!node.now.blocks.contains(index)) ++missing;
  }
  if ((used_blocks + missing) * kMemoryBlockBytes > options.capacity_bytes && missing > 0) {
    return Fail(Errc::kNoSpace);
  }
  return {};
}

void MemoryFileSystem::State::SetSize(MemoryNode* node, uint64_t size) {
  if (size < node->now.size) {
    std::vector<uint64_t> beyond;
    for (auto at = node->now.blocks.lower_bound(BlocksFor(size)); at != node->now.blocks.end();
         ++at) {
      beyond.push_back(at->first);
    }
    for (const uint64_t index : beyond) DropBlock(node, index);
    const uint64_t tail = size % kMemoryBlockBytes;
    if (tail != 0 && node->now.blocks.contains(BlockOf(size))) {
      MemoryBlock* const block = WritableBlock(node, BlockOf(size));
      std::memset(block->data() + tail, 0, kMemoryBlockBytes - tail);
    }
  }
  node->now.size = size;
  node->dirty_size = true;
}

void MemoryFileSystem::State::ZeroRange(MemoryNode* node, uint64_t begin, uint64_t end,
                                        bool punch) {
  for (uint64_t at = begin; at < end;) {
    const uint64_t index = BlockOf(at);
    const uint64_t stop = std::min(end, (index + 1) * kMemoryBlockBytes);
    const bool whole = stop - at == kMemoryBlockBytes;
    if (punch && whole) {
      DropBlock(node, index);
    } else if (!punch || node->now.blocks.contains(index)) {
      std::memset(WritableBlock(node, index)->data() + at % kMemoryBlockBytes, 0, stop - at);
    }
    at = stop;
  }
}

Result<size_t> MemoryFileSystem::State::Read(FileId file, MutableByteSpan out, uint64_t offset) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "read", file, "", offset);
  const auto fail = [&](Errc code) {
    return FailHandle(code, "read", file, (*handle)->path, offset);
  };
  const MemoryNode& node = *(*handle)->node;
  if (!(*handle)->readable) return fail(Errc::kBadHandle);
  if (node.is_directory) return fail(Errc::kIsDirectory);
  if (fail_reads != Errc::kOk) return fail(fail_reads);
  if (offset >= node.now.size) return size_t{0};
  const size_t size = std::min<uint64_t>(out.size(), node.now.size - offset);
  for (size_t done = 0; done < size;) {
    const uint64_t at = offset + done;
    const size_t inside = at % kMemoryBlockBytes;
    const size_t part = std::min<size_t>(size - done, kMemoryBlockBytes - inside);
    const auto block = node.now.blocks.find(BlockOf(at));
    if (block == node.now.blocks.end()) {
      std::memset(out.data() + done, 0, part);
    } else {
      std::memcpy(out.data() + done, block->second->data() + inside, part);
    }
    done += part;
  }
  return size;
}

Status MemoryFileSystem::State::Write(FileId file, ByteSpan data, uint64_t offset, int64_t now_ns) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "write", file, "", offset);
  const auto fail = [&](Errc code) {
    return FailHandle(code, "write", file, (*handle)->path, offset);
  };
  MemoryNode* const node = (*handle)->node.get();
  if (!(*handle)->writable) return fail(Errc::kBadHandle);
  if (fail_writes != Errc::kOk) return fail(fail_writes);
  if (offset > kFileBytesMax || data.size() > kFileBytesMax - offset) {
    return fail(Errc::kFileTooBig);
  }
  const uint64_t end = offset + data.size();
  if (!data.empty() && !CheckRoom(*node, offset, end)) return fail(Errc::kNoSpace);
  for (uint64_t at = offset; at < end;) {
    const uint64_t stop = std::min(end, (BlockOf(at) + 1) * kMemoryBlockBytes);
    std::memcpy(WritableBlock(node, BlockOf(at))->data() + at % kMemoryBlockBytes,
                data.data() + (at - offset), stop - at);
    at = stop;
  }
  if (end > node->now.size && !data.empty()) SetSize(node, end);
  node->mtime_ns = now_ns;
  return {};
}

Status MemoryFileSystem::State::SyncData(FileId file) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "fdatasync", file, "", 0);
  MemoryNode* const node = (*handle)->node.get();
  const std::set<uint64_t> blocks = std::exchange(node->dirty_blocks, {});
  const bool size_changed = std::exchange(node->dirty_size, false);
  if (fail_syncs != Errc::kOk) {
    return FailHandle(fail_syncs, "fdatasync", file, (*handle)->path, 0);
  }
  for (const uint64_t index : blocks) CopyBlock(node->now, &node->durable, index);
  if (size_changed) node->durable.size = node->now.size;
  CutTail(&node->durable);
  return {};
}

Result<FileStat> MemoryFileSystem::State::Stat(FileId file) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "stat", file, "", 0);
  const MemoryNode& node = *(*handle)->node;
  return FileStat{.size = node.now.size,
                  .allocated_bytes = node.now.blocks.size() * kMemoryBlockBytes,
                  .mtime_ns = node.mtime_ns,
                  .is_directory = node.is_directory};
}

Status MemoryFileSystem::State::Truncate(FileId file, uint64_t size, int64_t now_ns) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "truncate", file, "", size);
  const auto fail = [&](Errc code) {
    return FailHandle(code, "truncate", file, (*handle)->path, size);
  };
  if (!(*handle)->writable) return fail(Errc::kInvalid);
  if (fail_writes != Errc::kOk) return fail(fail_writes);
  if (size > kFileBytesMax) return fail(Errc::kFileTooBig);
  SetSize((*handle)->node.get(), size);
  (*handle)->node->mtime_ns = now_ns;
  return {};
}

Status MemoryFileSystem::State::Allocate(FileId file, int mode, uint64_t offset, uint64_t length) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "fallocate", file, "", offset);
  const auto fail = [&](Errc code) {
    return FailHandle(code, "fallocate", file, (*handle)->path, offset);
  };
  constexpr int kPunch = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  const int base_mode = mode & ~FALLOC_FL_KEEP_SIZE;
  if (!(*handle)->writable) return fail(Errc::kBadHandle);
  if (length == 0) return fail(Errc::kInvalid);
  if (mode != kPunch && base_mode != 0 && base_mode != FALLOC_FL_ZERO_RANGE) {
    return fail(Errc::kNotSupported);
  }
  if (offset > kFileBytesMax || length > kFileBytesMax - offset) return fail(Errc::kFileTooBig);
  if (fail_writes != Errc::kOk) return fail(fail_writes);
  MemoryNode* const node = (*handle)->node.get();
  const uint64_t end = offset + length;
  if (mode == kPunch) {
    ZeroRange(node, offset, end, /*punch=*/true);
    return {};
  }
  if (!CheckRoom(*node, offset, end)) return fail(Errc::kNoSpace);
  if (base_mode == FALLOC_FL_ZERO_RANGE) ZeroRange(node, offset, end, /*punch=*/false);
  for (uint64_t index = BlockOf(offset); index < BlocksFor(end); ++index) {
    (void)WritableBlock(node, index);
  }
  if ((mode & FALLOC_FL_KEEP_SIZE) == 0 && end > node->now.size) SetSize(node, end);
  return {};
}

Result<uint64_t> MemoryFileSystem::State::Seek(FileId file, uint64_t offset, int whence) {
  const auto handle = HandleOf(file);
  if (!handle) return FailHandle(Errc::kBadHandle, "lseek", file, "", offset);
  const auto fail = [&](Errc code) {
    return FailHandle(code, "lseek", file, (*handle)->path, offset);
  };
  if (whence != SEEK_DATA && whence != SEEK_HOLE) return fail(Errc::kInvalid);
  const MemoryContent& content = (*handle)->node->now;
  if (offset >= content.size) return fail(Errc::kNoDevice);
  if (whence == SEEK_DATA) {
    const auto next = content.blocks.lower_bound(BlockOf(offset));
    const bool found =
        next != content.blocks.end() && next->first * kMemoryBlockBytes < content.size;
    if (!found) return fail(Errc::kNoDevice);
    return std::max(offset, next->first * kMemoryBlockBytes);
  }
  uint64_t index = BlockOf(offset);
  while (content.blocks.contains(index)) ++index;
  return std::min(content.size, std::max(offset, index * kMemoryBlockBytes));
}

void MemoryFileSystem::State::KeepSomeOfFile(MemoryNode* node, Random* keep) {
  for (const uint64_t index : node->dirty_blocks) {
    if (keep->OneIn(2)) CopyBlock(node->now, &node->durable, index);
  }
  if (node->dirty_size && keep->OneIn(2)) node->durable.size = node->now.size;
  CutTail(&node->durable);
}

}  // namespace sheen::io
