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
// Every request there that waits for the daemon fails (ECONNABORTED). A daemon that was killed
// while one of its notices to the kernel waits for such a request would never end else. If nobody
// uses the mount it is gone, too.
void AbortRequests(const std::string& path);

}  // namespace sheen::apps
