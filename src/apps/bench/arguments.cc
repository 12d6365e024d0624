#include "apps/bench/arguments.h"

#include <fmt/format.h>

#include <cctype>
#include <cstdlib>
#include <cstring>

namespace sheen::bench {

Result<uint64_t> ParseSize(std::string_view option, const char* text) {
  constexpr std::string_view kUnits = "kmgt";
  char* end = nullptr;
  const double number = std::strtod(text, &end);
  uint64_t unit = 1;
  if (end != text && *end != '\0') {
    const size_t power = kUnits.find(static_cast<char>(std::tolower(*end)));
    if (power == std::string_view::npos || end[1] != '\0') {
      return Fail(Errc::kInvalid, fmt::format("{} {}: not a size; use 64k, 1m, 2g", option, text));
    }
    unit = 1ULL << (10 * (power + 1));
  }
  const double bytes = number * static_cast<double>(unit);
  if (end == text || !(bytes >= 0) || bytes > 0x1p62) {
    return Fail(Errc::kInvalid, fmt::format("{} {}: not a size; use 64k, 1m, 2g", option, text));
  }
  return static_cast<uint64_t>(bytes);
}

Result<uint32_t> ParseCount(std::string_view option, const char* text, uint32_t least,
                            uint32_t most) {
  char* end = nullptr;
  errno = 0;
  const unsigned long long number = std::strtoull(text, &end, 10);
  if (end == text || *end != '\0' || std::strchr(text, '-') != nullptr || errno != 0 ||
      number < least || number > most) {
    return Fail(Errc::kInvalid,
                fmt::format("{} {}: must be a number from {} to {}", option, text, least, most));
  }
  return static_cast<uint32_t>(number);
}

}  // namespace sheen::bench
