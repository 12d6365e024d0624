// `sheen-bench ior`: the parent's part.
#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "apps/bench/benchmarks.h"
#include "apps/bench/ior_options.h"
#include "apps/bench/ior_report.h"
#include "apps/bench/ior_task.h"
#include "apps/bench/task_group.h"

namespace sheen::bench {
namespace {

SharedState* MakeShared(uint32_t task_count) {
  void* memory = MapShared(sizeof(SharedState) + task_count * sizeof(TaskTimes));
  if (memory == nullptr) return nullptr;
  auto* shared = static_cast<SharedState*>(memory);
  shared->times = reinterpret_cast<TaskTimes*>(shared + 1);
  MakeBarrier(&shared->barrier, task_count + 1);
  return shared;
}

std::vector<Access> PhasesOf(const IorOptions& options) {
  std::vector<Access> out;
  if (options.write) out.push_back(Access::kWrite);
  if (options.check_write) out.push_back(Access::kCheckWrite);
  if (options.read || options.check_read) out.push_back(Access::kRead);
  return out;
}

double RemoveFiles(const IorOptions& options, const BenchApi& api, uint64_t* errors) {
  const double begin = SecondsNow();
  for (uint32_t i = 0; i < (options.file_per_process ? options.task_count : 1); ++i) {
    const Status removed = api.Remove(FileOf(options, i));
    if (removed) continue;
    fmt::print(stderr, "ERROR: remove {}: {}\n", FileOf(options, i),
               std::strerror(ErrnoOf(removed.error().code())));
    ++*errors;
  }
  return SecondsNow() - begin;
}

void TaskMain(const IorOptions& options, uint32_t task, SharedState* shared) {
  const BenchApi api(options);
  for (uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const Access access : PhasesOf(options)) RunPhase(options, access, task, shared, api);
    shared->Wait();  // the parent removes the files before it
  }
}

struct Outcome {
  std::vector<PhaseResult> results;
  uint64_t errors = 0;
  uint64_t bad_words = 0;
};

// A phase with failed calls has no bandwidth.
void Note(const IorOptions& options, const PhaseResult& result, bool rows, std::FILE* out,
          Outcome* all) {
  all->errors += result.errors;
  all->bad_words += result.bad_words;
  if (result.errors > 0) return;
  all->results.push_back(result);
  if (rows && result.access != Access::kCheckWrite) {
    fmt::print(out, "{}", FormatRow(options, result));
  }
  std::fflush(out);
}

// The parent's part of the phases. Prints rows as they come, in the default format.
Outcome Conduct(const IorOptions& options, SharedState* shared, std::FILE* out) {
  const bool rows = options.summary_format == SummaryFormat::kDefault;
  const BenchApi api(options);  // the tasks are there: it is not theirs
  Outcome all;
  for (uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const Access access : PhasesOf(options)) {
      for (int i = 0; i < BarriersOfPhase(options); ++i) shared->Wait();
      const PhaseResult result = Reduce(options, access, repetition, *shared);
      Note(options, result, rows, out, &all);
    }
    if (!options.keep_file) {
      const double seconds = RemoveFiles(options, api, &all.errors);
      if (rows) fmt::print(out, "{}", FormatRemoveRow(seconds, repetition));
    }
    shared->Wait();
  }
  return all;
}

// Times since the moment that is the same for all.
TaskTimes Shifted(TaskTimes times, double zero) {
  for (double* one : {&times.open_begin, &times.open_end, &times.transfer_begin,
                      &times.transfer_end, &times.close_begin, &times.close_end}) {
    *one -= zero;
  }
  return times;
}

// Task and, as rank 0, conductor. The outcome is rank 0's.
Outcome ConductRank(const IorOptions& options, SharedState* shared, std::FILE* out) {
  MpiWorld* const world = shared->world;
  const bool first = world->rank() == 0;
  const bool rows = first && options.summary_format == SummaryFormat::kDefault;
  const BenchApi api(options);
  Outcome all;
  for (uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const Access access : PhasesOf(options)) {
      RunPhase(options, access, world->rank(), shared, api);
      const TaskTimes mine = Shifted(shared->times[world->rank()], world->zero());
      world->Gather(&mine, sizeof mine, shared->times);
      if (!first) continue;
      const PhaseResult result = Reduce(options, access, repetition, *shared);
      Note(options, result, rows, out, &all);
    }
    if (first && !options.keep_file) {
      const double seconds = RemoveFiles(options, api, &all.errors);
      if (rows) fmt::print(out, "{}", FormatRemoveRow(seconds, repetition));
    }
    world->Barrier();
  }
  return all;
}

void PrintSummary(const IorOptions& options, const std::vector<PhaseResult>& results,
                  const std::vector<std::string>& command_line, std::time_t began, std::FILE* out) {
  if (options.summary_format == SummaryFormat::kJson) {
    fmt::print(out, "{}", FormatJson(options, results, command_line, began));
  } else if (options.summary_format == SummaryFormat::kCsv) {
    fmt::print(out, "{}", FormatCsv(options, results));
  } else {
    const std::time_t now = std::time(nullptr);
    fmt::print(out, "{}Finished            : {}", FormatSummary(options, results),
               std::ctime(&now));
  }
  std::fflush(out);
}

int StatusOf(const Outcome& outcome, bool all_well) {
  const bool failed = outcome.errors + outcome.bad_words > 0;
  if (failed) {
    fmt::print(stderr, "sheen-bench ior: {} calls failed, {} words of data were wrong\n",
               outcome.errors, outcome.bad_words);
  }
  return failed || !all_well ? 1 : 0;
}

struct CloseFile {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

}  // namespace

int RunIor(int argc, char** argv, MpiWorld* world) {
  Result<IorOptions> parsed = ParseIorOptions(argc, argv);
  if (!parsed) {
    if (parsed.error().code() == Errc::kAlready) return 0;
    fmt::print(stderr, "sheen-bench ior: {}\n", parsed.error().message());
    return 2;
  }
  if (world != nullptr && parsed->task_count != 1 && parsed->task_count != world->size()) {
    fmt::print(stderr, "sheen-bench ior: -N {} under mpirun with {} processes: leave it out\n",
               parsed->task_count, world->size());
    return 2;
  }
  if (world != nullptr) {
    parsed->task_count = world->size();
    parsed->node_count = world->hosts();
  }
  const IorOptions& options = *parsed;
  const bool speaks = world == nullptr || world->rank() == 0;
  std::unique_ptr<std::FILE, CloseFile> file;
  if (speaks && !options.summary_file.empty()) {
    file.reset(std::fopen(options.summary_file.c_str(), "we"));
    if (file == nullptr) {
      fmt::print(stderr, "sheen-bench ior: -O summaryFile={}: {}\n", options.summary_file,
                 std::strerror(errno));
      return 2;
    }
  }
  std::FILE* const out = file ? file.get() : stdout;
  SharedState* shared = MakeShared(options.task_count);
  if (shared == nullptr) {
    fmt::print(stderr, "sheen-bench ior: no memory for {} tasks\n", options.task_count);
    return 1;
  }
  const std::time_t began = std::time(nullptr);
  const std::vector<std::string> command_line(argv, argv + argc);
  shared->world = world;
  if (speaks && options.summary_format == SummaryFormat::kDefault) {
    fmt::print(out, "{}", FormatHeader(options, command_line));
  }
  if (world != nullptr) {
    const Outcome outcome = ConductRank(options, shared, out);
    if (speaks) PrintSummary(options, outcome.results, command_line, began, out);
    return StatusOf(outcome, true);
  }
  const auto tasks = ForkTasks(
      options.task_count, [&options, shared](uint32_t task) { TaskMain(options, task, shared); });
  if (!tasks) {
    fmt::print(stderr, "sheen-bench ior: {}\n", tasks.error().message());
    return 1;
  }
  const Outcome outcome = Conduct(options, shared, out);
  const bool all_well = AwaitTasks(*tasks);
  PrintSummary(options, outcome.results, command_line, began, out);
  return StatusOf(outcome, all_well);
}

}  // namespace sheen::bench
