#include "base/stats.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/params.h"
#include "base/slow.h"

namespace sheen {
namespace {

using std::chrono::milliseconds;

TEST(Tally, KeepsCountSumExtremesAndPowersOfTwo) {
  Tally tally;
  for (const uint64_t value : {0, 1, 3, 4, 1000}) tally.Record(value);
  const Tally::Values values = tally.Read();
  EXPECT_EQ(values.samples, 5u);
  EXPECT_EQ(values.sum, 1008u);
  EXPECT_EQ(values.sum_squares, 1000026u);
  EXPECT_EQ(values.min, 0u);
  EXPECT_EQ(values.max, 1000u);
  EXPECT_EQ(values.buckets[0], 1u);
  EXPECT_EQ(values.buckets[1], 1u);
  EXPECT_EQ(values.buckets[2], 1u);
  EXPECT_EQ(values.buckets[3], 1u);
  EXPECT_EQ(values.buckets[10], 1u);
}

TEST(Tally, HasRoomForTheLargestValue) {
  Tally tally;
  tally.Record(UINT64_MAX);
  EXPECT_EQ(tally.Read().buckets[Tally::kBuckets - 1], 1u);
  EXPECT_EQ(tally.Read().max, UINT64_MAX);
}

TEST(Tally, LosesNothingOfSeveralThreads) {
  Tally tally;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&tally] {
      for (uint64_t i = 1; i <= 10'000; ++i) tally.Record(i);
    });
  }
  for (std::thread& thread : threads) thread.join();
  const Tally::Values values = tally.Read();
  EXPECT_EQ(values.samples, 40'000u);
  EXPECT_EQ(values.sum, 4u * 50'005'000u);
  EXPECT_EQ(values.min, 1u);
  EXPECT_EQ(values.max, 10'000u);
}

TEST(FormatStats, HasLustresLinesForWhatHasSamples) {
  TallyTable table({{"open"}, {"close"}, {"read_bytes", Unit::kBytes}});
  table.Clear(1'000'000'005);
  table.Record(0, 4);
  table.Record(0, 6);
  table.Record(2, 4096);
  EXPECT_EQ(FormatStats(table, 3'000'000'006),
            "snapshot_time             3.000000006 secs.nsecs\n"
            "start_time                1.000000005 secs.nsecs\n"
            "elapsed_time              2.000000001 secs.nsecs\n"
            "open                      2 samples [usecs] 4 6 10 52\n"
            "read_bytes                1 samples [bytes] 4096 4096 4096 16777216\n");
  table.Clear(3'000'000'006);
  EXPECT_EQ(FormatStats(table, 3'000'000'006).find("open"), std::string::npos);
}

TEST(ParamMatches, GlobsStayWithinALevel) {
  EXPECT_TRUE(ParamMatches("mdt.*.md_stats", "mdt.sheen-MDT0000.md_stats"));
  EXPECT_TRUE(ParamMatches("osc.sheen-OST000[01]-*.stats", "osc.sheen-OST0001-osc-ff.stats"));
  EXPECT_FALSE(ParamMatches("mdt.*", "mdt.sheen-MDT0000.md_stats"));
  EXPECT_FALSE(ParamMatches("mdt.*.stats", "mdt.sheen-MDT0000.md_stats"));
  EXPECT_TRUE(ParamMatches("version", "version"));
}

class ParamRegistryTest : public ::testing::Test {
 protected:
  ParamRegistryTest() {
    registry.AddSource([this](ParamList* list) {
      list->push_back({"a.one.limit", [this] { return std::to_string(limit); },
                       [this](const std::string& value) -> Status {
                         SHEEN_TRY_ASSIGN(limit, ParseParamNumber(value, 1, 10));
                         return {};
                       }});
      list->push_back({"a.one.count", [] { return std::string("7"); }, nullptr});
    });
  }
  uint64_t limit = 3;
  ParamRegistry registry;
};

TEST_F(ParamRegistryTest, SetsWhatMatchesAndSaysWhatCannotBeSet) {
  const auto set = registry.Set("a.*.limit", "0x8");
  ASSERT_TRUE(set.has_value());
  EXPECT_EQ(*set, std::vector<std::string>{"a.one.limit"});
  EXPECT_EQ(limit, 8u);
  EXPECT_EQ(registry.Set("a.one.count", "1").error().code(), Errc::kAccess);
  EXPECT_EQ(registry.Set("a.two.limit", "1").error().code(), Errc::kNoEntry);
  const auto bad = registry.Set("a.one.limit", "11");
  EXPECT_EQ(bad.error().code(), Errc::kInvalid);
  EXPECT_NE(bad.error().message().find("a.one.limit=11: it must be a number from 1 to 10"),
            std::string::npos);
  EXPECT_EQ(limit, 8u);
  for (const char* wrong : {"", "0x", "-1", "3x", "99999999999999999999"}) {
    EXPECT_FALSE(registry.Set("a.one.limit", wrong).has_value()) << wrong;
  }
}

TEST_F(ParamRegistryTest, MatchesByName) {
  const ParamList found = registry.Match("a.one.*");
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].name, "a.one.count");
  EXPECT_EQ(found[1].get(), "3");
}

TEST(MetricsText, KeepsFamiliesTogetherAndEscapesLabels) {
  MetricsText text;
  text.Counter("b_total", "B.", {{"target", "x\"y\\z"}}, 1);
  text.Gauge("a", "A.", {}, 2.5);
  text.Counter("b_total", "B.", {{"target", "two"}}, 3);
  EXPECT_EQ(text.Take(),
            "# HELP a A.\n# TYPE a gauge\na 2.5\n"
            "# HELP b_total B.\n# TYPE b_total counter\n"
            "b_total{target=\"x\\\"y\\\\z\"} 1\nb_total{target=\"two\"} 3\n");
}

TEST(MetricsText, LatencyBucketsAreCumulativeAndEndWithTheCount) {
  Tally tally;
  for (const uint64_t micros : {1, 15, 16, 70'000'000}) tally.Record(micros);
  MetricsText text;
  text.Latency("t_seconds", "T.", {{"op", "x"}}, tally.Read());
  const std::string page = text.Take();
  EXPECT_NE(page.find("t_seconds_bucket{op=\"x\",le=\"1.6e-05\"} 2\n"), std::string::npos) << page;
  EXPECT_NE(page.find("t_seconds_bucket{op=\"x\",le=\"6.4e-05\"} 3\n"), std::string::npos) << page;
  EXPECT_NE(page.find("t_seconds_bucket{op=\"x\",le=\"67.108864\"} 3\n"), std::string::npos);
  EXPECT_NE(page.find("t_seconds_bucket{op=\"x\",le=\"+Inf\"} 4\n"), std::string::npos);
  EXPECT_NE(page.find("t_seconds_sum{op=\"x\"} 70.000032\n"), std::string::npos) << page;
  EXPECT_NE(page.find("t_seconds_count{op=\"x\"} 4\n"), std::string::npos);
}

TEST(SlowWaits, NamesTheLongestWaitOfAnOperation) {
  SlowWaits waits;
  EXPECT_EQ(waits.Within(Nanos(0)), "no wait for a server is known");
  waits.Note("early", milliseconds(0), milliseconds(5000));
  waits.Note("short", milliseconds(6000), milliseconds(6050));
  waits.Note("one", milliseconds(6000), milliseconds(6200));
  waits.Note("two", milliseconds(6100), milliseconds(7400));
  EXPECT_EQ(waits.Within(milliseconds(6000)), "waited on two for 1.300 s");
  EXPECT_EQ(waits.Within(milliseconds(8000)), "no wait for a server is known");
}

}  // namespace
}  // namespace sheen
