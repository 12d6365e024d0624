// Parameters: what can be read, and of some of it set, by name while a daemon runs. Names have
// Lustre's form, levels joined by dots: "mdt.sheen-MDT0000.md_stats", "timeout".
//
//   ParamRegistry params;
//   params.AddSource([&](ParamList* list) {
//     list->push_back({.name = "version", .get = [] { return std::string(kVersion); }});
//   });
//   for (const Param& param : params.Match("mdt.*.md_stats")) text = param.get();
//
// A source is asked anew each time, so that names of what comes and goes (targets, mounts) need no
// registration of their own.
//
// Thread-safe; so must the sources, getters and setters be. Match() and Set() call them with no
// lock held.
#pragma once

#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen {

struct Param {
  std::string name;
  // Lines of more than one end with a newline; a single value has none.
  std::function<std::string()> get;
  // Null: it is only read. Errors: kInvalid; the message says what is wrong with the value.
  std::function<Status(const std::string&)> set;
};
using ParamList = std::vector<Param>;

class ParamRegistry final {
 public:
  using Source = std::function<void(ParamList*)>;

  // What the source refers to must outlive the last call here.
  void AddSource(Source source);
  // Parameters whose names match, by name. '*', '?' and '[]' match within one level.
  ParamList Match(std::string_view pattern) const;
  // All that match. Gives what was set. Errors: kNoEntry (nothing matches), kAccess (only read),
  // and the setters'; the message names the parameter. What came before the error is set.
  Result<std::vector<std::string>> Set(std::string_view pattern, const std::string& value);

 private:
  ParamList All() const;

  mutable std::mutex mutex_;  // guards sources_
  std::vector<Source> sources_;
};

bool ParamMatches(std::string_view pattern, std::string_view name);
// Decimal or 0x, within [low, high]. Errors: kInvalid, which says what is allowed.
Result<uint64_t> ParseParamNumber(const std::string& value, uint64_t low, uint64_t high);
// 0, 1, n, y, off, on, false, true.
Result<bool> ParseParamSwitch(const std::string& value);

}  // namespace sheen
