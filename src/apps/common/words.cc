#include "apps/common/words.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <filesystem>

#include "rpc/address.h"

namespace sheen::apps {

std::string Sentence(const Error& error) {
  const std::string& message = error.message();
  if (message.empty()) return error.ToString();
  const int number = static_cast<int>(error.code());
  if (number == 0 || number >= 1000) return message;  // ours: no errno
  const std::string meaning = std::strerror(number);
  if (message.find(meaning) != std::string::npos) return message;
  switch (error.code()) {
    case Errc::kReadOnly:
    case Errc::kNoSpace:
    case Errc::kAccess:
    case Errc::kPerm:
    case Errc::kNoMemory:
    case Errc::kQuota:
    case Errc::kNotDirectory:
      return fmt::format("{} ({})", message, meaning);
    default:
      break;
  }
  // Sentences of ours say what was wrong behind a colon or what to do behind a semicolon.
  const bool bare =
      message.find(": ") == std::string::npos && message.find(';') == std::string::npos;
  return bare ? fmt::format("{} ({})", message, meaning) : message;
}

Error WithStoreRemedy(const Error& error, const std::string& directory) {
  switch (error.code()) {
    case Errc::kCorrupt:
      return Error(error.code(),
                   fmt::format("{}; files of this target are damaged or missing, and nothing was "
                               "changed: look for errors of its disk (dmesg), then restore {} from "
                               "a backup or snapshot",
                               error.message(), directory));
    case Errc::kReadOnly:
      return Error(error.code(),
                   fmt::format("{}: {} is on a file system that is mounted read-only, and a server "
                               "writes at its start: mount it read-write (mount -o remount,rw); "
                               "the kernel makes one read-only after disk errors, see dmesg",
                               error.message(), directory));
    default:
      return error;
  }
}

Result<uint64_t> ParseSize(std::string_view text) {
  uint64_t number = 0;
  const char* const last = text.data() + text.size();
  const auto [end, error] = std::from_chars(text.data(), last, number);
  std::string unit(end, last);
  std::ranges::transform(unit, unit.begin(), [](unsigned char c) { return std::toupper(c); });
  if (unit.size() == 3 && unit.ends_with("IB")) unit.resize(1);
  if (unit == "B") unit.clear();
  static constexpr std::string_view kUnits = "KMGTPE";
  const size_t position = unit.empty() ? 0 : kUnits.find(unit);
  const uint32_t shift = unit.empty() ? 0 : 10 * (static_cast<uint32_t>(position) + 1);
  if (error != std::errc() || unit.size() > 1 || position == std::string_view::npos ||
      (shift > 0 && number >> (64 - shift) != 0)) {
    return Fail(Errc::kInvalid,
                fmt::format("'{}' is no size; write bytes, or a number with K, M, G or T", text));
  }
  return number << shift;
}

std::string FormatSize(uint64_t bytes) {
  static constexpr std::string_view kUnits = "BKMGTPE";
  size_t unit = 0;
  while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
    bytes /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{}", bytes) : fmt::format("{}{}", bytes, kUnits[unit]);
}

std::string NormalPath(const std::string& path) {
  namespace fs = std::filesystem;
  std::error_code error;
  fs::path absolute = fs::absolute(path, error).lexically_normal();
  if (!absolute.has_filename()) absolute = absolute.parent_path();
  const fs::path parent = fs::weakly_canonical(absolute.parent_path(), error);
  return error || !absolute.has_filename() ? absolute : parent / absolute.filename();
}

Status CheckFsname(std::string_view fsname) {
  const bool good =
      !fsname.empty() && fsname.size() <= 8 && std::ranges::all_of(fsname, [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '-' || c == '_';
      });
  if (good) return {};
  return Fail(Errc::kInvalid,
              fmt::format("fsname '{}': it must be 1 to 8 letters, digits, '-' or '_'", fsname));
}

bool IsWildcard(std::string_view host) {
  return host.empty() || host == "*" || host == "0.0.0.0" || host == "::";
}

Status CheckListen(std::string_view listen, const std::vector<std::string>& allow) {
  if (listen == "localhost" || rpc::IsLoopback(std::string(listen)) || !allow.empty()) return {};
  return Fail(Errc::kInvalid,
              fmt::format("--listen {} lets other machines connect, so it needs --allow with the "
                          "networks that may, such as --allow 10.0.0.0/8,127.0.0.0/8",
                          listen));
}

}  // namespace sheen::apps
