#include "io/buffer.h"

#include <sys/mman.h>

#include <array>
#include <bit>
#include <cstdlib>
#include <vector>

#include "base/log.h"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHEEN_ASAN 1
#endif
#endif
#ifdef SHEEN_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(address, size) ((void)(address), (void)(size))
#endif

// Free memory is kept per thread in one list per power of two from 4 KiB to 4 MiB, at most
// kCachedBytesMax in all; what exceeds it goes back to the system. A buffer freed on another
// thread joins that thread's lists, so no lock is taken.

namespace sheen::io {
namespace {

constexpr size_t kSmallestBytes = 4096;
constexpr size_t kLargestCachedBytes = size_t{4} << 20;
constexpr size_t kLargestBytes = size_t{64} << 20;
constexpr size_t kCachedBytesMax = size_t{32} << 20;
constexpr size_t kClassCount = 11;  // 2^12 .. 2^22
static_assert(kSmallestBytes << (kClassCount - 1) == kLargestCachedBytes);
// From here on memory comes from mmap: the allocator would waste a page on alignment.
constexpr size_t kMmapBytes = size_t{64} << 10;

std::byte* TakeFromSystem(size_t capacity) {
  void* memory = nullptr;
  if (capacity >= kMmapBytes) {
    memory = mmap(nullptr, capacity, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) memory = nullptr;
  } else {
    memory = std::aligned_alloc(kSmallestBytes, capacity);
  }
  SHEEN_ASSERT(memory != nullptr);
  return static_cast<std::byte*>(memory);
}

void GiveToSystem(std::byte* memory, size_t capacity) {
  ASAN_UNPOISON_MEMORY_REGION(memory, capacity);
  if (capacity >= kMmapBytes) {
    munmap(memory, capacity);
  } else {
    std::free(memory);
  }
}

size_t ClassOf(size_t capacity) {
  return static_cast<size_t>(std::countr_zero(capacity) - std::countr_zero(kSmallestBytes));
}

// Set once the thread's cache is gone: static objects may hold buffers for longer.
thread_local bool t_cache_gone = false;

class Cache final {
 public:
  Cache() = default;
  ~Cache() {
    t_cache_gone = true;
    for (size_t i = 0; i < kClassCount; ++i) {
      for (std::byte* memory : lists_[i]) GiveToSystem(memory, kSmallestBytes << i);
    }
  }
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  // nullptr when there is none.
  std::byte* Take(size_t capacity) {
    std::vector<std::byte*>& list = lists_[ClassOf(capacity)];
    if (list.empty()) return nullptr;
    std::byte* memory = list.back();
    list.pop_back();
    cached_bytes_ -= capacity;
    ASAN_UNPOISON_MEMORY_REGION(memory, capacity);
    return memory;
  }
  // False when the cache is full.
  bool Put(std::byte* memory, size_t capacity) {
    if (cached_bytes_ + capacity > kCachedBytesMax) return false;
    lists_[ClassOf(capacity)].push_back(memory);
    cached_bytes_ += capacity;
    ASAN_POISON_MEMORY_REGION(memory, capacity);
    return true;
  }

 private:
  std::array<std::vector<std::byte*>, kClassCount> lists_;
  size_t cached_bytes_ = 0;
};

thread_local Cache t_cache;

}  // namespace

Buffer Buffer::Allocate(size_t size) {
  SHEEN_ASSERT(size <= kLargestBytes);
  Buffer buffer;
  buffer.capacity_ = std::bit_ceil(size < kSmallestBytes ? kSmallestBytes : size);
  buffer.size_ = size;
  if (buffer.capacity_ <= kLargestCachedBytes && !t_cache_gone) {
    buffer.data_ = t_cache.Take(buffer.capacity_);
  }
  if (buffer.data_ == nullptr) buffer.data_ = TakeFromSystem(buffer.capacity_);
  return buffer;
}

void Buffer::Free() {
  if (data_ == nullptr) return;
  const bool cached =
      capacity_ <= kLargestCachedBytes && !t_cache_gone && t_cache.Put(data_, capacity_);
  if (!cached) GiveToSystem(data_, capacity_);
  data_ = nullptr;
  size_ = 0;
  capacity_ = 0;
}

}  // namespace sheen::io
