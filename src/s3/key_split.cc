#include "s3/key_split.h"

#include <algorithm>

namespace sheen::s3 {
namespace {

constexpr char32_t kLast = 0x10FFFF;
constexpr char32_t kSurrogates = 0xD800;
constexpr char32_t kBehindSurrogates = 0xE000;
// Names are mostly of these: tried before the thousands of points behind them.
constexpr char32_t kAsciiLast = 0x7E;

// Bytes of the sequence that `lead` begins; 0: it begins none.
size_t SequenceBytes(uint8_t lead) {
  if (lead < 0x80) return 1;
  if (lead >= 0xC2 && lead <= 0xDF) return 2;
  if (lead >= 0xE0 && lead <= 0xEF) return 3;
  if (lead >= 0xF0 && lead <= 0xF4) return 4;
  return 0;
}

// Some point between, both ends excluded; 0: there is none.
char32_t PointBetween(char32_t low, char32_t high) {
  if (low < kAsciiLast && high > kAsciiLast + 1) return kAsciiLast;
  if (high - low < 2) return 0;
  char32_t middle = low + (high - low) / 2;
  if (middle >= kSurrogates && middle < kBehindSurrogates) {
    if (high > kBehindSurrogates) return kBehindSurrogates;
    middle = low < kSurrogates - 1 ? kSurrogates - 1 : 0;
  }
  return middle;
}

}  // namespace

std::optional<std::vector<char32_t>> CodePoints(std::string_view text) {
  static constexpr char32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  std::vector<char32_t> out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t bytes = SequenceBytes(lead);
    if (bytes == 0 || i + bytes > text.size()) return std::nullopt;
    char32_t point = bytes == 1 ? lead : lead & (0xFF >> (bytes + 1));
    for (size_t k = 1; k < bytes; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if ((next & 0xC0) != 0x80) return std::nullopt;
      point = point << 6 | (next & 0x3F);
    }
    const bool surrogate = point >= kSurrogates && point < kBehindSurrogates;
    if (point < kLeast[bytes] || point > kLast || surrogate) return std::nullopt;
    out.push_back(point);
    i += bytes;
  }
  return out;
}

std::string Utf8Of(const std::vector<char32_t>& points) {
  std::string out;
  for (const char32_t c : points) {
    if (c < 0x80) {
      out.push_back(static_cast<char>(c));
    } else if (c < 0x800) {
      out.push_back(static_cast<char>(0xC0 | c >> 6));
      out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    } else if (c < 0x10000) {
      out.push_back(static_cast<char>(0xE0 | c >> 12));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    } else {
      out.push_back(static_cast<char>(0xF0 | c >> 18));
      out.push_back(static_cast<char>(0x80 | (c >> 12 & 0x3F)));
      out.push_back(static_cast<char>(0x80 | (c >> 6 & 0x3F)));
      out.push_back(static_cast<char>(0x80 | (c & 0x3F)));
    }
  }
  return out;
}

std::string CutBehind(const std::vector<char32_t>& key, size_t index) {
  std::vector<char32_t> cut(key.begin(), key.begin() + static_cast<ptrdiff_t>(index) + 1);
  cut.push_back(kLast);
  return Utf8Of(cut);
}

std::optional<std::string> CutBetween(std::string_view low, std::string_view high) {
  const auto a = CodePoints(low);
  const auto b = CodePoints(high);
  if (!a || !b || (!high.empty() && low >= high)) return std::nullopt;
  size_t same = 0;
  while (same < a->size() && same < b->size() && (*a)[same] == (*b)[same]) ++same;
  std::vector<char32_t> cut(a->begin(), a->begin() + static_cast<ptrdiff_t>(same));
  const char32_t from = same < a->size() ? (*a)[same] : 0;
  const char32_t to = same < b->size() ? (*b)[same] : kLast;
  const char32_t middle = PointBetween(from, to);
  if (middle == 0) return std::nullopt;
  cut.push_back(middle);
  std::string out = Utf8Of(cut);
  if (out <= low || (!high.empty() && out >= high)) return std::nullopt;
  return out;
}

}  // namespace sheen::s3
