#include "client/page_registry.h"

#include <gtest/gtest.h>

namespace sheen::client {
namespace {

constexpr uint64_t kSession = 7;

PageRegistry::Entry Wanted(uint32_t ost, uint32_t oid, uint64_t session = kSession) {
  PageRegistry::Entry entry;
  entry.session = session;
  entry.ost = ost;
  entry.fid = {0x200000400, oid, 0};
  entry.object = {entry.fid, 1, 0};
  return entry;
}

bool Always(const Fid&) { return true; }

std::function<uint64_t()> Id(uint64_t id) {
  return [id] { return id; };
}

TEST(PageRegistryTest, EachReadAsksUntilTheOssKnows) {
  PageRegistry pages;
  EXPECT_EQ(pages.Ask(Wanted(0, 1), Id(11)), 11U);
  EXPECT_EQ(pages.Ask(Wanted(0, 1), Id(12)), 11U) << "one that comes before the first is answered";
  EXPECT_EQ(pages.Ask(Wanted(1, 1), Id(13)), 13U) << "another target's object";
  pages.Known(11);
  EXPECT_EQ(pages.Ask(Wanted(0, 1), Id(14)), 0U);
  EXPECT_EQ(pages.size(), 2U);
}

TEST(PageRegistryTest, AfterACallbackTheNextReadAsksAnew) {
  PageRegistry pages;
  pages.Ask(Wanted(0, 1), Id(11));
  const auto called = pages.TakeCalled(11);
  ASSERT_TRUE(called);
  EXPECT_EQ(called->fid, (Fid{0x200000400, 1, 0}));
  EXPECT_FALSE(pages.TakeCalled(11));
  pages.Known(11);  // the answer that the callback overtook
  EXPECT_EQ(pages.Ask(Wanted(0, 1), Id(12)), 12U);
}

TEST(PageRegistryTest, WhoOnlyWritesAsksForNothing) {
  PageRegistry pages;
  EXPECT_EQ(pages.AskToWrite(Wanted(0, 1), Id(11)), 0U);
  EXPECT_EQ(pages.Ask(Wanted(0, 1), Id(12)), 12U);
  EXPECT_EQ(pages.AskToWrite(Wanted(0, 1), Id(13)), 12U);
  pages.Known(12);
  EXPECT_EQ(pages.AskToWrite(Wanted(0, 1), Id(14)), 0U);
  // What it writes after a callback is in pages that it may have mapped.
  pages.TakeCalled(12);
  EXPECT_EQ(pages.AskToWrite(Wanted(0, 1), Id(15)), 15U);
  EXPECT_EQ(pages.AskToWrite(Wanted(0, 2), Id(16)), 0U);
}

TEST(PageRegistryTest, WhatAnotherSessionKnewCountsForNothing) {
  PageRegistry pages;
  pages.Ask(Wanted(0, 1), Id(11));
  pages.Known(11);
  EXPECT_EQ(pages.Ask(Wanted(0, 1, kSession + 1), Id(12)), 12U);
  EXPECT_FALSE(pages.TakeCalled(11));
  EXPECT_EQ(pages.size(), 1U);
}

TEST(PageRegistryTest, AServersAreTakenTogether) {
  PageRegistry pages;
  for (uint32_t oid = 1; oid <= 4; ++oid) pages.Ask(Wanted(oid % 2, oid), Id(10 + oid));
  EXPECT_EQ(pages.TakeOf({1}).size(), 2U);
  EXPECT_EQ(pages.size(), 2U);
  EXPECT_TRUE(pages.TakeOf({1}).empty());
}

TEST(PageRegistryTest, TheOldestGoThatMay) {
  PageRegistry pages;
  for (uint32_t oid = 1; oid <= 6; ++oid) pages.Ask(Wanted(0, oid), Id(10 + oid));
  EXPECT_TRUE(pages.TakeSurplus(2, Always, 6).empty());
  const auto not_the_first = [](const Fid& fid) { return fid.oid != 1; };
  const auto taken = pages.TakeSurplus(2, not_the_first, 5);
  ASSERT_EQ(taken.size(), 2U);
  EXPECT_EQ(taken[0].id, 12U);
  EXPECT_EQ(taken[1].id, 13U);
  EXPECT_TRUE(pages.TakeSurplus(2, [](const Fid&) { return false; }, 1).empty());
  EXPECT_EQ(pages.size(), 4U);
}

}  // namespace
}  // namespace sheen::client
