#include "client/block_sums.h"

namespace sheen::client {

uint64_t BlockCount(uint64_t object_offset, uint64_t length, uint32_t block_bytes) {
  if (length == 0) return 0;
  const uint64_t first = object_offset / block_bytes;
  const uint64_t last = (object_offset + length - 1) / block_bytes;
  return last - first + 1;
}

}  // namespace sheen::client
