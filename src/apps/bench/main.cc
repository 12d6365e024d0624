// sheen-bench: the bundled benchmark. `sheen-bench ior` is a work-alike of IOR.

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string>
#include <vector>

#include "apps/bench/ior_options.h"
#include "apps/bench/ior_report.h"
#include "apps/bench/ior_task.h"

namespace sheen::bench {
namespace {

SharedState* MakeShared(uint32_t task_count) {
  const size_t size = sizeof(SharedState) + task_count * sizeof(TaskTimes);
  void* memory = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  auto* shared = static_cast<SharedState*>(memory);
  shared->times = reinterpret_cast<TaskTimes*>(shared + 1);
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(&shared->barrier, &attributes, task_count + 1);
  return shared;
}

std::vector<Access> PhasesOf(const IorOptions& options) {
  std::vector<Access> out;
  if (options.write) out.push_back(Access::kWrite);
  if (options.check_write) out.push_back(Access::kCheckWrite);
  if (options.read || options.check_read) out.push_back(Access::kRead);
  return out;
}

// The parent's part of RunPhase: it takes part in the three barriers only.
void ConductPhase(SharedState* shared) {
  for (int i = 0; i < 3; ++i) pthread_barrier_wait(&shared->barrier);
}

double RemoveFiles(const IorOptions& options, uint64_t* errors) {
  const double begin = SecondsNow();
  for (uint32_t i = 0; i < (options.file_per_process ? options.task_count : 1); ++i) {
    if (unlink(FileOf(options, i).c_str()) == 0) continue;
    fmt::print(stderr, "ERROR: remove {}: {}\n", FileOf(options, i), std::strerror(errno));
    ++*errors;
  }
  return SecondsNow() - begin;
}

[[noreturn]] void TaskMain(const IorOptions& options, uint32_t task, SharedState* shared) {
  for (uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const Access access : PhasesOf(options)) RunPhase(options, access, task, shared);
    pthread_barrier_wait(&shared->barrier);  // the parent removes the files before it
  }
  _exit(0);
}

// Starts the tasks; false (and none is left behind) when fork fails.
bool ForkTasks(const IorOptions& options, SharedState* shared, std::vector<pid_t>* children) {
  for (uint32_t task = 0; task < options.task_count; ++task) {
    const pid_t child = fork();
    if (child == 0) TaskMain(options, task, shared);
    if (child < 0) {
      fmt::print(stderr, "ERROR: fork: {}\n", std::strerror(errno));
      for (const pid_t started : *children) kill(started, SIGKILL);
      return false;
    }
    children->push_back(child);
  }
  return true;
}

int RunIor(int argc, char** argv) {
  const Result<IorOptions> parsed = ParseIorOptions(argc, argv);
  if (!parsed) {
    if (parsed.error().code() == Errc::kAlready) return 0;
    fmt::print(stderr, "sheen-bench ior: {}\n", parsed.error().message());
    return 2;
  }
  const IorOptions& options = *parsed;
  SharedState* shared = MakeShared(options.task_count);
  if (shared == nullptr) {
    fmt::print(stderr, "sheen-bench ior: no memory for {} tasks\n", options.task_count);
    return 2;
  }
  fmt::print("{}", FormatHeader(options, std::vector<std::string>(argv, argv + argc)));
  std::fflush(nullptr);
  std::vector<pid_t> children;
  if (!ForkTasks(options, shared, &children)) return 2;
  std::vector<PhaseResult> results;
  uint64_t errors = 0;
  uint64_t bad_words = 0;
  for (uint32_t repetition = 0; repetition < options.repetitions; ++repetition) {
    for (const Access access : PhasesOf(options)) {
      ConductPhase(shared);
      results.push_back(Reduce(options, access, repetition, *shared));
      errors += results.back().errors;
      bad_words += results.back().bad_words;
      if (access != Access::kCheckWrite) fmt::print("{}", FormatRow(options, results.back()));
      std::fflush(stdout);
    }
    if (!options.keep_file) {
      fmt::print("{}", FormatRemoveRow(RemoveFiles(options, &errors), repetition));
    }
    pthread_barrier_wait(&shared->barrier);
  }
  for (const pid_t child : children) waitpid(child, nullptr, 0);
  fmt::print("{}", FormatSummary(options, results));
  if (errors + bad_words > 0) {
    fmt::print(stderr, "sheen-bench ior: {} calls failed, {} words of data were wrong\n", errors,
               bad_words);
    return 1;
  }
  const std::time_t now = std::time(nullptr);
  fmt::print("Finished            : {}", std::ctime(&now));
  return 0;
}

}  // namespace
}  // namespace sheen::bench

int main(int argc, char** argv) {
  const std::string command = argc > 1 ? argv[1] : "";
  if (command == "ior") return sheen::bench::RunIor(argc - 1, argv + 1);
  if (command == "--help" || command == "help") {
    fmt::print("Usage: sheen-bench ior [OPTIONS]     see sheen-bench ior --help\n");
    return 0;
  }
  fmt::print(stderr, "sheen-bench: '{}' is not a benchmark; known: ior\n", command);
  return 2;
}
