// Greatest, least, mean and standard deviation of repetitions. Thread-safe.
#pragma once

#include <vector>

namespace sheen::bench {

struct Spread {
  double max = 0, min = 0, mean = 0;
  double deviation = 0;  // of the population, as IOR and mdtest print it
};

// All 0 of no values.
Spread SpreadOf(const std::vector<double>& values);

}  // namespace sheen::bench
