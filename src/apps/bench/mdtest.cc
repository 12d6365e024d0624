// `sheen-bench mdtest`: the parent's part.
#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "apps/bench/benchmarks.h"
#include "apps/bench/mdtest_options.h"
#include "apps/bench/mdtest_report.h"
#include "apps/bench/mdtest_task.h"
#include "apps/bench/task_group.h"

namespace sheen::bench {
namespace {

// In memory that all tasks share; a slot for each task follows it.
struct MdtestShared {
  pthread_barrier_t barrier;
  MdtestSlot* slots;
};

MdtestShared* MakeShared(uint32_t task_count) {
  void* memory = MapShared(sizeof(MdtestShared) + task_count * sizeof(MdtestSlot));
  if (memory == nullptr) return nullptr;
  auto* shared = static_cast<MdtestShared*>(memory);
  shared->slots = reinterpret_cast<MdtestSlot*>(shared + 1);
  MakeBarrier(&shared->barrier, task_count + 1);
  return shared;
}

void TaskMain(const MdtestOptions& options, uint32_t task, MdtestShared* shared) {
  for (uint32_t iteration = 0; iteration < options.iterations; ++iteration) {
    for (const MdtestPhase phase : MdtestPhasesOf(options)) {
      pthread_barrier_wait(&shared->barrier);
      RunMdtestPhase(options, phase, iteration, task, &shared->slots[task]);
      pthread_barrier_wait(&shared->barrier);  // the parent reads the slots before the next phase
    }
  }
}

double SecondsOf(const MdtestOptions& options, MdtestPhase phase, const MdtestShared& shared) {
  // The tree is task 0's work; the others have nothing to do.
  const bool tree = phase == MdtestPhase::kTreeCreate || phase == MdtestPhase::kTreeRemove;
  double begin = shared.slots[0].begin;
  double end = shared.slots[0].end;
  for (uint32_t i = 1; i < (tree ? 1 : options.task_count); ++i) {
    begin = std::min(begin, shared.slots[i].begin);
    end = std::max(end, shared.slots[i].end);
  }
  return std::max(end - begin, 1e-9);
}

// Task and, as rank 0, conductor; others give nothing.
std::vector<MdtestTimes> ConductRank(const MdtestOptions& options, MdtestShared* shared,
                                     MpiWorld* world) {
  MdtestSlot mine;
  std::vector<MdtestTimes> iterations;
  for (uint32_t iteration = 0; iteration < options.iterations; ++iteration) {
    MdtestTimes times{};
    for (const MdtestPhase phase : MdtestPhasesOf(options)) {
      world->Barrier();
      RunMdtestPhase(options, phase, iteration, world->rank(), &mine);
      MdtestSlot told = mine;
      told.begin -= world->zero();
      told.end -= world->zero();
      world->Gather(&told, sizeof told, shared->slots);
      if (world->rank() != 0) continue;
      times[static_cast<size_t>(phase)] = SecondsOf(options, phase, *shared);
    }
    iterations.push_back(times);
  }
  return iterations;
}

// Of all phases, from what the tasks left in their slots.
int StatusOf(const MdtestOptions& options, const MdtestShared& shared, bool all_well) {
  uint64_t errors = 0;
  uint64_t bad_files = 0;
  for (uint32_t i = 0; i < options.task_count; ++i) {
    errors += shared.slots[i].errors;
    bad_files += shared.slots[i].bad_files;
  }
  if (errors + bad_files > 0) {
    std::fflush(stdout);
    fmt::print(stderr, "sheen-bench mdtest: {} calls failed, {} files were wrong\n", errors,
               bad_files);
  }
  return errors + bad_files > 0 || !all_well ? 1 : 0;
}

std::vector<MdtestTimes> Conduct(const MdtestOptions& options, MdtestShared* shared) {
  std::vector<MdtestTimes> iterations;
  for (uint32_t iteration = 0; iteration < options.iterations; ++iteration) {
    MdtestTimes times{};
    for (const MdtestPhase phase : MdtestPhasesOf(options)) {
      pthread_barrier_wait(&shared->barrier);
      pthread_barrier_wait(&shared->barrier);
      times[static_cast<size_t>(phase)] = SecondsOf(options, phase, *shared);
    }
    iterations.push_back(times);
  }
  return iterations;
}

}  // namespace

int RunMdtest(int argc, char** argv, MpiWorld* world) {
  Result<MdtestOptions> parsed = ParseMdtestOptions(argc, argv);
  if (!parsed) {
    if (parsed.error().code() == Errc::kAlready) return 0;
    fmt::print(stderr, "sheen-bench mdtest: {}\n", parsed.error().message());
    return 2;
  }
  if (world != nullptr && parsed->task_count != 1 && parsed->task_count != world->size()) {
    fmt::print(stderr,
               "sheen-bench mdtest: --tasks {} under mpirun with {} processes: leave it out\n",
               parsed->task_count, world->size());
    return 2;
  }
  if (world != nullptr) parsed->task_count = world->size();
  const MdtestOptions& options = *parsed;
  if (mkdir(options.directory.c_str(), 0755) != 0 && errno != EEXIST) {
    fmt::print(stderr, "sheen-bench mdtest: -d {}: {}\n", options.directory, std::strerror(errno));
    return 2;
  }
  MdtestShared* shared = MakeShared(options.task_count);
  if (shared == nullptr) {
    fmt::print(stderr, "sheen-bench mdtest: no memory for {} tasks\n", options.task_count);
    return 1;
  }
  const bool speaks = world == nullptr || world->rank() == 0;
  if (speaks) {
    fmt::print("{}", FormatMdtestHeader(options, std::vector<std::string>(argv, argv + argc)));
  }
  if (world != nullptr) {
    const std::vector<MdtestTimes> iterations = ConductRank(options, shared, world);
    if (!speaks) return 0;
    fmt::print("{}{}", FormatMdtestSummary(options, iterations), FormatMdtestEnd());
    return StatusOf(options, *shared, true);
  }
  const auto tasks = ForkTasks(
      options.task_count, [&options, shared](uint32_t task) { TaskMain(options, task, shared); });
  if (!tasks) {
    fmt::print(stderr, "sheen-bench mdtest: {}\n", tasks.error().message());
    return 1;
  }
  const std::vector<MdtestTimes> iterations = Conduct(options, shared);
  const bool all_well = AwaitTasks(*tasks);
  fmt::print("{}{}", FormatMdtestSummary(options, iterations), FormatMdtestEnd());
  return StatusOf(options, *shared, all_well);
}

}  // namespace sheen::bench
