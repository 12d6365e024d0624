// Cores: the kernel's lists of them ("0-3,8"), and which one a thread runs on.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "sheen/result.h"

namespace sheen::fuse {

// How many cores `list` names. Errors: kInvalid.
Result<uint32_t> CountCores(std::string_view list);
// Of /sys/devices/system/cpu/possible: the FUSE queues that must exist.
Result<uint32_t> PossibleCores();

// The one core that the calling thread may run on; negative when there are more.
int BoundCore();
// The core that thread `tid` ran on last, from /proc; negative when it is not known.
int CoreOfThread(uint32_t tid);

}  // namespace sheen::fuse
