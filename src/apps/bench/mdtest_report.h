// The report of `sheen-bench mdtest`, in mdtest's layout, so that scripts which read mdtest's read
// this. Thread-safe.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "apps/bench/mdtest_options.h"
#include "apps/bench/mdtest_task.h"

namespace sheen::bench {

// Seconds of each phase, by its number; 0 where it was not run. One an iteration.
using MdtestTimes = std::array<double, kMdtestPhaseCount>;

std::string FormatMdtestHeader(const MdtestOptions& options,
                               const std::vector<std::string>& command_line);
// The tables that the options ask for.
std::string FormatMdtestSummary(const MdtestOptions& options,
                                const std::vector<MdtestTimes>& iterations);
std::string FormatMdtestEnd();

}  // namespace sheen::bench
