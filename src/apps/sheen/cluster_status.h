// `sheen status`: asks a daemon of this host for its state over its control port.
#pragma once

#include <string>

#include "rpc/link.h"
#include "sheen/result.h"

namespace sheen::apps {

// The daemon's answer as text, or as JSON. Blocks. Errors: kUnavailable, kTimedOut, kPerm.
Result<std::string> ClusterStatus(const rpc::Address& address, bool as_json);

}  // namespace sheen::apps
