#include "lock/mode.h"

#include <gtest/gtest.h>

#include <string>

namespace sheen::lock {
namespace {

// Lustre's matrix, one row a mode: x = granted together, g = in the same group.
constexpr std::array<std::string_view, kModeCount> kMatrix = {
    // EX PW PR CW CR NL GROUP
    ".....x.",  // EX
    "....xx.",  // PW
    "..x.xx.",  // PR
    "...xxx.",  // CW
    ".xxxxx.",  // CR
    "xxxxxxx",  // NL
    ".....xg",  // GROUP
};

TEST(ModeTest, EveryPairIsAsInTheMatrix) {
  for (const Mode a : kModes) {
    for (const Mode b : kModes) {
      const char cell = kMatrix[IndexOf(a)][IndexOf(b)];
      SCOPED_TRACE(std::string(NameOf(a)) + " " + std::string(NameOf(b)));
      EXPECT_EQ(Compatible(a, b), cell == 'x');
      EXPECT_EQ(Compatible(a, b, true), cell != '.');
      EXPECT_EQ(Compatible(a, b), Compatible(b, a));
    }
  }
}

TEST(ModeTest, BitValuesAreLustres) {
  EXPECT_EQ(static_cast<int>(Mode::kEx), 1);
  EXPECT_EQ(static_cast<int>(Mode::kPw), 2);
  EXPECT_EQ(static_cast<int>(Mode::kPr), 4);
  EXPECT_EQ(static_cast<int>(Mode::kCw), 8);
  EXPECT_EQ(static_cast<int>(Mode::kCr), 16);
  EXPECT_EQ(static_cast<int>(Mode::kNl), 32);
  EXPECT_EQ(static_cast<int>(Mode::kGroup), 64);
}

TEST(ModeTest, NamesAndIndexesFollowTheOrder) {
  constexpr std::array<std::string_view, kModeCount> names = {"EX", "PW", "PR",   "CW",
                                                              "CR", "NL", "GROUP"};
  for (size_t i = 0; i < kModeCount; ++i) {
    EXPECT_EQ(IndexOf(kModes[i]), i);
    EXPECT_EQ(NameOf(kModes[i]), names[i]);
  }
  EXPECT_EQ(NameOf(static_cast<Mode>(3)), "?");
}

TEST(ModeTest, BytesThatAreNoModeAreRefused) {
  for (const Mode mode : kModes) EXPECT_TRUE(IsMode(static_cast<uint16_t>(mode)));
  for (const uint16_t value : {0, 3, 65, 128, 0x8000, 0xFFFF}) EXPECT_FALSE(IsMode(value));
}

TEST(ModeTest, AWeakerModeConflictsWithNothingNew) {
  for (const Mode mode : kModes) {
    EXPECT_TRUE(IsNoStronger(mode, mode));
    EXPECT_TRUE(IsNoStronger(Mode::kNl, mode));
    for (const Mode weaker : kModes) {
      if (!IsNoStronger(weaker, mode)) continue;
      for (const Mode other : kModes) {
        if (Compatible(mode, other, true)) EXPECT_TRUE(Compatible(weaker, other, true));
      }
    }
  }
  EXPECT_TRUE(IsNoStronger(Mode::kPr, Mode::kPw));
  EXPECT_TRUE(IsNoStronger(Mode::kCw, Mode::kPw));
  EXPECT_TRUE(IsNoStronger(Mode::kCr, Mode::kPr));
  EXPECT_FALSE(IsNoStronger(Mode::kPw, Mode::kPr));
  EXPECT_FALSE(IsNoStronger(Mode::kPr, Mode::kCw));
  EXPECT_FALSE(IsNoStronger(Mode::kGroup, Mode::kEx));
  EXPECT_FALSE(IsNoStronger(Mode::kPr, Mode::kGroup)) << "others of the group are beside it";
}

TEST(ModeTest, WritingModesAreThoseThatExcludeReaders) {
  for (const Mode mode : kModes) EXPECT_EQ(IsWriting(mode), !Compatible(mode, Mode::kPr));
}

}  // namespace
}  // namespace sheen::lock
