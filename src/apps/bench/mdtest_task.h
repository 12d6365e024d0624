// One task of `sheen-bench mdtest`: a forked process that does its part of each phase.
//
// Names below DIR (-d), of iteration I, made by task T, item number N:
//   test-dir.0-I/mdtest_tree.0/dir.mdtest.T.N    (without -u)
//   test-dir.0-I/mdtest_tree.T/file.mdtest.T.N   (with -u)
#pragma once

#include <pthread.h>

#include <cstdint>
#include <string>
#include <vector>

#include "apps/bench/mdtest_options.h"

namespace sheen::bench {

enum class MdtestPhase : uint8_t {
  kDirectoryCreate,
  kDirectoryStat,
  kDirectoryRemove,
  kFileCreate,
  kFileStat,
  kFileRead,
  kFileRemove,
  kTreeCreate,
  kTreeRemove,
};
inline constexpr size_t kMdtestPhaseCount = 9;

// What one task leaves of a phase, in memory that it shares with its parent.
struct MdtestSlot {
  double begin = 0, end = 0;  // SecondsNow()
  uint64_t errors = 0;        // calls that failed, over all phases
  uint64_t bad_files = 0;     // files with wrong data, over all phases
};

// The phases that the options ask for, in the order in which they are run.
std::vector<MdtestPhase> MdtestPhasesOf(const MdtestOptions& options);
// Operations of all tasks together in a phase.
uint64_t MdtestOperationsOf(const MdtestOptions& options, MdtestPhase phase);

std::string MdtestTreeOf(const MdtestOptions& options, uint32_t iteration, uint32_t task);

// Everything of one phase for one task, timed. The tree's phases are task 0's alone. Prints the
// first errors.
void RunMdtestPhase(const MdtestOptions& options, MdtestPhase phase, uint32_t iteration,
                    uint32_t task, MdtestSlot* slot);

}  // namespace sheen::bench
