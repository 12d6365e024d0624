#include "base/log.h"

#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <atomic>
#include <cstdlib>
#include <memory>

namespace sheen {
namespace {

std::atomic<LogLevel> g_level{LogLevel::Info};

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::Debug:
      return spdlog::level::debug;
    case LogLevel::Info:
      return spdlog::level::info;
    case LogLevel::Warn:
      return spdlog::level::warn;
    case LogLevel::Error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

void Install(std::string_view program, spdlog::sink_ptr sink) {
  auto logger = std::make_shared<spdlog::logger>(std::string(program), std::move(sink));
  logger->set_level(spdlog::level::trace);
  logger->flush_on(spdlog::level::info);
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %^%l%$ %n[%P]: %v");
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace

void LogToStderr(std::string_view program) {
  Install(program, std::make_shared<spdlog::sinks::stderr_sink_mt>());
}

Status LogToFile(std::string_view program, const std::string& path) {
  try {
    Install(program, std::make_shared<spdlog::sinks::basic_file_sink_mt>(path));
  } catch (const spdlog::spdlog_ex& error) {
    return Fail(Errc::kIo, fmt::format("cannot open log file {}: {}", path, error.what()));
  }
  return {};
}

void SetLogLevel(LogLevel level) { g_level.store(level, std::memory_order_relaxed); }

bool LogEnabled(LogLevel level) { return level >= g_level.load(std::memory_order_relaxed); }

void LogLine(LogLevel level, std::string_view line) {
  spdlog::log(ToSpdlog(level), "{}", line);
}

void LogFlush() { spdlog::default_logger()->flush(); }

void AssertionFailed(const char* condition, const char* file, int line) {
  LogLine(LogLevel::Error, fmt::format("assertion failed: {} at {}:{}", condition, file, line));
  LogFlush();
  std::abort();
}

}  // namespace sheen
