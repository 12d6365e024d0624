// The daemons that lctl asks: all of this host, through their sockets, or one server, through its
// control port.
#pragma once

#include <string>
#include <vector>

#include "apps/lctl/command.h"
#include "sheen/v1/control.pb.h"

namespace sheen::lctl {

// Parameters that match any of the patterns, of all daemons. What several have alike is there once.
// In the order of the patterns, by name within one. Errors: kUnavailable (no daemon answers; says
// what to do), kPerm.
Result<std::vector<v1::ParamValue>> GetParams(const Context& context,
                                              const std::vector<std::string>& patterns,
                                              bool names_only);
// On every daemon that has it. Gives what was set. Errors: kNoEntry (nobody has it), the daemons'.
Result<std::vector<std::string>> SetParam(const Context& context,
                                          const v1::SetParamRequest& request);

// Of the MDT `context.device`, or the only one of this host. Errors: kNoEntry (no such MDT or user;
// says which MDTs there are), the daemon's.
Result<v1::ChangelogUserReply> ChangeChangelogUser(const Context& context,
                                                   v1::ChangelogUserRequest request);

// Of the filesystem's management service on this host. Errors: kNoSuchDevice (there is none; says
// what to do), the daemon's.
Result<v1::PoolReply> AskPools(const Context& context, v1::PoolRequest request);

// For tests: merges what daemons answered.
std::vector<v1::ParamValue> MergeParams(const std::vector<v1::GetParamsReply>& replies);

}  // namespace sheen::lctl
