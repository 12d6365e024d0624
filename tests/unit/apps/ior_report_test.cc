#include "apps/bench/ior_report.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace sheen::bench {
namespace {

// 2 tasks of 1 MiB by 256 KiB: 2 MiB in 2 s, and in 4 s.
class IorReport : public testing::Test {
 protected:
  IorReport() {
    options_.task_count = 2;
    options_.repetitions = 2;
    options_.test_file = "/no\xffname";
    for (const uint32_t repetition : {0U, 1U}) {
      results_.push_back({.access = Access::kWrite,
                          .repetition = repetition,
                          .transfer_seconds = 1.0,
                          .total_seconds = repetition == 0 ? 2.0 : 4.0});
      results_.push_back({.access = Access::kCheckWrite, .repetition = repetition});
    }
  }

  IorOptions options_;
  std::vector<PhaseResult> results_;
};

TEST_F(IorReport, CsvHasALineForEachAccessAndNoneForChecks) {
  EXPECT_EQ(FormatCsv(options_, results_),
            "access,bw(MiB/s),IOPS,Latency,block(KiB),xfer(KiB),open(s),wr/rd(s),close(s),total(s),"
            "numTasks,iter\n"
            "write,1.0000,8.0000,0.000000,1024.0000,256.0000,0.000000,1.000000,0.000000,2.000000,2,"
            "0\n"
            "write,0.5000,8.0000,0.000000,1024.0000,256.0000,0.000000,1.000000,0.000000,4.000000,2,"
            "1\n");
}

TEST_F(IorReport, JsonHasTheKeysThatToolsLookFor) {
  const auto json = nlohmann::json::parse(FormatJson(options_, results_, {"ior", "-w"}, 0));
  EXPECT_EQ(json["Command line"], "ior -w");
  const auto& rows = json["tests"][0]["Results"];
  ASSERT_EQ(rows.size(), 2U);
  EXPECT_EQ(rows[1]["access"], "write");
  EXPECT_DOUBLE_EQ(rows[1]["bwMiB"], 0.5);
  ASSERT_EQ(json["summary"].size(), 1U);
  const auto& summary = json["summary"][0];
  EXPECT_EQ(summary["operation"], "write");
  EXPECT_DOUBLE_EQ(summary["bwMaxMIB"], 1.0);
  EXPECT_DOUBLE_EQ(summary["bwMinMIB"], 0.5);
  EXPECT_DOUBLE_EQ(summary["bwMeanMIB"], 0.75);
  EXPECT_DOUBLE_EQ(summary["bwStdMIB"], 0.25);
  EXPECT_DOUBLE_EQ(summary["OPsMean"], 8.0);
  EXPECT_DOUBLE_EQ(summary["MeanTime"], 3.0);
}

TEST_F(IorReport, SummaryHasALineForEachAccessThatWasRun) {
  const std::string text = FormatSummary(options_, results_);
  EXPECT_NE(text.find("\nwrite           1.00       0.50       0.75       0.25 "), text.npos)
      << text;
  EXPECT_EQ(text.find("\nread"), text.npos);
}

}  // namespace
}  // namespace sheen::bench
