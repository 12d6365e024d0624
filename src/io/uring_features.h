// What of a kernel's io_uring may be relied on, by the ring flags that it has taken.
//
// Thread-safe.
#pragma once

#include <linux/io_uring.h>

#include <cstdint>

namespace sheen::io {

// IORING_FEAT_CQE_SKIP came with Linux 5.17, but until 6.1 a short send with MSG_DONTWAIT and
// MSG_WAITALL ends as -EAGAIN and its count is lost: whoever sends on from there says bytes twice.
// 6.1 is told by DEFER_TASKRUN.
constexpr uint32_t UsableFeatures(uint32_t ring_flags, uint32_t features) {
  const bool counts = (ring_flags & IORING_SETUP_DEFER_TASKRUN) != 0;
  return counts ? features : features & ~uint32_t{IORING_FEAT_CQE_SKIP};
}

}  // namespace sheen::io
