// Flags of components as `lfs` writes them: "init,prefer", "^init". Pure.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

#include "apps/lfs/command.h"
#include "layout/layout.h"

namespace sheen::lfs {

// Lustre's bit; the others are layout::ComponentFlag's.
inline constexpr uint32_t kComponentHasObjects = 0x10;

struct FlagList {
  uint32_t with = 0;
  uint32_t without = 0;  // those behind ^
  bool Matches(const layout::Component& component) const;
};

// Error: what is not a flag, or one that Sheen does not have.
std::expected<FlagList, OptionError> ParseComponentFlags(const std::string& text);
// "0": none.
std::string ComponentFlagsText(const layout::Component& component);

}  // namespace sheen::lfs
