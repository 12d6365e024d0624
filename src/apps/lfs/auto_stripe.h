// How many stripes a file of a size should have: lfs migrate --auto-stripe. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "sheen/v1/mds.pb.h"

namespace sheen::lfs {

struct AutoStripe {
  // An object takes at most 1/cap of the free space of the fullest OST.
  uint64_t cap = 100;
  uint64_t free_bytes_min = 256ULL << 20;  // OSTs with less do not count
};

// One more than the square root of its GiB, and more while an object would be too large for `cap`;
// at most as many as there are OSTs that count, at least 1.
uint32_t AutoStripeCount(uint64_t file_bytes, const std::vector<v1::TargetSpace>& targets,
                         const AutoStripe& rules);

}  // namespace sheen::lfs
