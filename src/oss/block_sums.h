// CRC32C per block of a range of an object: the pieces that multiples of `block_bytes` (object
// offsets) cut it into. They are what travels in OstWriteRequest and OstReadReply.
//
//   object offset   4096      8192      12288
//   range                |--a---|----b----|--c-|        3 sums; a and c are parts of blocks
//
// Pure functions.
#pragma once

#include <cstdint>

#include "base/bytes.h"
#include "google/protobuf/repeated_field.h"
#include "sheen/result.h"

namespace sheen::oss {

using BlockSums = google::protobuf::RepeatedField<uint32_t>;

inline constexpr uint32_t kBlockBytesMin = 512;
inline constexpr uint32_t kBlockBytesMax = 4 << 20;

// REQUIRES: block_bytes > 0.
void AppendBlockSums(uint64_t offset, ByteSpan data, uint32_t block_bytes, BlockSums* out);
// No sums: nothing is checked. Errors: kInvalid (block size, number of sums), kCorrupt with the
// block's offset, the expected and the found sum.
Status CheckBlockSums(uint64_t offset, ByteSpan data, uint32_t block_bytes, const BlockSums& sums);

}  // namespace sheen::oss
