// CRC32C per block of a piece of an object: the sums that travel in OstWriteRequest and
// OstReadReply, cut at multiples of `block_bytes` in object offsets.
//
//   object offset   4096      8192      12288
//   piece              |--a---|----b----|--c-|        3 sums: a, c partial blocks
//
// Pure functions.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sheen::client {

// REQUIRES: block_bytes > 0.
uint64_t BlockCount(uint64_t object_offset, uint64_t length, uint32_t block_bytes);
// Calls sink(crc) for each block in order.
template <class Sink>
void ForEachBlock(uint64_t object_offset, ByteSpan data, uint32_t block_bytes, Sink sink) {
  while (!data.empty()) {
    const uint64_t left_in_block = block_bytes - object_offset % block_bytes;
    const size_t take = left_in_block < data.size() ? left_in_block : data.size();
    sink(data.first(take));
    data = data.subspan(take);
    object_offset += take;
  }
}

}  // namespace sheen::client
