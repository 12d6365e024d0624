// For a simulation: what RandomU64 and Uuid::Random answer on this thread comes from a seed while
// this lives, and from getrandom(2) again afterwards.
//
//   SeededRandomness seeded(7);
//   Uuid::Random();  // the same in every run
//
// Shard-confined: made and destroyed on the thread it is for; they may nest. Never in a daemon,
// whose sessions' secrets are such numbers.
#pragma once

#include "base/random.h"

namespace sheen {

class SeededRandomness final {
 public:
  explicit SeededRandomness(uint64_t seed);
  ~SeededRandomness();
  SeededRandomness(const SeededRandomness&) = delete;
  SeededRandomness& operator=(const SeededRandomness&) = delete;

 private:
  Random random_;
  Random* const before_;
};

}  // namespace sheen
