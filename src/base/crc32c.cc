#include "base/crc32c.h"

#include <isa-l/crc.h>

namespace sheen {

uint32_t Crc32c(ByteSpan data, uint32_t seed) {
  // isa-l takes and gives the register without RFC 3720's inversions, and wants int lengths.
  uint32_t state = ~seed;
  constexpr size_t kChunkBytes = 1U << 30;
  while (!data.empty()) {
    const size_t size = data.size() < kChunkBytes ? data.size() : kChunkBytes;
    auto* bytes = reinterpret_cast<unsigned char*>(const_cast<std::byte*>(data.data()));
    state = crc32_iscsi(bytes, static_cast<int>(size), state);
    data = data.subspan(size);
  }
  return ~state;
}

}  // namespace sheen
