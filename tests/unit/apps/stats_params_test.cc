#include "apps/common/stats_params.h"

#include <gtest/gtest.h>

namespace sheen::apps {
namespace {

const MetricsOwner kOwner{"ost", "sheen-OST0000"};
constexpr char kLabels[] = "{component=\"ost\",target=\"sheen-OST0000\"} ";

// The line of a family without further labels; empty: there is none.
std::string ValueOf(const std::string& page, const std::string& name) {
  const std::string start = "\n" + name + kLabels;
  const size_t at = page.find(start);
  if (at == std::string::npos) return {};
  const size_t value = at + start.size();
  return page.substr(value, page.find('\n', value) - value);
}

TEST(StatsMetricsTest, BytesHaveTheirSumTheirNumberAndTheirExtremes) {
  TallyTable table({{"read_bytes", Unit::kBytes}, {"write_bytes", Unit::kBytes}});
  table.Record(0, 4096);
  table.Record(0, 1000);
  MetricsText text;
  AddTableMetrics(kOwner, table, &text);
  const std::string page = text.Take();
  EXPECT_EQ(ValueOf(page, "lustre_read_bytes_total"), "5096");
  EXPECT_EQ(ValueOf(page, "lustre_read_samples_total"), "2");
  EXPECT_EQ(ValueOf(page, "lustre_read_minimum_size_bytes"), "1000");
  EXPECT_EQ(ValueOf(page, "lustre_read_maximum_size_bytes"), "4096");
  EXPECT_EQ(ValueOf(page, "lustre_write_samples_total"), "0");
  EXPECT_EQ(ValueOf(page, "lustre_write_minimum_size_bytes"), "") << "nothing was written";
}

TEST(StatsMetricsTest, SpaceIsToldInBothSpellings) {
  v1::TargetSpace space;
  space.set_bytes_total(8 << 20);
  space.set_bytes_free(4 << 20);
  space.set_bytes_available(2 << 20);
  space.set_up(true);
  MetricsText text;
  AddSpaceMetrics(kOwner, space, &text);
  const std::string page = text.Take();
  for (const std::string unit : {"kibibytes", "kilobytes"}) {
    EXPECT_EQ(ValueOf(page, "lustre_capacity_" + unit), "8192");
    EXPECT_EQ(ValueOf(page, "lustre_free_" + unit), "4096");
    EXPECT_EQ(ValueOf(page, "lustre_available_" + unit), "2048");
  }
  EXPECT_EQ(ValueOf(page, "lustre_blocksize_bytes"), "4096");
  EXPECT_EQ(ValueOf(page, "lustre_health_check"), "1");
}

TEST(StatsMetricsTest, RecoveryHasAHardBoundOnlyWhereThereIsOne) {
  MetricsText text;
  AddRecoveryMetrics(kOwner, {.soft = std::chrono::seconds(20)}, &text);
  std::string page = text.Take();
  EXPECT_EQ(ValueOf(page, "lustre_recovery_time_soft_seconds"), "20");
  EXPECT_EQ(ValueOf(page, "lustre_recovery_time_hard_seconds"), "");
  MetricsText both;
  AddRecoveryMetrics(kOwner, {.soft = std::chrono::seconds(20), .hard = std::chrono::minutes(5)},
                     &both);
  page = both.Take();
  EXPECT_EQ(ValueOf(page, "lustre_recovery_time_hard_seconds"), "300");
}

TEST(StatsMetricsTest, JobsHaveNumbersOfReadsAndTheTimeAfterWhichTheyAreForgotten) {
  OriginStats jobs({{"read_bytes", Unit::kBytes}, {"open"}});
  OriginStats users({{"read_bytes", Unit::kBytes}, {"open"}});
  jobs.Record("4711", 0, 4096, SystemClock().Wall().count());
  MetricsText text;
  AddOriginMetrics(kOwner, jobs, users, &text);
  const std::string page = text.Take();
  const std::string job = "{component=\"ost\",target=\"sheen-OST0000\",jobid=\"4711\"} ";
  EXPECT_NE(page.find("lustre_job_read_bytes_total" + job + "4096"), std::string::npos) << page;
  EXPECT_NE(page.find("lustre_job_read_samples_total" + job + "1"), std::string::npos) << page;
  EXPECT_EQ(ValueOf(page, "lustre_job_cleanup_interval_seconds"), "600");
}

}  // namespace
}  // namespace sheen::apps
