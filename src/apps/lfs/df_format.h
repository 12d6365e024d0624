// What `lfs df` prints, as text: pure functions of the targets' space. The form of Lustre 2.15.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sheen/v1/mds.pb.h"

namespace sheen::lfs {

struct DfOptions {
  bool inodes = false;
  uint64_t unit_base = 0;  // 1024 (-h), 1000 (-H), 0: plain numbers, KiB or inodes
  bool header = true;
  bool verbose = false;
  bool mdts = true;
  bool osts = true;
  std::optional<uint32_t> index;  // only this MDT or OST
  std::optional<std::set<uint32_t>> pool;  // only these OSTs, in the sum too
};

// Header, a row for each target, an empty line, the sum, an empty line. `directory`: mount point.
std::string FormatDf(std::vector<v1::TargetSpace> targets, const std::string& directory,
                     const DfOptions& options);

}  // namespace sheen::lfs
