#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "layout/layout.h"
#include "support/layout_random.h"

namespace sheen::layout {
namespace {

constexpr uint64_t kGibibyte = 1ULL << 30;

std::vector<OstState> Osts(uint32_t servers, uint32_t each) {
  std::vector<OstState> out;
  for (uint32_t i = 0; i < servers * each; ++i)
    out.push_back({i, "oss" + std::to_string(i / each), 100 * kGibibyte, 200 * kGibibyte, true});
  return out;
}

Component Wanting(uint32_t count) { return PlainTemplate(count, 1 << 20).components[0]; }

std::string ServerOf(const std::vector<OstState>& osts, uint32_t index) {
  return std::ranges::find(osts, index, &OstState::index)->server;
}

TEST(ChooserTest, EqualOstsGetEqualShares) {
  for (const uint32_t count : {1U, 2U, 3U, 5U, 8U}) {
    const auto osts = Osts(4, 2);
    std::map<uint32_t, int> taken;
    uint64_t position = 0;
    for (int file = 0; file < 800; ++file) {
      const auto chosen = ChooseOsts(Wanting(count), osts, &position);
      ASSERT_TRUE(chosen.has_value());
      ASSERT_EQ(chosen->size(), count);
      for (const uint32_t ost : *chosen) ++taken[ost];
    }
    for (const auto& [ost, files] : taken) EXPECT_EQ(files, 800 * static_cast<int>(count) / 8);
    EXPECT_EQ(taken.size(), 8U);
  }
}

TEST(ChooserTest, StripesAreOnDifferentServersWhileThereAreSome) {
  const auto osts = Osts(4, 3);
  uint64_t position = 0;
  for (int file = 0; file < 100; ++file) {
    const auto chosen = ChooseOsts(Wanting(4), osts, &position);
    ASSERT_TRUE(chosen.has_value());
    std::set<std::string> servers;
    for (const uint32_t ost : *chosen) servers.insert(ServerOf(osts, ost));
    EXPECT_EQ(servers.size(), 4U);
  }
}

TEST(ChooserTest, NeverTheSameOstTwiceAndAllWhenAllAreWanted) {
  Random random(TestSeed());
  for (int round = 0; round < 2000; ++round) {
    std::vector<OstState> osts;
    const uint64_t total = 1 + random.Below(12);
    size_t usable = 0;
    for (uint64_t i = 0; i < total; ++i) {
      OstState ost{static_cast<uint32_t>(i * 5), "oss" + std::to_string(random.Below(3)),
                   random.Below(3) * random.Below(200 * kGibibyte), 200 * kGibibyte,
                   !random.OneIn(4)};
      if (ost.usable && ost.bytes_free >= 1 << 20) ++usable;
      osts.push_back(ost);
    }
    const uint32_t count = random.OneIn(3) ? kAllOsts : static_cast<uint32_t>(1 + random.Below(9));
    uint64_t position = random.Next();
    const auto chosen = ChooseOsts(Wanting(count), osts, &position);
    if (usable == 0) {
      ASSERT_EQ(chosen.error().code(), Errc::kNoSpace);
      continue;
    }
    ASSERT_TRUE(chosen.has_value()) << chosen.error().ToString();
    ASSERT_EQ(chosen->size(), std::min<size_t>(count, usable));
    ASSERT_EQ((std::set<uint32_t>(chosen->begin(), chosen->end()).size()), chosen->size());
    for (const uint32_t index : *chosen) {
      const auto ost = std::ranges::find(osts, index, &OstState::index);
      ASSERT_TRUE(ost != osts.end() && ost->usable && ost->bytes_free > 0);
    }
  }
}

TEST(ChooserTest, SharesFollowFreeSpaceWhenItDiffers) {
  auto osts = Osts(4, 1);
  const uint64_t free[] = {10, 20, 30, 40};
  for (size_t i = 0; i < 4; ++i) osts[i].bytes_free = free[i] * kGibibyte;
  std::map<uint32_t, int> taken;
  uint64_t position = 0;
  constexpr int kFiles = 10'000;
  for (int file = 0; file < kFiles; ++file) {
    const auto chosen = ChooseOsts(Wanting(1), osts, &position);
    ASSERT_TRUE(chosen.has_value());
    ++taken[chosen->front()];
  }
  for (uint32_t i = 0; i < 4; ++i)
    EXPECT_NEAR(taken[i], kFiles * static_cast<double>(free[i]) / 100, kFiles / 100) << i;
}

TEST(ChooserTest, WeightedStripesStillSpreadOverServers) {
  auto osts = Osts(2, 4);
  osts[0].bytes_free = 50 * kGibibyte;
  int both = 0;
  uint64_t position = 0;
  for (int file = 0; file < 1000; ++file) {
    const auto chosen = ChooseOsts(Wanting(2), osts, &position);
    ASSERT_TRUE(chosen.has_value());
    if (ServerOf(osts, (*chosen)[0]) != ServerOf(osts, (*chosen)[1])) ++both;
  }
  // By chance alone it would be about 570.
  EXPECT_GT(both, 750);
}

TEST(ChooserTest, FullDownAndMissingOstsAreLeftOut) {
  auto osts = Osts(3, 1);
  osts[0].usable = false;
  osts[1].bytes_free = 4096;
  uint64_t position = 0;
  EXPECT_EQ(*ChooseOsts(Wanting(kAllOsts), osts, &position), std::vector<uint32_t>{2});
  osts[2].usable = false;
  EXPECT_EQ(ChooseOsts(Wanting(1), osts, &position).error().code(), Errc::kNoSpace);
  EXPECT_EQ(ChooseOsts(Wanting(1), {}, &position).error().code(), Errc::kNoSpace);
}

TEST(ChooserTest, WantedOstsAreTakenInTheirOrderOrRefused) {
  auto osts = Osts(4, 1);
  uint64_t position = 0;
  Component component = Wanting(3);
  component.wanted_osts = {3, 0, 2};
  EXPECT_EQ(*ChooseOsts(component, osts, &position), (std::vector<uint32_t>{3, 0, 2}));
  EXPECT_EQ(position, 0U);
  component.wanted_osts = {3, 9, 2};
  EXPECT_EQ(ChooseOsts(component, osts, &position).error().code(), Errc::kInvalid);
  component.wanted_osts = {3, 0, 2};
  osts[0].usable = false;
  EXPECT_EQ(ChooseOsts(component, osts, &position).error().code(), Errc::kInvalid);
}

TEST(ChooserTest, FirstOstStartsAndTheNextFollowByIndex) {
  auto osts = Osts(4, 1);
  uint64_t position = 0;
  Component component = Wanting(3);
  component.first_ost = 2;
  EXPECT_EQ(*ChooseOsts(component, osts, &position), (std::vector<uint32_t>{2, 3, 0}));
  osts[3].usable = false;
  EXPECT_EQ(*ChooseOsts(component, osts, &position), (std::vector<uint32_t>{2, 0, 1}));
  component.first_ost = 7;
  EXPECT_EQ(ChooseOsts(component, osts, &position).error().code(), Errc::kInvalid);
  component.first_ost = 3;
  EXPECT_EQ(ChooseOsts(component, osts, &position).error().code(), Errc::kInvalid);
}

TEST(ChooserTest, OverstripedComponentsTakeEachOstBeforeAnyAgain) {
  Component component = Wanting(11);
  component.overstriped = true;
  uint64_t position = 0;
  const auto chosen = ChooseOsts(component, Osts(2, 2), &position);
  ASSERT_TRUE(chosen.has_value());
  ASSERT_EQ(chosen->size(), 11U);
  std::map<uint32_t, int> taken;
  for (const uint32_t ost : *chosen) ++taken[ost];
  EXPECT_EQ(taken.size(), 4U);
  for (const auto& [ost, stripes] : taken) EXPECT_GE(stripes, 2) << ost;
  component.stripe_count = kAllOsts - 2;
  EXPECT_EQ(ChooseOsts(component, Osts(2, 2), &position)->size(), 12U) << "three on each";
  component.stripe_count = kAllOsts;
  EXPECT_EQ(ChooseOsts(component, Osts(2, 2), &position)->size(), 4U);
}

TEST(ChooserTest, AShortComponentGetsNoMoreStripesThanItHolds) {
  const auto osts = Osts(4, 1);
  uint64_t position = 0;
  Component component = Wanting(4);
  component.end = 2 << 20;
  EXPECT_EQ(ChooseOsts(component, osts, &position)->size(), 2U);
  component.end = 1 << 20;
  component.stripe_count = kAllOsts;
  EXPECT_EQ(ChooseOsts(component, osts, &position)->size(), 1U);
}

}  // namespace
}  // namespace sheen::layout
