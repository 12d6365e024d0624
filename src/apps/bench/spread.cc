#include "apps/bench/spread.h"

#include <algorithm>
#include <cmath>

namespace sheen::bench {

Spread SpreadOf(const std::vector<double>& values) {
  Spread out;
  if (values.empty()) return out;
  const double count = static_cast<double>(values.size());
  out.max = *std::max_element(values.begin(), values.end());
  out.min = *std::min_element(values.begin(), values.end());
  for (const double v : values) out.mean += v / count;
  for (const double v : values) out.deviation += (v - out.mean) * (v - out.mean) / count;
  out.deviation = std::sqrt(out.deviation);
  return out;
}

}  // namespace sheen::bench
