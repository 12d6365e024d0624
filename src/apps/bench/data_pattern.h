// What the benchmarks write, so that a reader can tell lost, torn and misplaced data: the 8-byte
// word at byte offset o of the file of writer w is PatternWord(w, o). Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace sheen::bench {

uint64_t PatternWord(uint64_t writer, uint64_t offset);

// Fills with the bytes from `offset` on; the last word may be cut. REQUIRES: offset % 8 == 0.
void FillPattern(uint64_t writer, uint64_t offset, std::span<std::byte> out);

// The first word that is not as FillPattern makes it; what a cut word lacks counts as right.
struct WrongWord {
  uint64_t offset, expected, found;
};
std::optional<WrongWord> FirstWrong(uint64_t writer, uint64_t offset,
                                    std::span<const std::byte> data);

}  // namespace sheen::bench
