#include "apps/lfs/parse.h"

#include <cctype>
#include <charconv>
#include <cstddef>

#include "layout/layout.h"

namespace sheen::lfs {

namespace {

__extension__ using Wide = unsigned __int128;

constexpr uint64_t kBareNumberIsKib = 4096;

bool TakeUnsigned(std::string_view* text, uint64_t* out) {
  int base = 10;
  if (text->starts_with("0x") || text->starts_with("0X")) {
    base = 16;
    text->remove_prefix(2);
  }
  const auto [next, error] = std::from_chars(text->data(), text->data() + text->size(), *out, base);
  if (error != std::errc()) return false;
  text->remove_prefix(static_cast<size_t>(next - text->data()));
  return true;
}

// Of the unit at the front: "k", "KB", "KiB", "b", "c"; 0 when there is none or more than a unit.
uint64_t UnitOf(std::string_view text) {
  const char letter = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  const std::string_view tail = text.substr(1);
  if (letter == 'c' || letter == 'b') return tail.empty() ? (letter == 'b' ? 512 : 1) : 0;
  constexpr std::string_view kLetters = "kmgtpe";
  const size_t power = kLetters.find(letter);
  if (power == std::string_view::npos) return 0;
  if (!tail.empty() && tail != "B" && tail != "b" && tail != "iB" && tail != "ib") return 0;
  return 1ULL << 10 * (power + 1);
}

}  // namespace

std::optional<ParsedSize> ParseSize(std::string_view text) {
  uint64_t whole = 0;
  if (!TakeUnsigned(&text, &whole)) return std::nullopt;
  Wide fraction = 0;
  Wide scale = 1;
  if (text.starts_with('.')) {
    text.remove_prefix(1);
    for (; !text.empty() && text[0] >= '0' && text[0] <= '9'; text.remove_prefix(1)) {
      if (scale >= 1'000'000'000'000) continue;  // further digits do not matter
      fraction = fraction * 10 + static_cast<uint64_t>(text[0] - '0');
      scale *= 10;
    }
  }
  ParsedSize size;
  uint64_t unit = 1;
  if (!text.empty()) {
    unit = UnitOf(text);
    if (unit == 0) return std::nullopt;
    size.has_unit = true;
  }
  const Wide bytes = static_cast<Wide>(whole) * unit + fraction * unit / scale;
  if (bytes > UINT64_MAX) return std::nullopt;
  size.bytes = static_cast<uint64_t>(bytes);
  return size;
}

std::optional<uint64_t> ParseStripeBytes(std::string_view text) {
  const auto size = ParseSize(text);
  if (!size) return std::nullopt;
  if (!size->has_unit && size->bytes < kBareNumberIsKib) return size->bytes << 10;
  return size->bytes;
}

std::optional<int64_t> ParseInteger(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  uint64_t value = 0;
  if (!TakeUnsigned(&text, &value) || !text.empty()) return std::nullopt;
  if (value > static_cast<uint64_t>(INT64_MAX)) return std::nullopt;
  return negative ? -static_cast<int64_t>(value) : static_cast<int64_t>(value);
}

std::optional<std::vector<uint32_t>> ParseIndexList(std::string_view text) {
  std::vector<uint32_t> out;
  for (;;) {
    uint64_t first = 0;
    if (!TakeUnsigned(&text, &first) || first > UINT32_MAX) return std::nullopt;
    uint64_t last = first;
    if (text.starts_with('-')) {
      text.remove_prefix(1);
      if (!TakeUnsigned(&text, &last) || last > UINT32_MAX || last < first) return std::nullopt;
    }
    if (last - first >= layout::kStripeCountMax - out.size()) return std::nullopt;
    for (uint64_t index = first; index <= last; ++index)
      out.push_back(static_cast<uint32_t>(index));
    if (text.empty()) return out;
    if (!text.starts_with(',')) return std::nullopt;
    text.remove_prefix(1);
  }
}

}  // namespace sheen::lfs
