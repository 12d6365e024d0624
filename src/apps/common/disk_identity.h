// One number for a disk that no other machine's disk has: targets that share a disk are told by it,
// also when different servers on one machine (in different containers, too) have them.
#pragma once

#include <cstdint>

namespace sheen::apps {

// Of st_dev and the running kernel's boot id (random(4)). 0 stays 0: not known. Thread-safe.
uint64_t DiskIdentity(uint64_t device);

}  // namespace sheen::apps
