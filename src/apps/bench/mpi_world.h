// MpiWorld: the processes that mpirun started, one task each, on one host or several. sheen-bench
// itself has none and forks its tasks (task_group.h); under mpirun it becomes sheen-bench-mpi,
// which is built where MPI is installed.
//
// Main thread only, one a process.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "sheen/result.h"

namespace sheen::bench {

class MpiWorld final {
 public:
  ~MpiWorld();
  MpiWorld(const MpiWorld&) = delete;
  MpiWorld& operator=(const MpiWorld&) = delete;

  // nullptr: this process was not started by mpirun. Errors: kNotSupported: it was, and there is no
  // sheen-bench-mpi to become.
  static Result<std::unique_ptr<MpiWorld>> Join(int* argc, char*** argv);

  uint32_t rank() const { return rank_; }
  uint32_t size() const { return size_; }
  // That they are on.
  uint32_t hosts() const { return hosts_; }
  // All leave it after the last has come.
  void Barrier();
  // `bytes` of every rank, in their order, into `all` of rank 0 (of others: not used).
  void Gather(const void* mine, size_t bytes, void* all);
  // Ends all of them, so that nobody waits for who has failed early.
  void Abort(int status);
  // SecondsNow() of this process at a moment that was the same for all: the hosts' clocks differ.
  double zero() const { return zero_; }

 private:
  MpiWorld() = default;

  uint32_t rank_ = 0;
  uint32_t size_ = 1;
  uint32_t hosts_ = 1;
  double zero_ = 0;
};

}  // namespace sheen::bench
