#include "s3/encoding.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <charconv>
#include <chrono>

namespace sheen::s3 {
namespace {

bool IsUnreserved(unsigned char c) {
  return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
         c == '_' || c == '.' || c == '~';
}

std::string Encode(std::string_view text, bool keep_slash) {
  static constexpr char kDigits[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(text.size() + text.size() / 4);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (IsUnreserved(byte) || (keep_slash && c == '/')) {
      out.push_back(c);
    } else {
      out.push_back('%');
      out.push_back(kDigits[byte >> 4]);
      out.push_back(kDigits[byte & 15]);
    }
  }
  return out;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Takes exactly `count` digits off the front.
bool TakeDigits(std::string_view* text, size_t count, int* out) {
  if (text->size() < count) return false;
  const std::optional<uint64_t> value = ParseNumber(text->substr(0, count));
  if (!value) return false;
  *out = static_cast<int>(*value);
  text->remove_prefix(count);
  return true;
}

bool TakeText(std::string_view* text, std::string_view expected) {
  if (!text->starts_with(expected)) return false;
  text->remove_prefix(expected.size());
  return true;
}

std::optional<Nanos> FromCivil(int year, int month, int day, int hour, int minute, int second) {
  using namespace std::chrono;
  const year_month_day date{std::chrono::year(year), std::chrono::month(unsigned(month)),
                            std::chrono::day(unsigned(day))};
  if (!date.ok() || year < 1970 || year > 2200 || hour > 23 || minute > 59 || second > 60) {
    return std::nullopt;
  }
  return sys_days(date).time_since_epoch() + hours(hour) + minutes(minute) + seconds(second);
}

}  // namespace

std::string EncodeQuery(std::string_view text) { return Encode(text, false); }
std::string EncodePath(std::string_view path) { return Encode(path, true); }

std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '+' && plus_is_space) {
      out.push_back(' ');
    } else if (text[i] == '%') {
      if (i + 2 >= text.size()) return std::nullopt;
      const int high = HexDigit(text[i + 1]);
      const int low = HexDigit(text[i + 2]);
      if (high < 0 || low < 0) return std::nullopt;
      out.push_back(static_cast<char>(high << 4 | low));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

std::string HexOf(std::string_view bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) {
    out.push_back(kDigits[static_cast<unsigned char>(c) >> 4]);
    out.push_back(kDigits[static_cast<unsigned char>(c) & 15]);
  }
  return out;
}

std::string Sha256Hex(std::string_view bytes) {
  std::array<char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), reinterpret_cast<unsigned char*>(digest.data()), &size,
             EVP_sha256(), nullptr);
  return HexOf({digest.data(), size});
}

std::string HmacSha256(std::string_view key, std::string_view bytes) {
  std::array<char, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
       reinterpret_cast<unsigned char*>(digest.data()), &size);
  return {digest.data(), size};
}

std::string AmzDate(Nanos wall) {
  using namespace std::chrono;
  const sys_seconds time{duration_cast<seconds>(wall)};
  const sys_days day = floor<days>(time);
  const year_month_day date(day);
  const hh_mm_ss clock(time - day);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", int(date.year()), unsigned(date.month()),
                     unsigned(date.day()), clock.hours().count(), clock.minutes().count(),
                     clock.seconds().count());
}

std::optional<Nanos> ParseIsoDate(std::string_view text) {
  int year, month, day, hour, minute, second;
  if (!TakeDigits(&text, 4, &year) || !TakeText(&text, "-") || !TakeDigits(&text, 2, &month) ||
      !TakeText(&text, "-") || !TakeDigits(&text, 2, &day) || !TakeText(&text, "T") ||
      !TakeDigits(&text, 2, &hour) || !TakeText(&text, ":") || !TakeDigits(&text, 2, &minute) ||
      !TakeText(&text, ":") || !TakeDigits(&text, 2, &second)) {
    return std::nullopt;
  }
  int64_t fraction = 0;
  if (TakeText(&text, ".")) {
    int64_t unit = 100'000'000;
    size_t digits = 0;
    for (; digits < text.size() && text[digits] >= '0' && text[digits] <= '9'; ++digits) {
      fraction += (text[digits] - '0') * unit;
      unit /= 10;
    }
    if (digits == 0) return std::nullopt;
    text.remove_prefix(digits);
  }
  if (text != "Z" && text != "+00:00") return std::nullopt;
  const std::optional<Nanos> whole = FromCivil(year, month, day, hour, minute, second);
  if (!whole) return std::nullopt;
  return *whole + Nanos(fraction);
}

std::optional<Nanos> ParseHttpDate(std::string_view text) {
  static constexpr std::string_view kMonths = "JanFebMarAprMayJunJulAugSepOctNovDec";
  const size_t comma = text.find(", ");
  if (comma == std::string_view::npos) return std::nullopt;
  text.remove_prefix(comma + 2);
  int day, year, hour, minute, second;
  if (!TakeDigits(&text, 2, &day) || !TakeText(&text, " ") || text.size() < 3) return std::nullopt;
  const size_t month = kMonths.find(text.substr(0, 3));
  if (month == std::string_view::npos || month % 3 != 0) return std::nullopt;
  text.remove_prefix(3);
  if (!TakeText(&text, " ") || !TakeDigits(&text, 4, &year) || !TakeText(&text, " ") ||
      !TakeDigits(&text, 2, &hour) || !TakeText(&text, ":") || !TakeDigits(&text, 2, &minute) ||
      !TakeText(&text, ":") || !TakeDigits(&text, 2, &second) || text != " GMT") {
    return std::nullopt;
  }
  return FromCivil(year, static_cast<int>(month / 3) + 1, day, hour, minute, second);
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\r' ||
                           text.front() == '\n')) {
    text.remove_prefix(1);
  }
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' ||
                           text.back() == '\n')) {
    text.remove_suffix(1);
  }
  return text;
}

std::optional<uint64_t> ParseNumber(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace sheen::s3
