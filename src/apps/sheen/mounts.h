// Mount points as the kernel knows them, without ever asking the filesystem in question (its daemon
// may be dead or frozen).
//
// Blocking; thread-safe.
#pragma once

#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

// A fuse.sheen filesystem is mounted there.
bool IsSheenMount(const std::string& path);
// Mounted at or below `path`, whatever it is.
bool HasMountBelow(const std::string& path);
// Errors: kBusy, naming processes that use it; `lazy`: taken away in any case, ends with its users.
Status Unmount(const std::string& path, bool lazy);

}  // namespace sheen::apps
