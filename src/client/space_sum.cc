#include "client/space_sum.h"

#include <set>

namespace sheen::client {

SpaceSummary SumSpace(const std::vector<TargetSpace>& targets) {
  SpaceSummary sum;
  std::set<uint64_t> disks;
  for (const TargetSpace& target : targets) {
    if (!target.up) continue;
    if (target.is_mdt) {
      sum.files_total += target.files_total;
      sum.files_free += target.files_free;
      continue;
    }
    const bool shares_disk = !target.limited && target.device != 0;
    if (shares_disk && !disks.insert(target.device).second) continue;
    sum.bytes_total += target.bytes_total;
    sum.bytes_free += target.bytes_free;
    sum.bytes_available += target.bytes_available;
  }
  return sum;
}

}  // namespace sheen::client
