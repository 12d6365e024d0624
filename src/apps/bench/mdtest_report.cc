#include "apps/bench/mdtest_report.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <ctime>

#include "apps/bench/spread.h"

namespace sheen::bench {
namespace {

struct Row {
  MdtestPhase phase;
  const char* label;
  bool of_directories, of_files;
};
constexpr Row kRows[] = {
    {MdtestPhase::kDirectoryCreate, "Directory creation", true, false},
    {MdtestPhase::kDirectoryStat, "Directory stat", true, false},
    {MdtestPhase::kDirectoryRemove, "Directory removal", true, false},
    {MdtestPhase::kFileCreate, "File creation", false, true},
    {MdtestPhase::kFileStat, "File stat", false, true},
    {MdtestPhase::kFileRead, "File read", false, true},
    {MdtestPhase::kFileRemove, "File removal", false, true},
    {MdtestPhase::kTreeCreate, "Tree creation", true, true},
    {MdtestPhase::kTreeRemove, "Tree removal", true, true},
};

std::string TimeNow() {
  return fmt::format("{:%m/%d/%Y %H:%M:%S}", fmt::localtime(std::time(nullptr)));
}

double PartUsed(uint64_t all, uint64_t free) {
  return all == 0 ? 0 : 100.0 * static_cast<double>(all - free) / static_cast<double>(all);
}

std::string FilesystemLine(const std::string& path) {
  struct statvfs now {};
  if (statvfs(path.c_str(), &now) != 0) return "";
  const double gibibytes = static_cast<double>(now.f_blocks) * static_cast<double>(now.f_frsize) /
                           static_cast<double>(1ULL << 30);
  return fmt::format(
      "FS                  : {:.1f} GiB   Used FS: {:.1f}%   Inodes: {:.1f} Mi   "
      "Used Inodes: {:.1f}%\n",
      gibibytes, PartUsed(now.f_blocks, now.f_bfree),
      static_cast<double>(now.f_files) / static_cast<double>(1 << 20),
      PartUsed(now.f_files, now.f_ffree));
}

const char* ItemsWord(const MdtestOptions& options) {
  if (!options.directories) return "files";
  return options.files ? "files/directories" : "directories";
}

template <class Value>
std::string Table(const MdtestOptions& options, const char* what,
                  const std::vector<MdtestTimes>& iterations, Value value_of) {
  std::string out = fmt::format("\nSUMMARY {}: (of {} iterations)\n", what, iterations.size());
  const auto head = [&out](const char* a, const char* b, const char* c, const char* d,
                           const char* e) {
    out += fmt::format("   {:<25} {:>14} {:>14} {:>14} {:>14}\n", a, b, c, d, e);
  };
  head("Operation", "Max", "Min", "Mean", "Std Dev");
  head("---------", "---", "---", "----", "-------");
  for (const Row& row : kRows) {
    const bool wanted =
        (row.of_directories && options.directories) || (row.of_files && options.files);
    if (!wanted) continue;
    std::vector<double> values;
    for (const MdtestTimes& times : iterations) {
      values.push_back(value_of(row.phase, times[static_cast<size_t>(row.phase)]));
    }
    const Spread spread = SpreadOf(values);
    out += fmt::format("   {:<25} {:>14.3f} {:>14.3f} {:>14.3f} {:>14.3f}\n", row.label, spread.max,
                       spread.min, spread.mean, spread.deviation);
  }
  return out;
}

}  // namespace

std::string FormatMdtestHeader(const MdtestOptions& options,
                               const std::vector<std::string>& command_line) {
  std::string out = fmt::format("-- started at {} --\n\n", TimeNow());
  out += fmt::format(
      "mdtest-compatible (sheen-bench) was launched with {} total task(s) on 1 node(s)\n",
      options.task_count);
  out += "Command line used:";
  for (const std::string& word : command_line) out += fmt::format(" '{}'", word);
  out += fmt::format("\nPath                : {}\n", options.directory);
  out += FilesystemLine(options.directory);
  out += fmt::format("Nodemap: {}\n", std::string(options.task_count, '1'));
  out += fmt::format("{} tasks, {} {}\n", options.task_count, options.items_total(),
                     ItemsWord(options));
  return out;
}

std::string FormatMdtestSummary(const MdtestOptions& options,
                                const std::vector<MdtestTimes>& iterations) {
  std::string out;
  if (options.rates) {
    out += Table(options, "rate", iterations, [&options](MdtestPhase phase, double seconds) {
      const double operations = static_cast<double>(MdtestOperationsOf(options, phase));
      return seconds > 0 ? operations / seconds : 0.0;
    });
  }
  if (options.times) {
    out += Table(options, "time", iterations, [](MdtestPhase, double seconds) { return seconds; });
  }
  return out;
}

std::string FormatMdtestEnd() { return fmt::format("-- finished at {} --\n", TimeNow()); }

}  // namespace sheen::bench
