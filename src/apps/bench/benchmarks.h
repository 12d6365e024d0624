// The benchmarks of sheen-bench. argv[0] is the benchmark's name. Each returns the exit status: 0,
// 1 when a call failed or data was wrong, 2 when the command line was. Main thread only.
#pragma once

namespace sheen::bench {

int RunIor(int argc, char** argv);
int RunMdtest(int argc, char** argv);

}  // namespace sheen::bench
