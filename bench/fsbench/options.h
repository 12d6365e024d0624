// Options of fsbench, see --help in options.cc. Immutable after parsing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fsbench {

constexpr uint32_t kProcsMax = 256;

struct Options {
  std::vector<std::string> directories;  // process i works in number i modulo their count
  std::string label;
  uint32_t procs = 1;
  uint32_t files = 2000;
  uint32_t mib = 256;
  double seconds = 2;
  size_t file_bytes = 0;
  size_t record_bytes = 47008;
  uint32_t depth = 1;             // threads a process in rand_read and rand_write
  bool shared_directory = false;  // all processes' small files in one directory
  bool shared_file = false;       // one big file for all processes
  bool fsync = false;             // before the close of a sequentially written file
  bool keep = false;              // the files stay
  std::vector<int> server_pids;
  std::vector<std::string> phases;
};

// False, with a message on stderr, when the command line is wrong.
bool ParseOptions(int argc, char** argv, Options* out);

}  // namespace fsbench
