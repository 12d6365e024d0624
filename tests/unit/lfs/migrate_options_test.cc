#include "apps/lfs/migrate_options.h"

#include <gtest/gtest.h>

#include <cerrno>

namespace sheen::lfs {
namespace {

std::expected<MigrateRequest, OptionError> Parse(std::vector<std::string> args) {
  args.insert(args.begin(), "migrate");
  return ParseMigrate(args);
}

TEST(LfsMigrateTest, WithoutALayoutEachFileKeepsItsOwn) {
  const auto request = Parse({"-v", "a", "b"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_TRUE(request->layout_template.empty());
  EXPECT_TRUE(request->verbose);
  EXPECT_FALSE(request->non_block);
  EXPECT_EQ(request->paths, (Arguments{"a", "b"}));
}

TEST(LfsMigrateTest, TakesTheOptionsOfSetstripe) {
  const auto request =
      Parse({"-n", "-E", "64M", "-c", "1", "-E", "-1", "-c", "4", "-S", "4M", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_TRUE(request->non_block);
  ASSERT_EQ(request->layout_template.components.size(), 2U);
  EXPECT_EQ(request->layout_template.components[1].stripe_count, 4U);
}

TEST(LfsMigrateTest, LimitsAndStatistics) {
  const auto request = Parse({"-W", "10", "--stats-interval=2", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->bytes_per_second, 10U << 20);
  EXPECT_TRUE(request->stats);
  EXPECT_EQ(request->stats_seconds, 2U);
  EXPECT_TRUE(Parse({"--files-from", "-", "-0"}).has_value());
}

TEST(LfsMigrateTest, TheStripeCountMayFollowTheSize) {
  const auto request = Parse({"-A", "-K", "50", "-M", "1G", "-S", "4M", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  ASSERT_TRUE(request->auto_stripe.has_value());
  EXPECT_EQ(request->auto_stripe->cap, 50u);
  EXPECT_EQ(request->auto_stripe->free_bytes_min, 1ULL << 30);
  EXPECT_EQ(request->layout_template.components[0].stripe_bytes, 4U << 20);
  EXPECT_EQ(Parse({"--fid", "--lustre-dir", "/mnt", "[0x1:0x2:0x0]"})->directory, "/mnt");
}

TEST(LfsMigrateTest, WhatIsWrongIsNamed) {
  struct Refused {
    std::vector<std::string> args;
    int status;
    std::string fragment;
  };
  const Refused cases[] = {
      {{}, kStatusUsage, "no file to be migrated"},
      {{"-0", "f"}, kStatusUsage, "-0 goes with --files-from"},
      {{"-A", "-c", "2", "f"}, kStatusUsage, "--auto-stripe chooses the stripe count"},
      {{"-A", "-E", "-1", "f"}, kStatusUsage, "--auto-stripe chooses the stripe count"},
      {{"-A", "-o", "1,2", "f"}, kStatusUsage, "--auto-stripe chooses the stripe count"},
      {{"-Asize", "f"}, kStatusUsage, "auto-stripe mode 'size' is not known"},
      {{"-A", "--copy", "g", "f"}, kStatusUsage, "can't specify --yaml or --copy"},
      {{"-K", "10", "f"}, kStatusUsage, "--cap and --min-free go with --auto-stripe"},
      {{"-A", "-K", "0", "f"}, kStatusUsage, "invalid cap '0'"},
      {{"--fid", "f"}, kStatusUsage, "--fid and --lustre-dir go together"},
      {{"-W", "x", "f"}, kStatusUsage, "invalid bandwidth limit 'x'"},
      {{"--stats-interval=0", "f"}, kStatusUsage, "invalid stats interval '0'"},
      {{"--copy", "a", "-c", "1", "f"}, kStatusUsage, "can't specify --yaml or --copy"},
      {{"--copy", "a", "--yaml", "b", "f"}, kStatusUsage, "can't specify --yaml or --copy"},
      {{"-E", "2M", "-E", "1M", "f"}, EINVAL, "Invalid layout: component end"},
      {{"-m", "1", "d"}, EOPNOTSUPP, "option -m is not implemented"},
      {{"-m", "0", "f"}, EOPNOTSUPP, "option -m is not implemented"},
  };
  for (const Refused& bad : cases) {
    const auto request = Parse(bad.args);
    ASSERT_FALSE(request.has_value()) << bad.fragment;
    EXPECT_EQ(request.error().status, bad.status) << bad.fragment;
    EXPECT_NE(request.error().message.find(bad.fragment), std::string::npos)
        << request.error().message;
  }
}

}  // namespace
}  // namespace sheen::lfs
