#include "lock/mode.h"

namespace sheen::lock {
namespace {

constexpr uint16_t Bits(Mode mode) { return static_cast<uint16_t>(mode); }

template <class... Modes>
constexpr uint16_t Mask(Modes... modes) {
  return static_cast<uint16_t>((0 | ... | Bits(modes)));
}

// By IndexOf: the modes that are granted beside it. Lustre's matrix (lustre_dlm.h, LCK_COMPAT_*);
// GROUP beside GROUP depends on the ids and is not in it.
constexpr std::array<uint16_t, kModeCount> kCompatible = {
    Mask(Mode::kNl),                                              // EX
    Mask(Mode::kCr, Mode::kNl),                                   // PW
    Mask(Mode::kPr, Mode::kCr, Mode::kNl),                        // PR
    Mask(Mode::kCw, Mode::kCr, Mode::kNl),                        // CW
    Mask(Mode::kPw, Mode::kPr, Mode::kCw, Mode::kCr, Mode::kNl),  // CR
    Mask(Mode::kEx, Mode::kPw, Mode::kPr, Mode::kCw, Mode::kCr,   // NL
         Mode::kNl, Mode::kGroup),
    Mask(Mode::kNl),  // GROUP
};

constexpr std::array<std::string_view, kModeCount> kNames = {"EX", "PW", "PR",   "CW",
                                                             "CR", "NL", "GROUP"};

}  // namespace

bool Compatible(Mode a, Mode b, bool same_group) {
  if (a == Mode::kGroup && b == Mode::kGroup) return same_group;
  return (kCompatible[IndexOf(a)] & Bits(b)) != 0;
}

bool IsNoStronger(Mode weaker, Mode mode) {
  if (weaker == mode) return true;
  // A group lock stands beside others of its group, which no other mode but NL may do; and the
  // group that one would join is unknown here.
  if (mode == Mode::kGroup) return weaker == Mode::kNl;
  if (weaker == Mode::kGroup) return false;
  return (kCompatible[IndexOf(mode)] & ~kCompatible[IndexOf(weaker)]) == 0;
}

bool IsWriting(Mode mode) {
  return (Bits(mode) & Mask(Mode::kEx, Mode::kPw, Mode::kCw, Mode::kGroup)) != 0;
}

std::string_view NameOf(Mode mode) { return IsMode(Bits(mode)) ? kNames[IndexOf(mode)] : "?"; }

}  // namespace sheen::lock
