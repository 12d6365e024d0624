// How OSTs are numbered and called.
//
// Thread-safe.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>
#include <string_view>

namespace sheen::layout {

// As in Lustre (lustre_user.h: LOV_V1_INSANE_STRIPE_INDEX).
inline constexpr uint32_t kOstIndexMax = 0xffdf;

// "sheen-OST0001": the target's, in messages, statistics and its superblock.
inline std::string OstName(std::string_view fsname, uint32_t index) {
  return fmt::format("{}-OST{:04x}", fsname, index);
}

// "sheen-OST0001_UUID": as Lustre's tools name the target.
inline std::string OstUuidName(std::string_view fsname, uint32_t index) {
  return OstName(fsname, index) + "_UUID";
}

}  // namespace sheen::layout
