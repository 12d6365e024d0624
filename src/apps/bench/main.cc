// sheen-bench: the bundled benchmarks, work-alikes of IOR and mdtest.

#include <fmt/format.h>

#include <cstdio>
#include <string>

#include "apps/bench/benchmarks.h"
#include "apps/common/version.h"

namespace {

constexpr char kHelp[] =
    R"(Usage: sheen-bench BENCHMARK [OPTIONS]
  ior      bandwidth of parallel reads and writes, as IOR; see sheen-bench ior --help
  mdtest   rates of metadata operations, as mdtest; see sheen-bench mdtest --help
           Both run under mpirun too, if MPI was there when they were built.
  --version
)";

}  // namespace

int main(int argc, char** argv) {
  const std::string benchmark = argc > 1 ? argv[1] : "";
  const bool known = benchmark == "ior" || benchmark == "mdtest";
  if (known) {
    const auto world = sheen::bench::MpiWorld::Join(&argc, &argv);
    if (!world) {
      fmt::print(stderr, "sheen-bench: {}\n", world.error().message());
      return 2;
    }
    const int status = benchmark == "ior"
                           ? sheen::bench::RunIor(argc - 1, argv + 1, world->get())
                           : sheen::bench::RunMdtest(argc - 1, argv + 1, world->get());
    if (status != 0 && *world != nullptr) (*world)->Abort(status);
    return status;
  }
  if (benchmark == "--help" || benchmark == "-h" || benchmark == "help") {
    fmt::print("{}", kHelp);
    return 0;
  }
  if (benchmark == "--version") {
    fmt::print("sheen-bench {}\n", sheen::apps::kVersion);
    return 0;
  }
  fmt::print(stderr, "sheen-bench: '{}' is not a benchmark; known: ior, mdtest\n", benchmark);
  return 2;
}
