#include "apps/bench/data_pattern.h"

#include <algorithm>
#include <cstring>

namespace sheen::bench {

uint64_t PatternWord(uint64_t writer, uint64_t offset) {
  uint64_t z = (writer << 48) ^ (writer >> 16) ^ offset ^ 0x9E3779B97F4A7C15ULL;
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL;
  return z ^ (z >> 31);
}

void FillPattern(uint64_t writer, uint64_t offset, std::span<std::byte> out) {
  for (size_t at = 0; at < out.size(); at += 8) {
    const uint64_t word = PatternWord(writer, offset + at);
    std::memcpy(&out[at], &word, std::min<size_t>(8, out.size() - at));
  }
}

std::optional<WrongWord> FirstWrong(uint64_t writer, uint64_t offset,
                                    std::span<const std::byte> data) {
  for (size_t at = 0; at < data.size(); at += 8) {
    const uint64_t expected = PatternWord(writer, offset + at);
    uint64_t found = expected;
    std::memcpy(&found, &data[at], std::min<size_t>(8, data.size() - at));
    if (found != expected) return WrongWord{offset + at, expected, found};
  }
  return std::nullopt;
}

}  // namespace sheen::bench
