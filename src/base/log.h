// The daemon's log. One line an event; the level decides whether arguments are formatted at all.
//
//   SHEEN_LOG(Info, "mount {} ready in {} ms", path, ms);
//
// Thread-safe. LogToStderr() is the state at start; LogToFile() switches over.
#pragma once

#include <fmt/core.h>

#include <string>
#include <string_view>

#include "sheen/result.h"

namespace sheen {

enum class LogLevel : uint8_t { Debug = 0, Info = 1, Warn = 2, Error = 3 };

void LogToStderr(std::string_view program);
// Appends; creates the file. Errors: what open(2) says.
Status LogToFile(std::string_view program, const std::string& path);
void SetLogLevel(LogLevel level);
bool LogEnabled(LogLevel level);
void LogLine(LogLevel level, std::string_view line);
void LogFlush();

}  // namespace sheen

#define SHEEN_LOG(level, ...)                                                    \
  do {                                                                           \
    if (::sheen::LogEnabled(::sheen::LogLevel::level))                           \
      ::sheen::LogLine(::sheen::LogLevel::level, ::fmt::format(__VA_ARGS__));    \
  } while (false)

// Programmer errors only; stays on in release. Bytes from wire or disk are validated, never
// asserted on.
#define SHEEN_ASSERT(condition)                                                        \
  do {                                                                                 \
    if (!(condition)) [[unlikely]]                                                     \
      ::sheen::AssertionFailed(#condition, __FILE__, __LINE__);                        \
  } while (false)

namespace sheen {
[[noreturn]] void AssertionFailed(const char* condition, const char* file, int line);
}
