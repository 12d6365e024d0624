// Options of `sheen-bench ior`, with the letters and meanings of the IOR benchmark (hpc/ior, user
// documentation "Options"), as far as this program has them. Immutable after parsing.
#pragma once

#include <cstdint>
#include <string>

#include "sheen/result.h"

namespace sheen::bench {

enum class Api : uint8_t { kPosix, kSheen };  // system calls, or libsheen without a mount
constexpr const char* NameOf(Api api) { return api == Api::kSheen ? "SHEEN" : "POSIX"; }
enum class SummaryFormat : uint8_t { kDefault, kJson, kCsv };

struct IorOptions {
  Api api = Api::kPosix;                // -a
  std::string sheen_source;             // --sheen.source: of -a SHEEN, as mount(8) takes it
  uint16_t sheen_port = 7988;           // --sheen.port
  uint64_t block_bytes = 1 << 20;       // -b: contiguous bytes a task writes per segment
  uint64_t transfer_bytes = 256 << 10;  // -t: bytes of one call
  uint64_t segment_count = 1;           // -s
  uint32_t task_count = 1;              // -N
  uint32_t node_count = 1;              // hosts that they are on, for the report
  uint32_t repetitions = 1;             // -i
  uint64_t random_seed = 0;             // --seed: of -z
  bool file_per_process = false;        // -F
  bool reorder_tasks = false;           // -C: tasks read what their neighbour wrote
  bool barriers = false;                // -g: also between open, transfers and close
  bool fsync = false;                   // -e: fsync after the writes of a task
  bool keep_file = false;               // -k
  bool read = false;                    // -r
  bool write = false;                   // -w
  bool check_write = false;             // -W: read back and compare after writing
  bool check_read = false;              // -R: compare what was read
  bool random_offset = false;           // -z
  bool direct = false;                  // -B, --posix.odirect
  std::string test_file = "testFile";   // -o
  SummaryFormat summary_format = SummaryFormat::kDefault;  // -O summaryFormat=
  std::string summary_file;                                // -O summaryFile=: else stdout

  uint64_t bytes_per_task() const { return block_bytes * segment_count; }
  uint64_t bytes_total() const { return bytes_per_task() * task_count; }
  uint64_t transfers_per_task() const { return bytes_per_task() / transfer_bytes; }
};

// Sizes as IOR takes them: a number and k, m, g, t (powers of 1024). Errors: kInvalid, a sentence
// that names the option and its value; kAlready after --help was printed.
Result<IorOptions> ParseIorOptions(int argc, char** argv);

}  // namespace sheen::bench
