#include "apps/lfs/options.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "apps/lfs/mounts.h"
#include "apps/lfs/parse.h"
#include "apps/lfs/setstripe_options.h"

namespace sheen::lfs {
namespace {

constexpr uint64_t kMebibyte = 1 << 20;

TEST(LfsParseTest, SizesTakeUnitsFractionsAndTails) {
  const std::pair<const char*, uint64_t> cases[] = {
      {"0", 0},           {"123", 123},
      {"64k", 64 << 10},  {"64K", 64 << 10},
      {"4M", 4 << 20},    {"4MiB", 4 << 20},
      {"4MB", 4 << 20},   {"1.5G", 3ULL << 29},
      {"1g", 1 << 30},    {"2T", 2ULL << 40},
      {"1P", 1ULL << 50}, {"1e", 1ULL << 60},
      {"0x10000", 65536}, {"3b", 1536},
      {"7c", 7},          {"0.25m", 256 << 10},
      {"0x10k", 16384},   {"18446744073709551615", UINT64_MAX}};
  for (const auto& [text, bytes] : cases) {
    const auto size = ParseSize(text);
    ASSERT_TRUE(size.has_value()) << text;
    EXPECT_EQ(size->bytes, bytes) << text;
  }
}

TEST(LfsParseTest, WhatIsNoSizeIsRefused) {
  for (const char* text : {"", "k", "-1", "1x", "1kk", "1 k", " 1", "1.5.5", "16e", "1iB", "0x",
                           "18446744073709551616", "1k1", "cb", "1MX", "1bb", "1b2"})
    EXPECT_FALSE(ParseSize(text).has_value()) << text;
}

TEST(LfsParseTest, SmallStripeSizesWithoutAUnitAreKib) {
  EXPECT_EQ(ParseStripeBytes("64"), 64ULL << 10);
  EXPECT_EQ(ParseStripeBytes("4095"), 4095ULL << 10);
  EXPECT_EQ(ParseStripeBytes("4096"), 4096U);
  EXPECT_EQ(ParseStripeBytes("64c"), 64U);
  EXPECT_EQ(ParseStripeBytes("1M"), kMebibyte);
}

TEST(LfsParseTest, IndexListsKeepTheirOrder) {
  EXPECT_EQ(ParseIndexList("0,2-4,7"), (std::vector<uint32_t>{0, 2, 3, 4, 7}));
  EXPECT_EQ(ParseIndexList("3,0x1,2"), (std::vector<uint32_t>{3, 1, 2}));
  for (const char* text : {"", ",", "1,", "1,,2", "3-1", "a", "1-", "-1", "0-4294967295", "1 2"})
    EXPECT_FALSE(ParseIndexList(text).has_value()) << text;
}

std::expected<SetstripeRequest, OptionError> Parse(std::vector<std::string> args) {
  args.insert(args.begin(), "setstripe");
  return ParseSetstripe(args);
}

layout::Layout LayoutOf(std::vector<std::string> args) {
  args.push_back("file");
  const auto request = Parse(std::move(args));
  EXPECT_TRUE(request.has_value()) << request.error().message;
  return request ? request->layout_template : layout::Layout();
}

TEST(LfsSetstripeTest, WithoutEndsItIsAPlainLayout) {
  const layout::Layout layout = LayoutOf({"-c", "4", "-S", "4M", "-i", "2"});
  EXPECT_FALSE(layout.composite);
  ASSERT_EQ(layout.components.size(), 1U);
  EXPECT_EQ(layout.components[0].stripe_count, 4U);
  EXPECT_EQ(layout.components[0].stripe_bytes, 4 * kMebibyte);
  EXPECT_EQ(layout.components[0].first_ost, 2U);
  EXPECT_EQ(layout.components[0].end, layout::kEof);
}

TEST(LfsSetstripeTest, NoOptionsMeanTheDefaults) {
  EXPECT_EQ(LayoutOf({}), layout::PlainTemplate(1, kMebibyte));
  EXPECT_EQ(LayoutOf({"-c", "0", "-S", "0", "-i", "-1"}), layout::PlainTemplate(1, kMebibyte));
}

TEST(LfsSetstripeTest, MinusOneStripesMeansAllOsts) {
  EXPECT_EQ(LayoutOf({"-c", "-1"}).components[0].stripe_count, layout::kAllOsts);
  EXPECT_EQ(LayoutOf({"--stripe-count=-1"}).components[0].stripe_count, layout::kAllOsts);
}

TEST(LfsSetstripeTest, EndsMakeAdjacentComponents) {
  const layout::Layout layout =
      LayoutOf({"-E", "100M", "-c", "1", "-E", "10G", "-c", "4", "-E", "-1", "-c", "-1"});
  EXPECT_TRUE(layout.composite);
  ASSERT_EQ(layout.components.size(), 3U);
  EXPECT_EQ(layout.components[0].end, 100 * kMebibyte);
  EXPECT_EQ(layout.components[1].start, 100 * kMebibyte);
  EXPECT_EQ(layout.components[1].end, 10ULL << 30);
  EXPECT_EQ(layout.components[1].stripe_count, 4U);
  EXPECT_EQ(layout.components[2].end, layout::kEof);
  EXPECT_EQ(layout.components[2].stripe_count, layout::kAllOsts);
  EXPECT_EQ(layout.components[2].id, 3U);
}

TEST(LfsSetstripeTest, LaterComponentsInheritCountAndSize) {
  const layout::Layout layout =
      LayoutOf({"-E", "4M", "-c", "2", "-S", "2M", "-E", "1G", "-E", "eof", "-c", "8"});
  ASSERT_EQ(layout.components.size(), 3U);
  EXPECT_EQ(layout.components[1].stripe_count, 2U);
  EXPECT_EQ(layout.components[1].stripe_bytes, 2 * kMebibyte);
  EXPECT_EQ(layout.components[2].stripe_count, 8U);
  EXPECT_EQ(layout.components[2].stripe_bytes, 2 * kMebibyte);
}

TEST(LfsSetstripeTest, OptionsBeforeTheFirstEndBelongToIt) {
  const layout::Layout layout = LayoutOf({"-c", "3", "-E", "1M", "-E", "EOF", "-c", "1"});
  ASSERT_EQ(layout.components.size(), 2U);
  EXPECT_EQ(layout.components[0].stripe_count, 3U);
  EXPECT_EQ(layout.components[1].stripe_count, 1U);
}

TEST(LfsSetstripeTest, OneEndIsACompositeOfOneComponent) {
  EXPECT_TRUE(LayoutOf({"-E", "-1"}).composite);
  const layout::Layout bounded = LayoutOf({"-E", "64M"});
  EXPECT_EQ(bounded.components[0].end, 64 * kMebibyte);
}

TEST(LfsSetstripeTest, OstListsSetPlacementAndCount) {
  const layout::Layout layout = LayoutOf({"-o", "3,0", "-o", "1-2", "-c", "4", "-i", "0"});
  EXPECT_EQ(layout.components[0].wanted_osts, (std::vector<uint32_t>{3, 0, 1, 2}));
  EXPECT_EQ(layout.components[0].stripe_count, 4U);
}

struct Refused {
  std::vector<std::string> args;
  int status;
  const char* fragment;
};

TEST(LfsSetstripeTest, WhatIsWrongIsNamed) {
  const Refused cases[] = {
      {{"-c", "x", "f"}, kStatusUsage, "invalid stripe count 'x'"},
      {{"-c", "2001", "f"}, EINVAL, "Invalid stripe count 2001"},
      {{"-c", "-2", "f"}, EINVAL, "Invalid stripe count -2"},
      {{"-S", "x", "f"}, kStatusUsage, "invalid stripe size 'x'"},
      {{"-S", "65537", "f"},
       EINVAL,
       "bad stripe_size 65537, must be an even multiple of 65536 bytes"},
      {{"-S", "4G", "f"}, EINVAL, "stripe size '4G' over 4GB limit"},
      {{"-i", "x", "f"}, kStatusUsage, "invalid stripe index 'x'"},
      {{"-i", "-2", "f"}, EINVAL, "invalid stripe offset -2"},
      {{"-i", "65504", "f"}, EINVAL, "invalid stripe offset"},
      {{"-E", "x", "f"}, kStatusUsage, "invalid component end 'x'"},
      {{"-E", "1M", "-E", "1M", "f"}, EINVAL, "Invalid layout: component end"},
      {{"-E", "2M", "-E", "1M", "f"}, EINVAL, "Invalid layout: component end"},
      {{"-E", "-1", "-E", "1G", "f"}, EINVAL, "Invalid layout: component end"},
      {{"-E", "3M", "-S", "2M", "f"}, EINVAL, "must be aligned by stripe size"},
      {{"-o", "1,2", "-c", "3", "f"}, EINVAL, "doesn't match"},
      {{"-o", "1,2", "-i", "3", "f"}, EINVAL, "not in the OST list"},
      {{"-o", "x", "f"}, kStatusUsage, "bad OST indices"},
      {{"-d", "-c", "1", "f"}, kStatusUsage, "cannot specify -d"},
      {{"-d", "-E", "1M", "f"}, kStatusUsage, "cannot specify -d"},
      {{"-c", "1"}, kStatusUsage, "missing filename"},
      {{"-c"}, kStatusUsage, "option '-c' requires an argument"},
      {{"-Q", "f"}, kStatusUsage, "unrecognized option '-Q'"},
      {{"--nonsense", "f"}, kStatusUsage, "unrecognized option '--nonsense'"},
      {{"-L", "nonsense", "f"}, kStatusUsage, "invalid layout 'nonsense'"},
      {{"-L", "mdt", "f"}, EOPNOTSUPP, "layout 'mdt' is not implemented"},
      {{"-C", "0", "f"}, EINVAL, "Invalid overstripe count 0"},
      {{"-C", "-33", "f"}, EINVAL, "Invalid overstripe count -33"},
      {{"-z", "64M", "f"}, EOPNOTSUPP, "option -z is not implemented"},
      {{"-N2", "f"}, EOPNOTSUPP, "option -N is not implemented"},
      {{"--mirror-count=2", "f"}, EOPNOTSUPP, "option --mirror-count is not implemented"},
      {{"--component-add", "-c", "1", "f"}, kStatusUsage, "needs at least one -E"},
      {{"--comp-del", "f"}, kStatusUsage, "needs one of -I"},
      {{"--comp-del", "-I", "1", "-c", "2", "f"}, kStatusUsage, "takes no layout"},
      {{"--comp-del", "-I", "0", "f"}, kStatusUsage, "invalid component id '0'"},
      {{"--comp-del", "--comp-flags=init", "f"}, kStatusUsage, "'^init'"},
      {{"--comp-del", "--comp-flags=^init,^prefer", "f"}, kStatusUsage, "'^init'"},
      {{"--comp-del", "--comp-add", "f"}, kStatusUsage, "only one of"},
      {{"-I", "1", "-E", "-1", "f"}, kStatusUsage, "go with --component-del"},
      {{"--component-set", "-I", "1", "f"}, kStatusUsage, "needs -I and --component-flags"},
      {{"--comp-set", "--comp-flags=prefer", "f"}, kStatusUsage, "needs -I and --component-flags"},
      {{"--comp-set", "-I", "1", "--comp-flags=init", "f"}, kStatusUsage, "cannot be set"},
      {{"--comp-set", "-I", "1", "--comp-flags=stale", "f"}, EUCLEAN, "has one copy"},
      {{"--comp-set", "-I", "1", "--comp-flags=nosync", "f"}, EOPNOTSUPP, "flag 'nosync'"},
      {{"--comp-set", "-I", "1", "--comp-flags=fast", "f"},
       kStatusUsage, "bad component flags 'fast'"},
      {{"--comp-set", "-I", "1", "--comp-flags=prefrd,^prefer", "f"},
       kStatusUsage,
       "contradict"},
      {{"--comp-set", "-I", "1", "--comp-flags=prefer", "-c", "2", "f"}, kStatusUsage, "takes no"},
      {{"-z", "64M", "f"}, EOPNOTSUPP, "option -z"},
  };
  for (const Refused& bad : cases) {
    const auto request = Parse(bad.args);
    ASSERT_FALSE(request.has_value()) << bad.fragment;
    EXPECT_EQ(request.error().status, bad.status) << bad.fragment;
    EXPECT_NE(request.error().message.find(bad.fragment), std::string::npos)
        << request.error().message;
  }
}

TEST(LfsSetstripeTest, DeleteTakesPathsAndNothingElse) {
  const auto request = Parse({"-d", "a", "b"});
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->action, SetstripeRequest::Action::kRemove);
  EXPECT_EQ(request->paths, (Arguments{"a", "b"}));
}

TEST(LfsSetstripeTest, ComponentsAreAddedAndDeleted) {
  auto request = Parse({"--component-add", "-E", "1G", "-c", "2", "-E", "-1", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->action, SetstripeRequest::Action::kAdd);
  EXPECT_EQ(request->layout_template.components.size(), 2U);
  request = Parse({"--component-del", "-I", "3", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->action, SetstripeRequest::Action::kDelete);
  EXPECT_EQ(request->component_id, 3U);
  request = Parse({"--comp-del", "--comp-flags=^init", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_EQ(request->component_id, 0U);
}

TEST(LfsSetstripeTest, SeveralStripesMayBeOnOneOst) {
  auto request = Parse({"-C", "12", "f"});
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(request->layout_template.components[0].overstriped);
  EXPECT_EQ(request->layout_template.components[0].stripe_count, 12U);
  request = Parse({"-C", "-2", "f"});
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->layout_template.components[0].stripe_count, layout::kAllOsts - 1);
  request = Parse({"-o", "1,1,0", "f"});
  ASSERT_TRUE(request.has_value());
  EXPECT_TRUE(request->layout_template.components[0].overstriped);
  request = Parse({"-E", "1M", "-C", "4", "-E", "-1", "-c", "2", "f"});
  ASSERT_TRUE(request.has_value());
  EXPECT_FALSE(request->layout_template.components[1].overstriped);
}

TEST(LfsSetstripeTest, ThePatternOverstripesAsWell) {
  for (const Arguments& given : {Arguments{"-c", "12", "-L", "overstriped", "f"},
                                 Arguments{"-L", "overstriped", "-c", "12", "f"}}) {
    const auto request = Parse(given);
    ASSERT_TRUE(request.has_value()) << request.error().message;
    EXPECT_TRUE(request->layout_template.components[0].overstriped);
    EXPECT_EQ(request->layout_template.components[0].stripe_count, 12U);
  }
  const auto request = Parse(
      {"-E", "1M", "-L", "overstriped", "-c4", "-E", "-1", "-L", "raid0", "-c", "2", "f"});
  ASSERT_TRUE(request.has_value()) << request.error().message;
  EXPECT_TRUE(request->layout_template.components[0].overstriped);
  EXPECT_FALSE(request->layout_template.components[1].overstriped);
  EXPECT_FALSE(Parse({"-L", "raid5", "f"}).has_value());
}

TEST(LfsSetstripeTest, OptionsMayFollowPaths) {
  const auto request = Parse({"a", "-c", "2", "b"});
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->paths, (Arguments{"a", "b"}));
  EXPECT_EQ(request->layout_template.components[0].stripe_count, 2U);
}

TEST(LfsCommandTest, UnknownAndMissingCommandsHaveTheirOwnStatus) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCommand({"nosuchcmd"}), 1);
  EXPECT_EQ(testing::internal::GetCapturedStderr(),
            "lfs: 'nosuchcmd' is not a valid command. See 'lfs --list-commands'.\n");
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCommand({"quota", "x"}), EOPNOTSUPP);
  EXPECT_NE(testing::internal::GetCapturedStderr().find("lfs quota: not implemented"),
            std::string::npos);
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCommand({"hsm_s", "x"}), 1) << "hsm_state and hsm_set: not only one";
  EXPECT_NE(testing::internal::GetCapturedStderr().find("'hsm_s'"), std::string::npos);
}

TEST(LfsCommandTest, WrongUsageShowsTheUsageOnStandardOutput) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCommand({"setstripe", "-c", "x", "f"}), 4);
  EXPECT_NE(testing::internal::GetCapturedStdout().find("usage: setstripe "), std::string::npos);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "lfs setstripe: invalid stripe count 'x'\n");
}

TEST(LfsCommandTest, OtherFilesystemsAreRefusedWithLustresStatus) {
  testing::internal::CaptureStderr();
  EXPECT_EQ(RunCommand({"getstripe", "/"}), ENOTTY);
  EXPECT_EQ(RunCommand({"df", "/"}), EOPNOTSUPP);
  EXPECT_EQ(RunCommand({"setstripe", "-c", "1", "/"}), ENOTTY);
  EXPECT_EQ(RunCommand({"path2fid", "/"}), ENOTTY);
  EXPECT_EQ(RunCommand({"fid2path", "/", "[0x200000007:0x1:0x0]"}), ENOTTY);
  EXPECT_EQ(RunCommand({"getstripe", "/nonexistent"}), ENOENT);
  const std::string text = testing::internal::GetCapturedStderr();
  EXPECT_NE(text.find("lfs: getstripe for '/' failed: Inappropriate ioctl for device\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("lfs: getstripe for '/nonexistent' failed: No such file or directory\n"),
            std::string::npos);
  EXPECT_NE(text.find("Not a Lustre filesystem: Operation not supported (95)\n"),
            std::string::npos);
  EXPECT_NE(text.find("lfs path2fid: can't get fid for '/': Inappropriate ioctl for device\n"),
            std::string::npos);
}

TEST(LfsMountsTest, OnlySheenMountsAreTakenAndNamesAreUnescaped) {
  const auto mounts = ParseMountInfo(
      "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
      "40 22 0:50 / /mnt/a\\040b rw,nosuid shared:9 master:2 - fuse.sheen h1@tcp:h2:/work rw\n"
      "41 22 0:51 / /mnt/sub rw - fuse.sheen 10.0.0.1:/other/dir rw\n"
      "42 22 0:52 / /mnt/x rw - fuse.sshfs host:/y rw\n"
      "broken line\n");
  ASSERT_EQ(mounts.size(), 2U);
  EXPECT_EQ(mounts[0], (MountEntry{"/mnt/a b", "h1@tcp:h2:/work", "work"}));
  EXPECT_EQ(mounts[1], (MountEntry{"/mnt/sub", "10.0.0.1:/other/dir", "other"}));
  EXPECT_EQ(MountOf(mounts, "/mnt/sub/x/y")->fsname, "other");
  EXPECT_EQ(MountOf(mounts, "/mnt/sub")->fsname, "other");
  EXPECT_FALSE(MountOf(mounts, "/mnt/submarine").has_value());
}

}  // namespace
}  // namespace sheen::lfs
