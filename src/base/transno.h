// Numbers of changes: transno = boot count of the store << 40 | counter, from 1. So they rise over
// restarts too, and tell which boot gave them (src/mdt/transno.h, docs/formats/ost.md).
#pragma once

#include <cstdint>

namespace sheen {

inline constexpr int kTransnoBootShift = 40;

// The first number of `boot` is above it.
constexpr uint64_t TransnoBase(uint64_t boot) { return boot << kTransnoBootShift; }
constexpr uint64_t BootOf(uint64_t transno) { return transno >> kTransnoBootShift; }

}  // namespace sheen
