// Extent: a range of bytes of one object or file, half-open like every range in this repository:
//
//   [start, end)      end == kEof: everything from start on, whatever is written there later
//
// fcntl(2), FUSE and Lustre's messages have inclusive ends; FromInclusive and LastByte convert at
// the edge. Immutable values.
#pragma once

#include <compare>
#include <cstdint>

namespace sheen::lock {

inline constexpr uint64_t kEof = UINT64_MAX;
// The last offset that a file can have (OFFSET_MAX in the kernel). An inclusive end there or beyond
// is how the kernel, and fcntl with l_len 0, say "to the end".
inline constexpr uint64_t kLastByteMax = INT64_MAX;

struct Extent {
  uint64_t start = 0;
  uint64_t end = kEof;

  bool operator==(const Extent&) const = default;

  static constexpr Extent Whole() { return {0, kEof}; }
  static constexpr Extent FromInclusive(uint64_t start, uint64_t last) {
    return {start, last >= kLastByteMax ? kEof : last + 1};
  }
  // Inclusive end. REQUIRES: Valid().
  constexpr uint64_t LastByte() const { return end == kEof ? kLastByteMax : end - 1; }

  // Not empty, and no offset in it that a file cannot have.
  constexpr bool Valid() const {
    return start < end && start <= kLastByteMax && (end == kEof || end <= kLastByteMax);
  }
  constexpr bool Overlaps(const Extent& other) const {
    return start < other.end && other.start < end;
  }
  constexpr bool Contains(const Extent& other) const {
    return start <= other.start && other.end <= end;
  }
};

}  // namespace sheen::lock
