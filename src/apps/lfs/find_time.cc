#include "apps/lfs/find_time.h"

#include <sys/stat.h>

#include <cerrno>
#include <ctime>

#include "apps/lfs/parse.h"

namespace sheen::lfs {

namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kSecondsMax = INT64_MAX / kSecond;
constexpr const char* kForms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                  "%Y-%m-%dT%H:%M", "%Y-%m-%d"};

int64_t Nanoseconds(const timespec& time) { return time.tv_sec * kSecond + time.tv_nsec; }

}  // namespace

std::optional<int64_t> ParseMoment(const std::string& text) {
  if (text.starts_with('@')) {
    const auto seconds = ParseInteger(text.substr(1));
    if (!seconds || *seconds > kSecondsMax || *seconds < -kSecondsMax) return std::nullopt;
    return *seconds * kSecond;
  }
  for (const char* form : kForms) {
    tm parts{};
    const char* const end = ::strptime(text.c_str(), form, &parts);
    if (end == nullptr || *end != '\0') continue;
    const int day = parts.tm_mday;
    parts.tm_isdst = -1;
    const time_t seconds = ::mktime(&parts);
    // The 31st of a month that has 30 days would be another day.
    if (parts.tm_mday != day || seconds > kSecondsMax || seconds < -kSecondsMax) {
      return std::nullopt;
    }
    return seconds * kSecond;
  }
  return std::nullopt;
}

std::expected<int64_t, OptionError> ReferenceTime(char y, const std::string& option,
                                                  const std::string& value) {
  if (y == 't') {
    const auto moment = ParseMoment(value);
    if (moment) return *moment;
    return std::unexpected(OptionError{"bad time '" + value + "' for -" + option +
                                           "; write 2024-05-01, '2024-05-01 10:00:00' or @SECONDS",
                                       kStatusUsage});
  }
  struct stat info {};
  if (::stat(value.c_str(), &info) != 0) {
    return std::unexpected(OptionError{"-" + option + " '" + value + "'", errno});
  }
  if (y == 'a') return Nanoseconds(info.st_atim);
  return Nanoseconds(y == 'c' ? info.st_ctim : info.st_mtim);
}

}  // namespace sheen::lfs
