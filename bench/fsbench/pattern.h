// What fsbench writes, so that a reader can tell lost, torn and misplaced data without a copy.
//
// A file of writer w has at byte offset o, taken in words of 8 bytes:
//   o a multiple of 4 KiB   a stamp, Mix(w, o)
//   else                    word (o mod 1 MiB) / 8 of a table of random words, the same for all
// A write needs no copying: the bytes from offset o on stand in the buffer at o mod 1 MiB, and only
// their stamps are set anew. Offsets and lengths are multiples of 8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

namespace fsbench {

constexpr size_t kBlockBytes = 4096;
constexpr size_t kMib = size_t{1} << 20;
constexpr size_t kTransferBytesMax = kMib;

enum class Depth : uint8_t { kStamps, kEveryByte };

// One thread's buffers. Shard-confined: one thread at a time.
class Pattern final {
 public:
  Pattern();

  // The bytes of [offset, offset + bytes) of writer's file, valid until the next call.
  // REQUIRES: bytes <= kTransferBytesMax.
  const std::byte* Bytes(uint64_t writer, uint64_t offset, size_t bytes);

  // Where to read to: kTransferBytesMax bytes, aligned as O_DIRECT wants it.
  std::byte* read_buffer() { return read_.get(); }

  // Is what was read to read_buffer() what Bytes() gives? kStamps looks at one word of each 4 KiB.
  // Returns the file offset of the first wrong word, or -1.
  int64_t FirstWrong(uint64_t writer, uint64_t offset, size_t bytes, Depth depth) const;

 private:
  struct FreeDeleter {
    void operator()(std::byte* memory) const;
  };
  using AlignedBytes = std::unique_ptr<std::byte[], FreeDeleter>;
  static AlignedBytes Allocate(size_t bytes);

  AlignedBytes table_;  // twice the table: a transfer that begins in it ends in it
  AlignedBytes read_;
};

}  // namespace fsbench
