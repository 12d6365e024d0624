#include "apps/lfs/component_flags.h"

#include <algorithm>
#include <array>
#include <cerrno>

namespace sheen::lfs {

namespace {

struct FlagName {
  const char* name;
  uint32_t bits;
};
// In the order in which they are shown; one that stands for two comes before them.
constexpr std::array kFlagNames = {
    FlagName{"init", kComponentHasObjects},
    FlagName{"prefer", layout::kPreferRead | layout::kPreferWrite},
    FlagName{"prefrd", layout::kPreferRead},
    FlagName{"prefwr", layout::kPreferWrite},
};

uint32_t BitsOf(const layout::Component& component) {
  return component.flags | (component.instantiated() ? kComponentHasObjects : 0);
}

std::expected<uint32_t, OptionError> BitsOf(const std::string& name) {
  for (const FlagName& flag : kFlagNames) {
    if (name == flag.name) return flag.bits;
  }
  if (name == "stale") {
    return std::unexpected(OptionError{
        "component flag 'stale': a file has one copy in Sheen, which cannot be stale", EUCLEAN});
  }
  for (const char* missing : {"nosync", "nocompr", "offline", "extension", "parity", "compress",
                              "partial"}) {
    if (name == missing) {
      return std::unexpected(
          OptionError{"component flag '" + name + "' is not implemented in Sheen", EOPNOTSUPP});
    }
  }
  return std::unexpected(OptionError{"bad component flags '" + name + "'"});
}

}  // namespace

bool FlagList::Matches(const layout::Component& component) const {
  const uint32_t bits = BitsOf(component);
  return (bits & with) == with && (bits & without) == 0;
}

std::expected<FlagList, OptionError> ParseComponentFlags(const std::string& text) {
  FlagList list;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    std::string name = text.substr(begin, end - begin);
    const bool without = name.starts_with('^');
    const auto bits = BitsOf(without ? name.substr(1) : name);
    if (!bits) return std::unexpected(bits.error());
    (without ? list.without : list.with) |= *bits;
    begin = end + 1;
  }
  if ((list.with & list.without) != 0) {
    return std::unexpected(OptionError{"component flags '" + text + "' contradict themselves"});
  }
  return list;
}

std::string ComponentFlagsText(const layout::Component& component) {
  uint32_t bits = BitsOf(component);
  std::string text;
  for (const FlagName& flag : kFlagNames) {
    if ((bits & flag.bits) != flag.bits) continue;
    if (!text.empty()) text += ',';
    text += flag.name;
    bits &= ~flag.bits;
  }
  return text.empty() ? "0" : text;
}

}  // namespace sheen::lfs
