#include "base/origin_stats.h"

#include <gtest/gtest.h>

#include <thread>

namespace sheen {
namespace {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'714'550'000 * kSecond;
constexpr size_t kReadBytes = 0;
constexpr size_t kOpen = 1;

OriginStats Stats() { return OriginStats({{"read_bytes", Unit::kBytes}, {"open"}}); }

TEST(OriginStatsTest, YamlIsLustres) {
  OriginStats stats = Stats();
  stats.Record("cp.0.host1", kReadBytes, 4096, kStart);
  stats.Record("cp.0.host1", kReadBytes, 1048576, kStart + 7600 * kSecond / 100);
  stats.Record("b c\n", kOpen, 3, kStart);
  stats.Record("b c\n", kOpen, 9, kStart + 1);
  EXPECT_EQ(stats.Yaml("job_id", kStart + 100 * kSecond + 5),
            "- job_id:          b\\x20c\\x0a\n"
            "  snapshot_time:   1714550000.000000001\n"
            "  start_time:      1714550000.000000000\n"
            "  elapsed_time:    100.000000005\n"
            "  open:            { samples:           2, unit: usecs, min:        3, max:        9, "
            "sum:              12, sumsq:              90 }\n"
            "- job_id:          cp.0.host1\n"
            "  snapshot_time:   1714550076.000000000\n"
            "  start_time:      1714550000.000000000\n"
            "  elapsed_time:    100.000000005\n"
            "  read_bytes:      { samples:           2, unit: bytes, min:     4096, max:  1048576, "
            "sum:         1052672, sumsq:   1099528404992 }\n");
  EXPECT_EQ(Stats().Yaml("job_id", kStart), "");
}

TEST(OriginStatsTest, WhatIsIdleForTheIntervalGoesAndBeginsAnew) {
  OriginStats stats = Stats();
  stats.set_cleanup_seconds(10);
  stats.Record("a", kOpen, 1, kStart);
  EXPECT_EQ(stats.All(kStart + 10 * kSecond).size(), 1u);
  EXPECT_EQ(stats.All(kStart + 11 * kSecond).size(), 0u);
  stats.Record("a", kOpen, 1, kStart + 11 * kSecond);
  ASSERT_EQ(stats.All(kStart + 11 * kSecond).size(), 1u);
  EXPECT_EQ(stats.All(kStart + 11 * kSecond)[0].sums[kOpen].samples, 1u);
  stats.set_cleanup_seconds(0);
  EXPECT_EQ(stats.All(kStart + 1000 * kSecond).size(), 1u);
}

TEST(OriginStatsTest, ThereAreNeverTooMany) {
  OriginStats stats = Stats();
  for (int i = 0; i < 20'000; ++i) stats.Record(std::to_string(i), kOpen, 1, kStart + i);
  const auto all = stats.All(kStart + 20'000);
  EXPECT_LE(all.size(), OriginStats::kOriginsMax);
  EXPECT_GE(all.size(), OriginStats::kOriginsMax / 2);
  for (const auto& origin : all) EXPECT_GT(std::stoi(origin.name), 15'000) << "the oldest go";
}

TEST(OriginStatsTest, OneOrAllAreForgotten) {
  OriginStats stats = Stats();
  stats.Record("a", kOpen, 1, kStart);
  stats.Record("b", kOpen, 1, kStart);
  stats.Clear("a");
  ASSERT_EQ(stats.All(kStart).size(), 1u);
  EXPECT_EQ(stats.All(kStart)[0].name, "b");
  stats.Clear("clear");
  EXPECT_EQ(stats.All(kStart).size(), 0u);
}

TEST(OriginStatsTest, NothingIsLostAmongThreads) {
  OriginStats stats = Stats();
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&stats] {
      for (int i = 0; i < 1000; ++i) stats.Record(std::to_string(i % 7), kOpen, 2, kStart);
    });
  }
  for (std::thread& thread : threads) thread.join();
  uint64_t samples = 0;
  for (const auto& origin : stats.All(kStart)) {
    samples += origin.sums[kOpen].samples;
    EXPECT_EQ(origin.sums[kOpen].sum, 2 * origin.sums[kOpen].samples);
  }
  EXPECT_EQ(samples, 4000u);
}

}  // namespace
}  // namespace sheen
