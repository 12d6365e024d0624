// Options of `sheen-bench mdtest`, with the letters and meanings of mdtest (hpc/ior, mdtest(1)), as
// far as this program has them. Immutable after parsing.
#pragma once

#include <cstdint>
#include <string>

#include "sheen/result.h"

namespace sheen::bench {

struct MdtestOptions {
  uint32_t task_count = 1;        // --tasks
  uint32_t items = 0;             // -n: directories, and files, of each task
  uint32_t iterations = 1;        // -i
  uint32_t stride = 0;            // -N
  uint64_t write_bytes = 0;       // -w
  uint64_t read_bytes = 0;        // -e
  bool unique_directory = false;  // -u
  bool directories = true;        // off by -F
  bool files = true;              // off by -D
  bool create = false;            // -C; all four when none is chosen
  bool stat = false;              // -T
  bool read = false;              // -E
  bool remove = false;            // -r
  bool rates = true;              // off by -Z
  bool times = false;             // -Z, -P
  std::string directory = "out";  // -d

  uint64_t items_total() const { return uint64_t{items} * task_count; }
};

// Errors: kInvalid, a sentence that names the option and its value; kAlready after --help.
Result<MdtestOptions> ParseMdtestOptions(int argc, char** argv);

}  // namespace sheen::bench
