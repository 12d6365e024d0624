// With MPI: of sheen-bench-mpi alone (no_mpi.cc is sheen-bench's).
#include "apps/bench/mpi_world.h"

#include <mpi.h>

#include "apps/bench/task_group.h"

namespace sheen::bench {

Result<std::unique_ptr<MpiWorld>> MpiWorld::Join(int* argc, char*** argv) {
  // Errors of MPI end all processes: its default, and right.
  MPI_Init(argc, argv);
  std::unique_ptr<MpiWorld> world(new MpiWorld);
  int number = 0;
  MPI_Comm_rank(MPI_COMM_WORLD, &number);
  world->rank_ = static_cast<uint32_t>(number);
  MPI_Comm_size(MPI_COMM_WORLD, &number);
  world->size_ = static_cast<uint32_t>(number);
  MPI_Comm host = MPI_COMM_NULL;
  MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
  MPI_Comm_rank(host, &number);
  MPI_Comm_free(&host);
  const int first_here = number == 0 ? 1 : 0;
  MPI_Allreduce(&first_here, &number, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
  world->hosts_ = static_cast<uint32_t>(number);
  // The first makes the connections.
  world->Barrier();
  world->Barrier();
  world->zero_ = SecondsNow();
  return world;
}

MpiWorld::~MpiWorld() { MPI_Finalize(); }

void MpiWorld::Barrier() { MPI_Barrier(MPI_COMM_WORLD); }

void MpiWorld::Gather(const void* mine, size_t bytes, void* all) {
  const int count = static_cast<int>(bytes);
  MPI_Gather(mine, count, MPI_BYTE, all, count, MPI_BYTE, 0, MPI_COMM_WORLD);
}

void MpiWorld::Abort(int status) { MPI_Abort(MPI_COMM_WORLD, status); }

}  // namespace sheen::bench
