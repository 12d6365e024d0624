#include "s3/object.h"

#include <algorithm>

#include <charconv>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr uint32_t kSetUidBit = 04000;

std::optional<uint32_t> ParseId(std::string_view text) {
  const std::optional<uint64_t> value = ParseNumber(text);
  if (!value || *value >= UINT32_MAX) return std::nullopt;  // the last one means "no id"
  return static_cast<uint32_t>(*value);
}

std::optional<uint32_t> ParseMode(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 8);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (value > 0177777) return std::nullopt;
  return value & ~kSetUidBit;
}

std::optional<Nanos> ParseTime(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative) text.remove_prefix(1);
  const bool nanoseconds = text.ends_with("ns");
  if (nanoseconds) text.remove_suffix(2);
  const std::optional<uint64_t> value = ParseNumber(text);
  const uint64_t unit = nanoseconds ? 1 : 1'000'000;
  if (!value || *value > uint64_t(INT64_MAX) / unit) return std::nullopt;
  const Nanos time(static_cast<int64_t>(*value * unit));
  return negative ? -time : time;
}

}  // namespace

PosixMetadata ParsePosixMetadata(const NameValues& metadata) {
  PosixMetadata out;
  for (const auto& [name, value] : metadata) {
    if (name == "file-permissions") out.mode = ParseMode(value);
    if (name == "file-owner") out.uid = ParseId(value);
    if (name == "file-group") out.gid = ParseId(value);
    if (name == "file-atime") out.atime = ParseTime(value);
    if (name == "file-mtime") out.mtime = ParseTime(value);
  }
  return out;
}

bool IsETag(std::string_view text) {
  return !text.empty() &&
         std::ranges::all_of(text, [](char c) { return c >= ' ' && c <= '~'; });
}

bool IsArchived(std::string_view storage_class) {
  return storage_class == "GLACIER" || storage_class == "DEEP_ARCHIVE";
}

}  // namespace sheen::s3
