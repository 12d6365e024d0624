#include "apps/bench/mdtest_report.h"

#include <gtest/gtest.h>

namespace sheen::bench {
namespace {

constexpr auto kIndex = [](MdtestPhase phase) { return static_cast<size_t>(phase); };

class MdtestReport : public testing::Test {
 protected:
  MdtestReport() : iterations_(2) {
    options_.items = 100;
    options_.task_count = 2;
    options_.directories = false;
    iterations_[0][kIndex(MdtestPhase::kFileCreate)] = 1.0;
    iterations_[1][kIndex(MdtestPhase::kFileCreate)] = 2.0;
  }

  MdtestOptions options_;
  std::vector<MdtestTimes> iterations_;
};

TEST_F(MdtestReport, RatesAreOfAllTasksAndPhasesThatWereNotRunAreZero) {
  EXPECT_EQ(FormatMdtestSummary(options_, iterations_), R"(
SUMMARY rate: (of 2 iterations)
   Operation                            Max            Min           Mean        Std Dev
   ---------                            ---            ---           ----        -------
   File creation                    200.000        100.000        150.000         50.000
   File stat                          0.000          0.000          0.000          0.000
   File read                          0.000          0.000          0.000          0.000
   File removal                       0.000          0.000          0.000          0.000
   Tree creation                      0.000          0.000          0.000          0.000
   Tree removal                       0.000          0.000          0.000          0.000
)");
}

TEST_F(MdtestReport, TimesReplaceRatesOrFollowThem) {
  options_.rates = false;
  options_.times = true;
  const std::string times = FormatMdtestSummary(options_, iterations_);
  EXPECT_EQ(times.find("SUMMARY rate"), times.npos);
  EXPECT_NE(times.find("\nSUMMARY time: (of 2 iterations)\n"), times.npos);
  EXPECT_NE(times.find("File creation                      2.000          1.000          1.500 "),
            times.npos)
      << times;
  options_.rates = true;
  const std::string both = FormatMdtestSummary(options_, iterations_);
  EXPECT_LT(both.find("SUMMARY rate"), both.find("SUMMARY time"));
}

TEST_F(MdtestReport, DirectoriesHaveRowsOfTheirOwn) {
  options_.directories = true;
  options_.files = false;
  const std::string text = FormatMdtestSummary(options_, iterations_);
  for (const char* row : {"Directory creation ", "Directory stat ", "Directory removal ",
                          "Tree creation ", "Tree removal "}) {
    EXPECT_NE(text.find(row), text.npos) << row;
  }
  EXPECT_EQ(text.find("File"), text.npos);
}

}  // namespace
}  // namespace sheen::bench
