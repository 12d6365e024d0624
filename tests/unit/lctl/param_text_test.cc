#include "apps/lctl/param_text.h"

#include <gtest/gtest.h>

#include "apps/lctl/daemons.h"

namespace sheen::lctl {
namespace {

v1::ParamValue Value(const std::string& name, const std::string& value, bool settable = false) {
  v1::ParamValue out;
  out.set_name(name);
  out.set_value(value);
  out.set_settable(settable);
  return out;
}

TEST(FormatParam, PrintsOneLineAfterTheNameAndSeveralBelowIt) {
  EXPECT_EQ(FormatParam(Value("timeout", "20"), {}), "timeout=20\n");
  EXPECT_EQ(FormatParam(Value("a.stats", "x 1\ny 2\n"), {}), "a.stats=\nx 1\ny 2\n");
  EXPECT_EQ(FormatParam(Value("timeout", "20"), {.values_only = true}), "20\n");
  EXPECT_EQ(FormatParam(Value("timeout", "20"), {.names_only = true}), "timeout\n");
  EXPECT_EQ(FormatParam(Value("debug", "info", true), {.names_only = true, .classify = true}),
            "debug=\n");
  EXPECT_EQ(FormatParam(Value("a.stats", "x 1\ny 2\n"), {.yaml = true}),
            "a.stats: |\n    x 1\n    y 2\n");
  EXPECT_EQ(FormatParam(Value("timeout", "20"), {.yaml = true}), "timeout: 20\n");
}

TEST(FormatDevices, HasLustresColumns) {
  const auto devices = ParseDevices("UP mgs MGS MGS 1\nbroken line\nST mdt s-MDT0000 s_UUID 12\n");
  EXPECT_EQ(FormatDevices(devices), "  0 UP mgs MGS MGS 1\n  1 ST mdt s-MDT0000 s_UUID 12\n");
}

TEST(FormatDevices, ShowsWhomAClientIsConnectedToWhenAsked) {
  const auto devices = ParseDevices("UP mdc s-MDT0000-mdc-ffff u 1 10.0.0.1@tcp\nUP lov l u 1\n");
  EXPECT_EQ(FormatDevices(devices, true),
            "  0 UP mdc s-MDT0000-mdc-ffff u 1 10.0.0.1@tcp\n  1 UP lov l u 1\n");
  EXPECT_EQ(FormatDevices(devices), "  0 UP mdc s-MDT0000-mdc-ffff u 1\n  1 UP lov l u 1\n");
}

TEST(MergeParams, ShowsOnceWhatDaemonsHaveAlike) {
  v1::GetParamsReply one;
  *one.add_params() = Value("version", "1");
  *one.add_params() = Value("health_check", "healthy");
  v1::GetParamsReply two;
  *two.add_params() = Value("version", "1");
  *two.add_params() = Value("health_check", "NOT HEALTHY");
  const auto merged = MergeParams({one, two});
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].value(), "healthy");
  EXPECT_EQ(merged[1].value(), "NOT HEALTHY");
  EXPECT_EQ(merged[2].name(), "version");
}

}  // namespace
}  // namespace sheen::lctl
