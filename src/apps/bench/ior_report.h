// The report of `sheen-bench ior`, in IOR's layout, so that scripts which read IOR's read this.
#pragma once

#include <ctime>
#include <string>
#include <vector>

#include "apps/bench/ior_options.h"
#include "apps/bench/ior_task.h"

namespace sheen::bench {

struct PhaseResult {
  Access access = Access::kWrite;
  uint32_t repetition = 0;
  double open_seconds = 0;  // first open to last open
  double transfer_seconds = 0;
  double close_seconds = 0;
  double total_seconds = 0;    // first open to last close
  double latency_seconds = 0;  // mean of one transfer
  uint64_t errors = 0;
  uint64_t bad_words = 0;
};

double Bandwidth(const IorOptions& options, const PhaseResult& result);  // MiB/s, with the opens
double Rate(const IorOptions& options, const PhaseResult& result);       // transfers a second
const char* NameOf(Access access);

PhaseResult Reduce(const IorOptions& options, Access access, uint32_t repetition,
                   const SharedState& shared);
std::string FormatHeader(const IorOptions& options, const std::vector<std::string>& command_line);
std::string FormatRow(const IorOptions& options, const PhaseResult& result);
std::string FormatRemoveRow(double seconds, uint32_t repetition);
std::string FormatSummary(const IorOptions& options, const std::vector<PhaseResult>& results);
// The same by -O summaryFormat: one line a phase; one document with the keys of IOR's.
std::string FormatCsv(const IorOptions& options, const std::vector<PhaseResult>& results);
std::string FormatJson(const IorOptions& options, const std::vector<PhaseResult>& results,
                       const std::vector<std::string>& command_line, std::time_t began);

}  // namespace sheen::bench
