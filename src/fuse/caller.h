// Is the process that made a request being killed? Its /proc/TID/status tells: a signal that ends a
// process shows as a pending SIGKILL in each of its threads until they have gone.
//
// Thread-safe. Reads a file of /proc, which waits for nothing.
#pragma once

#include <cstdint>
#include <string_view>

namespace sheen::fuse {

// Of the text of /proc/TID/status. False for one without the two lines.
bool HasKillPending(std::string_view status);
// False when there is no such thread: nobody waits, or somebody else does.
bool IsBeingKilled(uint32_t tid);

}  // namespace sheen::fuse
