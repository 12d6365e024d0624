#include "apps/lctl/pool_names.h"

#include <charconv>
#include <optional>
#include <set>
#include <string_view>

#include "layout/ost_name.h"

namespace sheen::lctl {
namespace {

std::optional<uint32_t> ParseNumber(std::string_view text, int base) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// "3", "0-f", "0-f/2".
bool TakeRange(std::string_view text, std::vector<uint32_t>* out) {
  const size_t slash = text.find('/');
  uint32_t step = 1;
  if (slash != std::string_view::npos) {
    const auto given = ParseNumber(text.substr(slash + 1), 10);
    if (!given || *given == 0) return false;
    step = *given;
  }
  const std::string_view range = text.substr(0, slash);
  const size_t dash = range.find('-');
  const auto first = ParseNumber(range.substr(0, dash), 16);
  const auto last =
      dash == std::string_view::npos ? first : ParseNumber(range.substr(dash + 1), 16);
  if (!first || !last || *first > *last || *last > layout::kOstIndexMax) return false;
  if (slash != std::string_view::npos && dash == std::string_view::npos) return false;
  for (uint64_t index = *first; index <= *last; index += step) {
    out->push_back(static_cast<uint32_t>(index));
  }
  return true;
}

// What stands between '[' and ']', or a single number.
bool TakeIndexes(std::string_view text, std::vector<uint32_t>* out) {
  if (!text.starts_with('[')) {
    return text.find_first_of("-/,") == std::string_view::npos && TakeRange(text, out);
  }
  if (!text.ends_with(']')) return false;
  text = text.substr(1, text.size() - 2);
  for (;;) {
    const size_t comma = text.find(',');
    if (!TakeRange(text.substr(0, comma), out)) return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

}  // namespace

PoolName ParsePoolName(const std::string& text) {
  const size_t dot = text.find('.');
  if (dot == std::string::npos) return {.fsname = text, .pool = {}};
  return {.fsname = text.substr(0, dot), .pool = text.substr(dot + 1)};
}

Result<std::vector<uint32_t>> ParseOstNames(const std::string& fsname, const std::string& text) {
  constexpr std::string_view kSuffix = "_UUID";
  std::string_view rest = text;
  const size_t kind = rest.find("OST");
  const bool named = kind != std::string_view::npos;
  if (named && kind > 0 && rest.substr(0, kind) != fsname + "-") {
    return Fail(Errc::kInvalid, "OST '" + text + "' is not one of filesystem '" + fsname + "'");
  }
  std::vector<uint32_t> out;
  if (named) rest.remove_prefix(kind + 3);
  if (rest.ends_with(kSuffix)) rest.remove_suffix(kSuffix.size());
  if (!named || !TakeIndexes(rest, &out)) {
    return Fail(Errc::kInvalid, "'" + text + "' names no OST: write OST0001, " + fsname +
                                    "-OST0001 or OST[0-3,a]");
  }
  std::set<uint32_t> seen;
  std::erase_if(out, [&seen](uint32_t index) { return !seen.insert(index).second; });
  return out;
}

}  // namespace sheen::lctl
