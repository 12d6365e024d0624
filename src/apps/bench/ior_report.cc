#include "apps/bench/ior_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/utsname.h>

#include <algorithm>
#include <cmath>
#include <ctime>

#include "apps/bench/spread.h"

namespace sheen::bench {
namespace {

constexpr double kMebi = 1 << 20;

std::string HumanSize(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(kUnits)) {
    value /= 1024;
    ++unit;
  }
  if (value == std::floor(value)) return fmt::format("{:.0f} {}", value, kUnits[unit]);
  return fmt::format("{:.2f} {}", value, kUnits[unit]);
}

}  // namespace

double Bandwidth(const IorOptions& options, const PhaseResult& result) {
  return static_cast<double>(options.bytes_total()) / kMebi / std::max(result.total_seconds, 1e-9);
}

double Rate(const IorOptions& options, const PhaseResult& result) {
  const double transfers = static_cast<double>(options.bytes_total() / options.transfer_bytes);
  return transfers / std::max(result.transfer_seconds, 1e-9);
}

const char* NameOf(Access access) { return access == Access::kWrite ? "write" : "read"; }

PhaseResult Reduce(const IorOptions& options, Access access, uint32_t repetition,
                   const SharedState& shared) {
  PhaseResult out{.access = access, .repetition = repetition};
  TaskTimes all = shared.times[0];
  double busy = 0;
  for (uint32_t i = 0; i < options.task_count; ++i) {
    const TaskTimes& t = shared.times[i];
    all.open_begin = std::min(all.open_begin, t.open_begin);
    all.open_end = std::max(all.open_end, t.open_end);
    all.transfer_begin = std::min(all.transfer_begin, t.transfer_begin);
    all.transfer_end = std::max(all.transfer_end, t.transfer_end);
    all.close_begin = std::min(all.close_begin, t.close_begin);
    all.close_end = std::max(all.close_end, t.close_end);
    busy += t.transfer_end - t.transfer_begin;
    out.errors += t.errors;
    out.bad_words += t.bad_words;
  }
  out.open_seconds = all.open_end - all.open_begin;
  out.transfer_seconds = all.transfer_end - all.transfer_begin;
  out.close_seconds = all.close_end - all.close_begin;
  out.total_seconds = all.close_end - all.open_begin;
  out.latency_seconds =
      busy / static_cast<double>(options.transfers_per_task() * options.task_count);
  return out;
}

std::string FormatHeader(const IorOptions& options, const std::vector<std::string>& command_line) {
  utsname machine{};
  uname(&machine);
  const std::time_t now = std::time(nullptr);
  std::string out = "IOR-compatible (sheen-bench): Coordinated Test of Parallel I/O\n";
  out += fmt::format("Began               : {:%a %b %e %H:%M:%S %Y}\n", fmt::localtime(now));
  out += fmt::format("Command line        : {}\n", fmt::join(command_line, " "));
  out += fmt::format("Machine             : {} {}\n\n", machine.sysname, machine.nodename);
  out += "Options: \n";
  const auto row = [&out](const char* label, const std::string& value) {
    out += fmt::format("{:<20}: {}\n", label, value);
  };
  row("api", NameOf(options.api));
  row("apiVersion", "");
  row("test filename", options.test_file);
  row("access", options.file_per_process ? "file-per-process" : "single-shared-file");
  row("type", "independent");
  row("segments", std::to_string(options.segment_count));
  row("ordering in a file", options.random_offset ? "random" : "sequential");
  row("ordering inter file", options.reorder_tasks ? "constant task offset" : "no tasks offsets");
  if (options.reorder_tasks) row("task offset", "1");
  row("nodes", std::to_string(options.node_count));
  row("tasks", std::to_string(options.task_count));
  row("clients per node", std::to_string(options.task_count / options.node_count));
  row("repetitions", std::to_string(options.repetitions));
  row("xfersize", HumanSize(options.transfer_bytes));
  row("blocksize", HumanSize(options.block_bytes));
  row("aggregate filesize", HumanSize(options.bytes_total()));
  out += "\nResults: \n\n";
  out +=
      "access    bw(MiB/s)  IOPS       Latency(s)  block(KiB) xfer(KiB)  open(s)    wr/rd(s)   "
      "close(s)   total(s)   iter\n";
  out +=
      "------    ---------  ----       ----------  ---------- ---------  --------   --------   "
      "--------   --------   ----\n";
  return out;
}

std::string FormatRow(const IorOptions& options, const PhaseResult& r) {
  return fmt::format(
      "{:<9} {:<10.2f} {:<10.2f} {:<11.6f} {:<10.2f} {:<10.2f} {:<10.6f} {:<10.6f} "
      "{:<10.6f} {:<10.6f} {:<4}\n",
      NameOf(r.access), Bandwidth(options, r), Rate(options, r), r.latency_seconds,
      static_cast<double>(options.block_bytes) / 1024,
      static_cast<double>(options.transfer_bytes) / 1024, r.open_seconds, r.transfer_seconds,
      r.close_seconds, r.total_seconds, r.repetition);
}

std::string FormatRemoveRow(double seconds, uint32_t repetition) {
  return fmt::format(
      "{:<9} {:<10} {:<10} {:<11} {:<10} {:<10} {:<10} {:<10} {:<10} {:<10.6f} {:<4}\n", "remove",
      "-", "-", "-", "-", "-", "-", "-", "-", seconds, repetition);
}

std::string FormatSummary(const IorOptions& options, const std::vector<PhaseResult>& results) {
  std::string out = "\nSummary of all tests:\n";
  out +=
      "Operation   Max(MiB)   Min(MiB)  Mean(MiB)     StdDev   Max(OPs)   Min(OPs)  Mean(OPs)     "
      "StdDev    Mean(s) #Tasks reps fPP reord segcnt   blksiz    xsize aggs(MiB)   API\n";
  for (const Access access : {Access::kWrite, Access::kRead}) {
    std::vector<double> bandwidths, rates, seconds;
    for (const PhaseResult& r : results) {
      if (r.access != access) continue;
      bandwidths.push_back(Bandwidth(options, r));
      rates.push_back(Rate(options, r));
      seconds.push_back(r.total_seconds);
    }
    if (bandwidths.empty()) continue;
    const Spread bw = SpreadOf(bandwidths);
    const Spread ops = SpreadOf(rates);
    out += fmt::format(
        "{:<9} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} {:>10.2f} "
        "{:>10.5f} {:>6} {:>4} {:>3} {:>5} {:>6} {:>8} {:>8} {:>9.1f}   {}\n",
        NameOf(access), bw.max, bw.min, bw.mean, bw.deviation, ops.max, ops.min, ops.mean,
        ops.deviation, SpreadOf(seconds).mean, options.task_count, options.repetitions,
        options.file_per_process ? 1 : 0, options.reorder_tasks ? 1 : 0, options.segment_count,
        options.block_bytes, options.transfer_bytes,
        static_cast<double>(options.bytes_total()) / kMebi, NameOf(options.api));
  }
  return out;
}

std::string FormatCsv(const IorOptions& options, const std::vector<PhaseResult>& results) {
  std::string out =
      "access,bw(MiB/s),IOPS,Latency,block(KiB),xfer(KiB),open(s),wr/rd(s),close(s),total(s),"
      "numTasks,iter\n";
  for (const PhaseResult& r : results) {
    if (r.access == Access::kCheckWrite) continue;
    out += fmt::format("{},{:.4f},{:.4f},{:.6f},{:.4f},{:.4f},{:.6f},{:.6f},{:.6f},{:.6f},{},{}\n",
                       NameOf(r.access), Bandwidth(options, r), Rate(options, r), r.latency_seconds,
                       static_cast<double>(options.block_bytes) / 1024,
                       static_cast<double>(options.transfer_bytes) / 1024, r.open_seconds,
                       r.transfer_seconds, r.close_seconds, r.total_seconds, options.task_count,
                       r.repetition);
  }
  return out;
}

}  // namespace sheen::bench
