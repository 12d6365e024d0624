#include "base/params.h"

#include <fmt/format.h>
#include <fnmatch.h>

#include <algorithm>
#include <charconv>

namespace sheen {
namespace {

// Levels are path components to fnmatch(3).
std::string AsPath(std::string_view name) {
  std::string path(name);
  std::ranges::replace(path, '.', '/');
  return path;
}

}  // namespace

bool ParamMatches(std::string_view pattern, std::string_view name) {
  if (pattern == name) return true;
  return ::fnmatch(AsPath(pattern).c_str(), AsPath(name).c_str(), FNM_PATHNAME) == 0;
}

void ParamRegistry::AddSource(Source source) {
  const std::lock_guard lock(mutex_);
  sources_.push_back(std::move(source));
}

ParamList ParamRegistry::All() const {
  std::vector<Source> sources;
  {
    const std::lock_guard lock(mutex_);
    sources = sources_;
  }
  ParamList all;
  for (const Source& source : sources) source(&all);
  return all;
}

ParamList ParamRegistry::Match(std::string_view pattern) const {
  ParamList out = All();
  std::erase_if(out, [&](const Param& param) { return !ParamMatches(pattern, param.name); });
  std::ranges::sort(out, {}, &Param::name);
  return out;
}

Result<std::vector<std::string>> ParamRegistry::Set(std::string_view pattern,
                                                    const std::string& value) {
  const ParamList found = Match(pattern);
  if (found.empty()) return Fail(Errc::kNoEntry, fmt::format("param_path '{}'", pattern));
  std::vector<std::string> names;
  for (const Param& param : found) {
    if (!param.set) {
      return Fail(Errc::kAccess, fmt::format("setting {}: it can only be read", param.name));
    }
    const Status set = param.set(value);
    if (!set) {
      return std::unexpected(
          Annotate(set.error(), fmt::format("setting {}={}: ", param.name, value)));
    }
    names.push_back(param.name);
  }
  return names;
}

Result<uint64_t> ParseParamNumber(const std::string& value, uint64_t low, uint64_t high) {
  const bool hex = value.starts_with("0x") || value.starts_with("0X");
  const char* const begin = value.data() + (hex ? 2 : 0);
  const char* const end = value.data() + value.size();
  uint64_t number = 0;
  const auto [at, error] = std::from_chars(begin, end, number, hex ? 16 : 10);
  if (error != std::errc() || at != end || number < low || number > high) {
    return Fail(Errc::kInvalid, fmt::format("it must be a number from {} to {}", low, high));
  }
  return number;
}

Result<bool> ParseParamSwitch(const std::string& value) {
  for (const char* word : {"1", "y", "on", "true"}) {
    if (value == word) return true;
  }
  for (const char* word : {"0", "n", "off", "false"}) {
    if (value == word) return false;
  }
  return Fail(Errc::kInvalid, "it must be 0 or 1");
}

}  // namespace sheen
