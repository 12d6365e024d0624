#include "fsbench/pattern.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>

namespace fsbench {
namespace {

// The finaliser of SplitMix64 (Steele, Lea, Flood, OOPSLA 2014), over both numbers.
uint64_t Mix(uint64_t writer, uint64_t offset) {
  uint64_t z = (writer << 44) ^ offset ^ 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL;
  return z ^ (z >> 31);
}

uint64_t FirstStampAt(uint64_t offset) {
  return (offset + kBlockBytes - 1) / kBlockBytes * kBlockBytes;
}

}  // namespace

void Pattern::FreeDeleter::operator()(std::byte* memory) const { std::free(memory); }

Pattern::AlignedBytes Pattern::Allocate(size_t bytes) {
  void* memory = std::aligned_alloc(kBlockBytes, bytes);
  if (memory == nullptr) std::abort();
  std::memset(memory, 0, bytes);  // the first touch is slow: not in a measured phase
  return AlignedBytes(static_cast<std::byte*>(memory));
}

Pattern::Pattern() : table_(Allocate(2 * kMib)), read_(Allocate(kTransferBytesMax)) {
  std::mt19937_64 random(1);
  for (size_t at = 0; at < kMib; at += 8) {
    const uint64_t word = random();
    std::memcpy(&table_[at], &word, 8);
  }
  std::memcpy(&table_[kMib], &table_[0], kMib);
}

const std::byte* Pattern::Bytes(uint64_t writer, uint64_t offset, size_t bytes) {
  std::byte* const start = &table_[offset % kMib];
  for (uint64_t at = FirstStampAt(offset); at < offset + bytes; at += kBlockBytes) {
    const uint64_t stamp = Mix(writer, at);
    std::memcpy(start + (at - offset), &stamp, 8);
  }
  return start;
}

int64_t Pattern::FirstWrong(uint64_t writer, uint64_t offset, size_t bytes, Depth depth) const {
  const std::byte* const expected = &table_[offset % kMib];
  const std::byte* const found = read_.get();
  const uint64_t end = offset + bytes;
  for (uint64_t at = offset; at < end;) {
    const uint64_t next = std::min(end, (at / kBlockBytes + 1) * kBlockBytes);
    uint64_t plain = at;
    if (at % kBlockBytes == 0) {
      const uint64_t stamp = Mix(writer, at);
      if (std::memcmp(found + (at - offset), &stamp, 8) != 0) return static_cast<int64_t>(at);
      plain = at + 8;
    }
    if (depth == Depth::kEveryByte && next > plain &&
        std::memcmp(found + (plain - offset), expected + (plain - offset), next - plain) != 0) {
      return static_cast<int64_t>(plain);
    }
    at = next;
  }
  return -1;
}

}  // namespace fsbench
