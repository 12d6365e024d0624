// The JSON form of the report of `sheen-bench ior`: one document, keys and units as IOR's.
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>

#include <ctime>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "apps/bench/ior_report.h"
#include "apps/bench/spread.h"

namespace sheen::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr double kMebi = 1 << 20;

std::string TimeText(std::time_t time) {
  return fmt::format("{:%a %b %e %H:%M:%S %Y}", fmt::localtime(time));
}

Json ParametersOf(const IorOptions& options) {
  return {{"testID", 0},
          {"refnum", 0},
          {"api", NameOf(options.api)},
          {"testFileName", options.test_file},
          {"repetitions", options.repetitions},
          {"fsync", options.fsync ? 1 : 0},
          {"intraTestBarriers", options.barriers ? 1 : 0},
          {"readFile", options.read ? 1 : 0},
          {"writeFile", options.write ? 1 : 0},
          {"filePerProc", options.file_per_process ? 1 : 0},
          {"reorderTasks", options.reorder_tasks ? 1 : 0},
          {"randomOffset", options.random_offset ? 1 : 0},
          {"checkWrite", options.check_write ? 1 : 0},
          {"checkRead", options.check_read ? 1 : 0},
          {"keepFile", options.keep_file ? 1 : 0},
          {"segmentCount", options.segment_count},
          {"blockSize", options.block_bytes},
          {"transferSize", options.transfer_bytes},
          {"numTasks", options.task_count}};
}

Json ResultOf(const IorOptions& options, const PhaseResult& r) {
  return {{"access", NameOf(r.access)},
          {"bwMiB", Bandwidth(options, r)},
          {"blockKiB", static_cast<double>(options.block_bytes) / 1024},
          {"xferKiB", static_cast<double>(options.transfer_bytes) / 1024},
          {"iops", Rate(options, r)},
          {"latency", r.latency_seconds},
          {"openTime", r.open_seconds},
          {"wrRdTime", r.transfer_seconds},
          {"closeTime", r.close_seconds},
          {"totalTime", r.total_seconds},
          {"numTasks", options.task_count},
          {"iter", r.repetition}};
}

// Null when the access was not run.
Json SummaryOf(const IorOptions& options, const std::vector<PhaseResult>& results, Access access) {
  std::vector<double> bandwidths, rates, seconds;
  for (const PhaseResult& r : results) {
    if (r.access != access) continue;
    bandwidths.push_back(Bandwidth(options, r));
    rates.push_back(Rate(options, r));
    seconds.push_back(r.total_seconds);
  }
  if (bandwidths.empty()) return nullptr;
  const Spread bandwidth = SpreadOf(bandwidths);
  const Spread rate = SpreadOf(rates);
  return {{"operation", NameOf(access)},
          {"API", NameOf(options.api)},
          {"TestID", 0},
          {"ReferenceNumber", 0},
          {"segmentCount", options.segment_count},
          {"blockSize", options.block_bytes},
          {"transferSize", options.transfer_bytes},
          {"numTasks", options.task_count},
          {"tasksPerNode", options.task_count},
          {"repetitions", options.repetitions},
          {"filePerProc", options.file_per_process ? 1 : 0},
          {"reorderTasks", options.reorder_tasks ? 1 : 0},
          {"bwMaxMIB", bandwidth.max},
          {"bwMinMIB", bandwidth.min},
          {"bwMeanMIB", bandwidth.mean},
          {"bwStdMIB", bandwidth.deviation},
          {"OPsMax", rate.max},
          {"OPsMin", rate.min},
          {"OPsMean", rate.mean},
          {"OPsSD", rate.deviation},
          {"MeanTime", SpreadOf(seconds).mean},
          {"xsizeMiB", static_cast<double>(options.bytes_total()) / kMebi}};
}

std::string CapacityOf(const std::string& file) {
  const std::string directory = std::filesystem::absolute(file).parent_path();
  struct statvfs now {};
  if (statvfs(directory.c_str(), &now) != 0) return "unknown";
  return fmt::format("{:.1f} GiB", static_cast<double>(now.f_blocks) *
                                       static_cast<double>(now.f_frsize) / (kMebi * 1024));
}

}  // namespace

std::string FormatJson(const IorOptions& options, const std::vector<PhaseResult>& results,
                       const std::vector<std::string>& command_line, std::time_t began) {
  utsname machine{};
  uname(&machine);
  Json rows = Json::array();
  for (const PhaseResult& r : results) {
    if (r.access != Access::kCheckWrite) rows.push_back(ResultOf(options, r));
  }
  Json summary = Json::array();
  for (const Access access : {Access::kWrite, Access::kRead}) {
    if (Json one = SummaryOf(options, results, access); !one.is_null()) summary.push_back(one);
  }
  Json test;
  test["TestID"] = 0;
  test["StartTime"] = TimeText(began);
  test["Path"] = options.test_file;
  test["Capacity"] = CapacityOf(options.test_file);
  test["Parameters"] = ParametersOf(options);
  test["Results"] = std::move(rows);
  Json out;
  out["Version"] = "IOR-compatible (sheen-bench)";
  out["Began"] = TimeText(began);
  out["Command line"] = fmt::format("{}", fmt::join(command_line, " "));
  out["Machine"] = fmt::format("{} {}", machine.sysname, machine.nodename);
  out["tests"] = Json::array({std::move(test)});
  out["summary"] = std::move(summary);
  out["Finished"] = TimeText(std::time(nullptr));
  // What is no UTF-8 in a file's name is replaced, not thrown about.
  return out.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace sheen::bench
