// What the two random programs share: a command line, a seed that is printed, and dying with the
// number of the operation that failed.
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace sheen::posix {

struct Options {
  std::string local;                // a directory of a local filesystem
  std::vector<std::string> mounts;  // of one filesystem
  std::string mode = "buffered";
  uint64_t operations = 1000;
};

inline Options ParseOptions(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view flag = argv[i];
    if (flag == "--local") options.local = argv[i + 1];
    if (flag == "--mount") options.mounts.emplace_back(argv[i + 1]);
    if (flag == "--mode") options.mode = argv[i + 1];
    if (flag == "--operations") options.operations = std::strtoull(argv[i + 1], nullptr, 10);
  }
  if (options.mounts.empty()) {
    std::fprintf(stderr, "usage: %s --mount DIR [--mount DIR] [--local DIR] [--operations N]\n",
                 argv[0]);
    std::exit(2);
  }
  return options;
}

// From SHEEN_SEED, else new; printed either way.
inline uint64_t Seed() {
  const char* given = std::getenv("SHEEN_SEED");
  const uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("SHEEN_SEED=%llu\n", static_cast<unsigned long long>(seed));
  std::fflush(stdout);
  return seed;
}

class Random final {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  // 0 to below - 1.
  uint64_t Below(uint64_t below) { return engine_() % below; }
  bool OneIn(uint64_t count) { return Below(count) == 0; }

 private:
  std::mt19937_64 engine_;
};

}  // namespace sheen::posix
