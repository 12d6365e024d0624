// One task of the benchmark: a forked process that writes or reads its part, in step with the
// others.
//
// The data is that of data_pattern.h; the writer of a shared file is 0, of task T's own file T + 1.
#pragma once

#include <pthread.h>

#include <atomic>
#include <cstdint>
#include <string>

#include "apps/bench/ior_file.h"
#include "apps/bench/ior_options.h"
#include "apps/bench/mpi_world.h"

namespace sheen::bench {

enum class Access : uint8_t { kWrite, kRead, kCheckWrite };

// Seconds since the phase began, per task.
struct TaskTimes {
  double open_begin = 0, open_end = 0;
  double transfer_begin = 0, transfer_end = 0;
  double close_begin = 0, close_end = 0;
  uint64_t errors = 0;     // calls that failed
  uint64_t bad_words = 0;  // data that was wrong
};

// In memory shared by all tasks; made by the parent before fork.
struct SharedState {
  pthread_barrier_t barrier;
  TaskTimes* times;  // one a task, in the same shared mapping
  MpiWorld* world;   // not null: the tasks are its ranks, and this is each one's own
  void Wait() {
    if (world != nullptr) return world->Barrier();
    pthread_barrier_wait(&barrier);
  }
};

std::string FileOf(const IorOptions& options, uint32_t task);
// Every task calls it for each phase; returns when all are through. Fills shared->times[task].
void RunPhase(const IorOptions& options, Access access, uint32_t task, SharedState* shared,
              const BenchApi& api);
// How often RunPhase waits at the barrier; the parent does as often.
inline int BarriersOfPhase(const IorOptions& options) { return options.barriers ? 4 : 2; }

}  // namespace sheen::bench
