// Numbers, sizes and lists as lfs takes them. Pure; thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace sheen::lfs {

struct ParsedSize {
  uint64_t bytes = 0;
  bool has_unit = false;
};

// "64k", "1.5G", "4MiB", "0x10000", "2b" (512-byte blocks), "7c" (bytes); units are powers of 1024,
// any case. nullopt: not a size, negative, or above 2^64-1.
std::optional<ParsedSize> ParseSize(std::string_view text);
// The same for stripe sizes and component ends: below 4096 and without a unit it means KiB.
std::optional<uint64_t> ParseStripeBytes(std::string_view text);
// Decimal or 0x, "-" in front allowed.
std::optional<int64_t> ParseInteger(std::string_view text);
// "0,2-4,0x7": indexes in order, ranges inclusive; at most 2000 of them.
std::optional<std::vector<uint32_t>> ParseIndexList(std::string_view text);

}  // namespace sheen::lfs
