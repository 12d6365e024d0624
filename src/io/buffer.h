// Page-aligned buffers for bulk bytes, from a pool a thread keeps (first touch of memory is slow).
//
// A Buffer is move-only and may be freed on another thread than took it.
#pragma once

#include <cstddef>
#include <utility>

#include "base/bytes.h"

namespace sheen::io {

class Buffer final {
 public:
  Buffer() = default;
  // `size` bytes (capacity is rounded up to a power of two, at least 4 KiB), page-aligned,
  // contents undefined. REQUIRES: size <= 64 MiB.
  static Buffer Allocate(size_t size);
  Buffer(Buffer&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    if (this != &other) {
      Free();
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      capacity_ = std::exchange(other.capacity_, 0);
    }
    return *this;
  }
  ~Buffer() { Free(); }

  std::byte* data() { return data_; }
  const std::byte* data() const { return data_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  size_t capacity() const { return capacity_; }
  // REQUIRES: size <= capacity.
  void Resize(size_t size) { size_ = size; }
  MutableByteSpan span() { return {data_, size_}; }
  ByteSpan span() const { return {data_, size_}; }

 private:
  void Free();

  std::byte* data_ = nullptr;
  size_t size_ = 0;
  size_t capacity_ = 0;
};

}  // namespace sheen::io
