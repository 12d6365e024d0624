// statfs(2) of the whole filesystem from its targets: bytes of all OSTs, files of the MDTs.
//
// OSTs without a size of their own that lie on one disk (same server, same device) share its free
// space: their disk is counted once. Pure.
#pragma once

#include <vector>

#include "client/types.h"

namespace sheen::client {

SpaceSummary SumSpace(const std::vector<TargetSpace>& targets);

}  // namespace sheen::client
