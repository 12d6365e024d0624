// Flags of open(2) that the kernel hands to a filesystem and no C library names.
#pragma once

#include <cstdint>

namespace sheen {

// Linux's __FMODE_EXEC: the file is opened to be run.
inline constexpr uint32_t kOpenForExecution = 0x20;

}  // namespace sheen
