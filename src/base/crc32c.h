// CRC32C (Castagnoli, iSCSI: RFC 3720 appendix B.4), by isa-l. Thread-safe.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace sheen {

// Crc32c("123456789") == 0xE3069283. `seed` is the result for the bytes before, to go on from it.
uint32_t Crc32c(ByteSpan data, uint32_t seed = 0);

}  // namespace sheen
