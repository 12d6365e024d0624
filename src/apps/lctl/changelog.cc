// changelog_register, changelog_deregister.
#include <fmt/core.h>

#include <cerrno>

#include "apps/lctl/command.h"
#include "apps/lctl/daemons.h"

namespace sheen::lctl {
namespace {

constexpr lfs::OptionSpec kRegisterSpecs[] = {{'n', "nameonly"},
                                              {'u', "user", lfs::Takes::kArgument},
                                              {'m', "mask", lfs::Takes::kArgument}};
constexpr lfs::OptionSpec kDeregisterSpecs[] = {{'u', "user", lfs::Takes::kArgument}};

struct Parsed {
  bool name_only = false;
  std::string user;
  std::string mask;
  Arguments rest;
};

std::expected<Parsed, lfs::OptionError> Parse(const Arguments& args,
                                              std::span<const lfs::OptionSpec> specs) {
  lfs::OptionReader reader(args, specs);
  Parsed parsed;
  for (;;) {
    auto option = reader.Next();
    if (!option) return std::unexpected(std::move(option).error());
    if (!option->has_value()) break;
    const std::string value = (*option)->value.value_or("");
    if ((*option)->letter == 'n') parsed.name_only = true;
    if ((*option)->letter == 'u') parsed.user = value;
    if ((*option)->letter == 'm') parsed.mask = value;
  }
  parsed.rest = reader.Rest();
  return parsed;
}

}  // namespace

int RunChangelogRegister(const Context& context, const Arguments& args) {
  const auto parsed = Parse(args, kRegisterSpecs);
  if (!parsed) return ReportUsage("changelog_register", parsed.error());
  if (!parsed->rest.empty()) {
    return ReportUsage("changelog_register", {"'" + parsed->rest[0] + "' is too much"});
  }
  v1::ChangelogUserRequest request;
  request.set_name(parsed->user);
  request.set_mask(parsed->mask);
  const auto reply = ChangeChangelogUser(context, std::move(request));
  if (!reply) return ReportError("changelog_register", reply.error());
  if (parsed->name_only) {
    fmt::print("{}\n", reply->user());
  } else {
    fmt::print("{}: Registered changelog userid '{}'\n", reply->device(), reply->user());
  }
  return 0;
}

int RunChangelogDeregister(const Context& context, const Arguments& args) {
  const auto parsed = Parse(args, kDeregisterSpecs);
  if (!parsed) return ReportUsage("changelog_deregister", parsed.error());
  Arguments users = parsed->rest;
  if (!parsed->user.empty()) users.push_back(parsed->user);
  if (users.size() != 1) {
    return ReportUsage("changelog_deregister", {"one user is needed, as cl1 or -u NAME"});
  }
  v1::ChangelogUserRequest request;
  request.set_remove(true);
  request.set_name(users[0]);
  const auto reply = ChangeChangelogUser(context, std::move(request));
  if (!reply) return ReportError("changelog_deregister", reply.error());
  fmt::print("{}: Deregistered changelog user #{}\n", reply->device(), reply->number());
  return 0;
}

}  // namespace sheen::lctl
