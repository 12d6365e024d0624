#include "apps/lctl/daemons.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "apps/common/node_control.h"
#include "apps/common/run_directory.h"
#include "rpc/address.h"
#include "rpc/grpc_control.h"

namespace sheen::lctl {
namespace {

constexpr uint16_t kControlPort = 7989;

std::unexpected<Error> NobodyThere() {
  std::string where;
  for (const std::string& directory : apps::RunDirectories()) {
    where += (where.empty() ? "" : " or ") + directory;
  }
  return Fail(Errc::kUnavailable, "no Sheen daemon of this host answers (looked in " + where +
                                      "; SHEEN_RUN_DIR names another place, --server "
                                      "HOST:CONTROLPORT another host)");
}

Result<std::vector<v1::GetParamsReply>> AskAll(const Context& context,
                                               const v1::GetParamsRequest& request) {
  std::vector<v1::GetParamsReply> replies;
  if (!context.server.empty()) {
    SHEEN_TRY_ASSIGN(const rpc::Address address, rpc::ParseAddress(context.server, kControlPort));
    SHEEN_TRY_ASSIGN(v1::GetParamsReply reply, rpc::AdminClient(address).GetParams(request));
    replies.push_back(std::move(reply));
    return replies;
  }
  v1::LocalRequest local;
  *local.mutable_get_params() = request;
  for (const std::string& socket : apps::DaemonSockets()) {
    // A daemon that was killed leaves its socket behind.
    Result<v1::LocalReply> reply = apps::AskDaemon(socket, local);
    if (reply) replies.push_back(std::move(*reply->mutable_get_params()));
  }
  if (replies.empty()) return NobodyThere();
  return replies;
}

// "sheen-MDT0000" of "mdt.sheen-MDT0000.uuid".
Result<std::vector<std::string>> MdtsOfHost(const Context& context) {
  SHEEN_TRY_ASSIGN(const std::vector<v1::ParamValue> params,
                   GetParams(context, {"mdt.*.uuid"}, true));
  std::vector<std::string> names;
  for (const v1::ParamValue& param : params) {
    const size_t begin = param.name().find('.') + 1;
    names.push_back(param.name().substr(begin, param.name().rfind('.') - begin));
  }
  return names;
}

// The first daemon's that the request is for; nullopt: there is none.
Result<std::optional<v1::LocalReply>> AskWhoeverKnows(const v1::LocalRequest& request) {
  std::optional<Error> late;
  for (const std::string& socket : apps::DaemonSockets()) {
    Result<v1::LocalReply> reply = apps::AskDaemon(socket, request);
    if (reply) return std::optional(std::move(*reply));
    const Errc code = reply.error().code();
    // It may have been the one, and do it yet.
    if (code == Errc::kTimedOut) late = reply.error();
    const bool another = code == Errc::kConnectionRefused || code == Errc::kTimedOut ||
                         code == Errc::kNoSys || code == Errc::kNotThisServer;
    if (!another) return std::unexpected(reply.error());
  }
  if (late) {
    return std::unexpected(Annotate(
        *late, "a daemon of this host did not answer in time; what was asked for may have been "
               "done: look before you ask again: "));
  }
  return std::nullopt;
}

}  // namespace

std::vector<v1::ParamValue> MergeParams(const std::vector<v1::GetParamsReply>& replies) {
  std::map<std::string, std::vector<v1::ParamValue>> by_name;
  std::set<std::pair<std::string, std::string>> seen;
  for (const v1::GetParamsReply& reply : replies) {
    for (const v1::ParamValue& param : reply.params()) {
      if (seen.emplace(param.name(), param.value()).second) by_name[param.name()].push_back(param);
    }
  }
  std::vector<v1::ParamValue> out;
  for (auto& [name, params] : by_name) std::ranges::move(params, std::back_inserter(out));
  return out;
}

Result<std::vector<v1::ParamValue>> GetParams(const Context& context,
                                              const std::vector<std::string>& patterns,
                                              bool names_only) {
  std::vector<v1::ParamValue> out;
  for (const std::string& pattern : patterns) {
    v1::GetParamsRequest request;
    request.add_patterns(pattern);
    request.set_names_only(names_only);
    SHEEN_TRY_ASSIGN(const std::vector<v1::GetParamsReply> replies, AskAll(context, request));
    std::ranges::move(MergeParams(replies), std::back_inserter(out));
  }
  return out;
}

Result<std::vector<std::string>> SetParam(const Context& context,
                                          const v1::SetParamRequest& request) {
  if (!context.server.empty()) {
    SHEEN_TRY_ASSIGN(const rpc::Address address, rpc::ParseAddress(context.server, kControlPort));
    SHEEN_TRY_ASSIGN(const v1::SetParamReply reply, rpc::AdminClient(address).SetParam(request));
    return std::vector<std::string>(reply.names().begin(), reply.names().end());
  }
  v1::LocalRequest local;
  *local.mutable_set_param() = request;
  std::set<std::string> names;
  std::optional<Error> failed;
  bool answered = false;
  for (const std::string& socket : apps::DaemonSockets()) {
    const Result<v1::LocalReply> reply = apps::AskDaemon(socket, local);
    if (reply) {
      names.insert(reply->set_param().names().begin(), reply->set_param().names().end());
      answered = true;
      continue;
    }
    const Errc code = reply.error().code();
    if (code == Errc::kConnectionRefused || code == Errc::kTimedOut) continue;
    answered = true;
    // What one daemon does not have, or not keep, another may.
    const bool elsewhere =
        code == Errc::kNoEntry || (request.keep() && code == Errc::kNotSupported);
    if (!failed || !elsewhere) failed = reply.error();
  }
  if (!answered) return NobodyThere();
  const bool only_elsewhere =
      failed && (failed->code() == Errc::kNoEntry || failed->code() == Errc::kNotSupported);
  if (failed && (names.empty() || !only_elsewhere)) return std::unexpected(*failed);
  return std::vector<std::string>(names.begin(), names.end());
}

Result<v1::ChangelogUserReply> ChangeChangelogUser(const Context& context,
                                                   v1::ChangelogUserRequest request) {
  if (!context.server.empty()) {
    return Fail(Errc::kPerm, "not through the control port; run lctl as root on the MDS's host");
  }
  SHEEN_TRY_ASSIGN(const std::vector<std::string> mdts, MdtsOfHost(context));
  std::string known;
  for (const std::string& mdt : mdts) known += (known.empty() ? "" : ", ") + mdt;
  if (mdts.empty()) return Fail(Errc::kNoEntry, "no MDS runs on this host");
  if (context.device.empty() && mdts.size() > 1) {
    return Fail(Errc::kInvalid, "which MDT? give --device, one of " + known);
  }
  const std::string device = context.device.empty() ? mdts.front() : context.device;
  if (std::ranges::find(mdts, device) == mdts.end()) {
    return Fail(Errc::kNoEntry, "no MDT " + device + " on this host (there is " + known + ")");
  }
  request.set_device(device);
  v1::LocalRequest local;
  *local.mutable_changelog_user() = std::move(request);
  SHEEN_TRY_ASSIGN(std::optional<v1::LocalReply> reply, AskWhoeverKnows(local));
  if (!reply) return Fail(Errc::kUnavailable, device + " does not answer");
  return std::move(*reply->mutable_changelog_user());
}

Result<v1::PoolReply> AskPools(const Context& context, v1::PoolRequest request) {
  if (!context.server.empty()) {
    return Fail(Errc::kPerm, "not through the control port; run lctl on the MGS's host");
  }
  const std::string fsname = request.fsname();
  v1::LocalRequest local;
  *local.mutable_pool() = std::move(request);
  SHEEN_TRY_ASSIGN(std::optional<v1::LocalReply> reply, AskWhoeverKnows(local));
  if (!reply) {
    return Fail(Errc::kNoSuchDevice, "no MGS of filesystem '" + fsname +
                                         "' answers on this host; run lctl on the host of its MDS");
  }
  return std::move(*reply->mutable_pool());
}

}  // namespace sheen::lctl
