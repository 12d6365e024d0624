// Mode: how a lock is held, and which modes are granted together. Lustre's modes with Lustre's bit
// values, so that a set of modes is a mask and tools print what people know.
//
//   EX  alone                    CW  writes among other such writers
//   PW  the only writer          CR  reads whatever writers there are, but not beside EX
//   PR  reads, nobody writes     NL  nothing: holds only the name
//   GROUP  shared by those who name the same group id
//
// Pure functions; immutable values.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace sheen::lock {

// Stable on the wire: never renumber.
enum class Mode : uint16_t {
  kEx = 1,
  kPw = 2,
  kPr = 4,
  kCw = 8,
  kCr = 16,
  kNl = 32,
  kGroup = 64,
};

inline constexpr size_t kModeCount = 7;
inline constexpr std::array<Mode, kModeCount> kModes = {
    Mode::kEx, Mode::kPw, Mode::kPr, Mode::kCw, Mode::kCr, Mode::kNl, Mode::kGroup};

// Bytes from the wire: is it one of kModes?
constexpr bool IsMode(uint16_t value) {
  return std::has_single_bit(value) && value <= static_cast<uint16_t>(Mode::kGroup);
}
// Index into kModes.
constexpr size_t IndexOf(Mode mode) {
  return static_cast<size_t>(std::countr_zero(static_cast<uint16_t>(mode)));
}

// May two holders have `a` and `b` at the same time, on things that overlap? Symmetric. Two group
// locks go together only when their group ids are equal, which the caller knows.
bool Compatible(Mode a, Mode b, bool same_group = false);
// Does `weaker` conflict with nothing that `mode` does not conflict with? True for equal modes.
bool IsNoStronger(Mode weaker, Mode mode);
// May a holder change data: EX, PW, CW, GROUP.
bool IsWriting(Mode mode);
// "PW"; "?" for what is no mode.
std::string_view NameOf(Mode mode);

}  // namespace sheen::lock
