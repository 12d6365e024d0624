#include "apps/lfs/auto_stripe.h"

#include <algorithm>
#include <cmath>

namespace sheen::lfs {

uint32_t AutoStripeCount(uint64_t file_bytes, const std::vector<v1::TargetSpace>& targets,
                         const AutoStripe& rules) {
  uint64_t osts = 0;
  uint64_t least_free = UINT64_MAX;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt() || !target.up()) continue;
    if (target.bytes_available() < rules.free_bytes_min) continue;
    ++osts;
    least_free = std::min(least_free, target.bytes_available());
  }
  if (osts == 0) return 1;
  constexpr double kGibibyte = 1 << 30;
  const double gibibytes = static_cast<double>(file_bytes) / kGibibyte;
  uint64_t count = static_cast<uint64_t>(std::sqrt(gibibytes)) + 1;
  const uint64_t object_bytes_max = std::max<uint64_t>(least_free / rules.cap, 1);
  count = std::max(count, (file_bytes + object_bytes_max - 1) / object_bytes_max);
  return static_cast<uint32_t>(std::min(count, osts));
}

}  // namespace sheen::lfs
