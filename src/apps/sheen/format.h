// Format: makes an empty directory an MDT or an OST. For `sheen format` and `sheen dev up`.
//
// Both block. A directory that holds anything is refused: nothing is ever overwritten.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

struct FormatMdtOptions {
  std::string directory;
  std::string fsname = "sheen";
  uint32_t index = 0;
  uint32_t root_uid = 0;  // whose the root directory is
  uint32_t root_gid = 0;
};

struct FormatOstOptions {
  std::string directory;
  std::string fsname = "sheen";
  uint32_t index = 0;
  std::vector<std::string> mgs;  // HOST:CONTROLPORT, remembered for sheen-oss
  uint64_t size_bytes = 0;       // limit of the OST; 0: the disk's
};

// Gives the target's name, "sheen-MDT0000". The directory is created when it is not there.
// Errors: kNotEmpty, kExists, kInvalid, and the disk's, with what to do.
Result<std::string> FormatMdt(const FormatMdtOptions& options);
Result<std::string> FormatOst(const FormatOstOptions& options);

}  // namespace sheen::apps
