// `sheen prefetch` and `sheen release`: many files from S3 at once, on a mount. And what `sheen
// repo status` says of one.
//
// Belongs to the main thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

struct HsmFlags {
  std::vector<std::string> paths;  // files, and directories with all below them
  std::string from;                // a list of paths, one a line; "-": standard input
  bool wait = false;               // prefetch: until all is here
  std::string older_than;          // release: not read or changed for so long, "7d"
  double high = 0;                 // release: only if an OST is so full, percent; 0: in any case
  double low = 0;                  //          oldest first, until none is fuller than this
  bool json = false;
};

// Errors: also when a file could not be brought.
Status RunPrefetch(const HsmFlags& flags);
// Files that cannot be released are left out; those that were named themselves are errors.
Status RunRelease(const HsmFlags& flags);
// False: the path is no file of a Sheen mount.
Result<bool> ShowHsmFile(const std::string& path, bool json);

// "7d", "12h", "30m", "90s". Errors: kInvalid.
Result<int64_t> ParseAge(const std::string& text);

}  // namespace sheen::apps
