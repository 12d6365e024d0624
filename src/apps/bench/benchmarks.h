// The benchmarks of sheen-bench. argv[0] is the benchmark's name. Each returns the exit status: 0,
// 1 when a call failed or data was wrong, 2 when the command line was. Main thread only.
#pragma once

#include "apps/bench/mpi_world.h"

namespace sheen::bench {

// `world`: the tasks are its ranks, of which this process is one; null: they are forked.
int RunIor(int argc, char** argv, MpiWorld* world);
int RunMdtest(int argc, char** argv, MpiWorld* world);

}  // namespace sheen::bench
