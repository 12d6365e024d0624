// File ranges against object ranges, for operations on whole ranges (fallocate, punch, seek).
// Inside one object the bytes of a file range are one contiguous range:
//
//   file     | s0 | s1 | s2 | s0 | s1 | s2 |      [a, b) from the middle of s1 to the middle of s0
//   object 1      |.###|         |####|           = [ObjectOffsetAtOrAfter(a), ...(b))
//
// Pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "layout/layout.h"

namespace sheen::client {

struct ObjectRange {
  uint32_t component = 0;
  uint32_t stripe = 0;
  uint64_t begin = 0;  // object offsets
  uint64_t end = 0;
};

// Number of this stripe's bytes whose absolute RAID0 file offset is below `file_offset`: the object
// offset of the stripe's first byte at or after it.
uint64_t ObjectOffsetAtOrAfter(const layout::Component& component, uint32_t stripe,
                               uint64_t file_offset);
// The file offset of an object byte.
uint64_t FileOffsetOf(const layout::Component& component, uint32_t stripe, uint64_t object_offset);
// The object ranges of [offset, offset + length) in instantiated components; empty ones left out.
std::vector<ObjectRange> ObjectRangesOf(const layout::Layout& layout, uint64_t offset,
                                        uint64_t length);

}  // namespace sheen::client
