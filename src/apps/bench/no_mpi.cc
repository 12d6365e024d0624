// Without MPI: under mpirun sheen-bench becomes sheen-bench-mpi, where that was built. So this
// program, which every node has, does not need MPI's libraries.
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "apps/bench/mpi_world.h"

namespace sheen::bench {
namespace {

// As Open MPI, MPICH and Slurm tell their processes.
bool StartedByMpirun() {
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  return false;
}

}  // namespace

Result<std::unique_ptr<MpiWorld>> MpiWorld::Join(int*, char*** argv) {
  if (!StartedByMpirun()) return std::unique_ptr<MpiWorld>();
  std::error_code error;
  const auto here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  // In a build tree; installed.
  for (const char* place : {"sheen-bench-mpi", "../libexec/sheen/sheen-bench-mpi"}) {
    const std::string program = (here / place).string();
    ::execv(program.c_str(), *argv);
  }
  return Fail(Errc::kNotSupported,
              "started by mpirun, but sheen-bench-mpi is not installed, or its MPI libraries are "
              "not: use -N (ior) or --tasks (mdtest) on one host, or build it where "
              "libopenmpi-dev is installed");
}

MpiWorld::~MpiWorld() = default;

void MpiWorld::Barrier() {}

void MpiWorld::Gather(const void*, size_t, void*) {}

void MpiWorld::Abort(int) {}

}  // namespace sheen::bench
