// The tasks of a benchmark: forked processes in step with their parent.
//
//   auto* shared = static_cast<MyShared*>(MapShared(sizeof(MyShared)));   // before the fork
//   MakeBarrier(&shared->barrier, task_count + 1);                        // the tasks, the parent
//   SHEEN_TRY_ASSIGN(auto tasks, ForkTasks(task_count, [&](uint32_t task) { ... }));
//   ... pthread_barrier_wait(&shared->barrier) on both sides ...
//   const bool all_well = AwaitTasks(tasks);
//
// A task that dies would leave everyone at the barrier: then the parent ends at once with status 1,
// and the other tasks with it, however the parent ends. Main thread only, one group a process.
#pragma once

#include <pthread.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "sheen/result.h"

namespace sheen::bench {

inline constexpr uint32_t kTasksMax = 4096;

// Zeroed memory that the children of this process share; nullptr when there is none.
void* MapShared(size_t bytes);
void MakeBarrier(pthread_barrier_t* barrier, uint32_t parties);

// Runs `body` in `count` children, each of which ends with status 0 after it. Errors: of fork(2).
Result<std::vector<pid_t>> ForkTasks(uint32_t count, const std::function<void(uint32_t)>& body);
// Did all end with status 0?
bool AwaitTasks(const std::vector<pid_t>& tasks);

// Of the steady clock, which all processes share.
double SecondsNow();

}  // namespace sheen::bench
