// The seed of a random test: from SHEEN_SEED, else new; printed either way.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <iostream>

#include "base/random.h"

namespace sheen::lock {

inline uint64_t TestSeed() {
  const char* const given = std::getenv("SHEEN_SEED");
  const uint64_t seed = given != nullptr ? std::strtoull(given, nullptr, 0) : RandomU64();
  std::cout << "SHEEN_SEED=" << seed << "\n";
  return seed;
}

}  // namespace sheen::lock
