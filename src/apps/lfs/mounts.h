// The Sheen filesystems that are mounted, from /proc/self/mountinfo (proc(5)). Pure parsing apart.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::lfs {

struct MountEntry {
  std::string directory;
  std::string source;  // "HOST:/FSNAME" or with "/SUBDIR"
  std::string fsname;
  bool operator==(const MountEntry&) const = default;
};

// In the file's order. Lines of other filesystems, and broken ones, are left out.
std::vector<MountEntry> ParseMountInfo(std::string_view text);
Result<std::vector<MountEntry>> ReadMounts();
// The mount that `path` (absolute, without links) lies in; of mounts on one directory the last.
std::optional<MountEntry> MountOf(const std::vector<MountEntry>& mounts, std::string_view path);

}  // namespace sheen::lfs
