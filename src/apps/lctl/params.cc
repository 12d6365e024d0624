// get_param, set_param, list_param.
#include <fmt/core.h>

#include <cerrno>
#include <nlohmann/json.hpp>

#include "apps/lctl/command.h"
#include "apps/lctl/daemons.h"
#include "apps/lctl/param_text.h"

namespace sheen::lctl {
namespace {

using lfs::OptionReader;
using lfs::OptionSpec;
using lfs::Takes;

enum LongOnly : int { kJson = 256 };

constexpr OptionSpec kGetSpecs[] = {{'n', "no-name"},   {'N', "only-name"}, {'F', "classify"},
                                    {'R', "recursive"}, {'y', "yaml"},      {'H', "header"},
                                    {kJson, "json"}};
constexpr OptionSpec kListSpecs[] = {{'F', "classify"},
                                     {'R', "recursive"},
                                     {'D', "dir-only", Takes::kNothing, false},
                                     {'L', "no-links"},
                                     {'p', "path", Takes::kNothing, false},
                                     {'r', "readable"},
                                     {'w', "writable"},
                                     {kJson, "json"}};
constexpr OptionSpec kSetSpecs[] = {{'n', "no-name"},
                                    {'P', "perm"},
                                    {'d', "delete"},
                                    {'C', "client", Takes::kNothing, false},
                                    {'F', "file", Takes::kNothing, false},
                                    {'t', "thread", Takes::kOptional}};

// Letters that were given, and what is no option.
struct Parsed {
  std::string letters;
  Arguments rest;
  bool has(int letter) const {
    return letters.find(static_cast<char>(letter)) != std::string::npos;
  }
  bool json = false;
};

std::expected<Parsed, lfs::OptionError> Parse(const Arguments& args,
                                              std::span<const OptionSpec> specs) {
  OptionReader reader(args, specs);
  Parsed parsed;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    if ((*option)->letter == kJson) {
      parsed.json = true;
    } else {
      parsed.letters += static_cast<char>((*option)->letter);
    }
  }
  parsed.rest = reader.Rest();
  return parsed;
}

// Says of each pattern that nothing matches it. Returns the status so far.
int ReportMissing(const Context& context, const std::string& command, const Arguments& patterns) {
  int status = 0;
  for (const std::string& pattern : patterns) {
    const auto found = GetParams(context, {pattern}, true);
    if (found && !found->empty()) continue;
    const Error error =
        found ? Error(Errc::kNoEntry, "param_path '" + pattern + "'") : found.error();
    status = ReportError(command, error);
  }
  return status;
}

void PrintJson(const std::vector<v1::ParamValue>& params, bool names_only) {
  nlohmann::json out = nlohmann::json::object();
  nlohmann::json names = nlohmann::json::array();
  for (const v1::ParamValue& param : params) {
    if (names_only) {
      names.push_back(param.name());
    } else {
      out[param.name()] = param.value();
    }
  }
  fmt::print(
      "{}\n",
      (names_only ? names : out).dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
}

int SetOne(const Context& context, const Parsed& parsed, const std::string& name,
           const std::string& value) {
  v1::SetParamRequest request;
  request.set_pattern(name);
  request.set_value(value);
  request.set_keep(parsed.has('P'));
  request.set_forget(parsed.has('d'));
  const auto set = SetParam(context, request);
  if (!set) return ReportError("set_param", set.error());
  if (parsed.has('n')) return 0;
  for (const std::string& one : *set) {
    fmt::print("{}", request.forget() ? one + " is not kept any more\n" : one + "=" + value + "\n");
  }
  return 0;
}

}  // namespace

int RunGetParam(const Context& context, const Arguments& args) {
  const auto parsed = Parse(args, kGetSpecs);
  if (!parsed) return ReportUsage("get_param", parsed.error());
  if (parsed->rest.empty()) return ReportUsage("get_param", {"missing parameter name"});
  const bool names_only = parsed->has('N');
  const auto params = GetParams(context, parsed->rest, names_only);
  if (!params) return ReportError("get_param", params.error());
  if (parsed->json) {
    PrintJson(*params, names_only);
  } else {
    ParamStyle style;
    style.names_only = names_only;
    style.values_only = parsed->has('n');
    style.classify = parsed->has('F');
    style.yaml = parsed->has('y');
    for (const v1::ParamValue& param : *params) fmt::print("{}", FormatParam(param, style));
  }
  return ReportMissing(context, "get_param", parsed->rest);
}

int RunListParam(const Context& context, const Arguments& args) {
  const auto parsed = Parse(args, kListSpecs);
  if (!parsed) return ReportUsage("list_param", parsed.error());
  if (parsed->rest.empty()) return ReportUsage("list_param", {"missing parameter name"});
  Arguments patterns;
  for (const std::string& pattern : parsed->rest) {
    patterns.push_back(pattern);
    // A level that is none's own name lists what is below it.
    for (std::string below = pattern + ".*"; patterns.size() < 64; below += ".*") {
      if (!parsed->has('R') && below != pattern + ".*") break;
      if (below.size() > pattern.size() + 12) break;
      patterns.push_back(below);
    }
  }
  auto params = GetParams(context, patterns, true);
  if (!params) return ReportError("list_param", params.error());
  if (parsed->has('w')) {
    std::erase_if(*params, [](const v1::ParamValue& param) { return !param.settable(); });
  }
  if (parsed->json) {
    PrintJson(*params, true);
  } else {
    ParamStyle style;
    style.names_only = true;
    style.classify = parsed->has('F');
    for (const v1::ParamValue& param : *params) fmt::print("{}", FormatParam(param, style));
  }
  if (!params->empty()) return 0;
  return ReportMissing(context, "list_param", parsed->rest);
}

int RunSetParam(const Context& context, const Arguments& args) {
  const auto parsed = Parse(args, kSetSpecs);
  if (!parsed) return ReportUsage("set_param", parsed.error());
  if (parsed->has('d') && !parsed->has('P')) {
    return ReportUsage("set_param", {"-d needs -P: only what is kept can be forgotten"});
  }
  const Arguments& rest = parsed->rest;
  if (rest.empty()) return ReportUsage("set_param", {"missing parameter name and value"});
  int status = 0;
  for (size_t i = 0; i < rest.size(); ++i) {
    const size_t equals = rest[i].find('=');
    const std::string name = rest[i].substr(0, equals);
    std::string value;
    if (equals != std::string::npos) {
      value = rest[i].substr(equals + 1);
    } else if (!parsed->has('d') && i + 1 < rest.size() &&
               rest[i + 1].find('=') == std::string::npos) {
      value = rest[++i];  // "name value"
    } else if (!parsed->has('d')) {
      status = ReportError("set_param",
                           Error(Errc::kInvalid, "param_path " + name + ": no value given"));
      continue;
    }
    const int one = SetOne(context, *parsed, name, value);
    if (one != 0) status = one;
  }
  return status;
}

}  // namespace sheen::lctl
