#include "apps/lfs/df_format.h"

#include <gtest/gtest.h>

#include <sstream>

namespace sheen::lfs {
namespace {

v1::TargetSpace Target(bool is_mdt, uint32_t index, uint64_t kib, uint64_t used_kib) {
  v1::TargetSpace target;
  char name[32];
  std::snprintf(name, sizeof name, "fs-%s%04x", is_mdt ? "MDT" : "OST", index);
  target.set_name(name);
  target.set_is_mdt(is_mdt);
  target.set_index(index);
  target.set_bytes_total(kib << 10);
  target.set_bytes_free((kib - used_kib) << 10);
  target.set_bytes_available((kib - used_kib) << 10);
  target.set_files_total(1000 * (index + 1));
  target.set_files_free(900 * (index + 1));
  target.set_up(true);
  return target;
}

std::vector<v1::TargetSpace> ThreeTargets() {
  return {Target(true, 0, 2206816, 26632), Target(false, 0, 10223616, 1224),
          Target(false, 1, 10223616, 1224)};
}

TEST(LfsDfFormatTest, KibibytesAreTheFormOfLustre215) {
  auto targets = ThreeTargets();
  targets[2].set_state("D");
  EXPECT_EQ(FormatDf(targets, "/mnt/fs", {}),
            "UUID                   1K-blocks        Used   Available Use% Mounted on\n"
            "fs-MDT0000_UUID          2206816       26632     2180184   2% /mnt/fs[MDT:0]\n"
            "fs-OST0000_UUID         10223616        1224    10222392   1% /mnt/fs[OST:0]\n"
            "fs-OST0001_UUID         10223616        1224    10222392   1% /mnt/fs[OST:1] D\n"
            "\n"
            "filesystem_summary:     20447232        2448    20444784   1% /mnt/fs\n"
            "\n");
}

TEST(LfsDfFormatTest, OfAPoolItsOstsAndTheirSum) {
  EXPECT_EQ(FormatDf(ThreeTargets(), "/mnt/fs", {.pool = std::set<uint32_t>{1}}),
            "UUID                   1K-blocks        Used   Available Use% Mounted on\n"
            "fs-MDT0000_UUID          2206816       26632     2180184   2% /mnt/fs[MDT:0]\n"
            "fs-OST0001_UUID         10223616        1224    10222392   1% /mnt/fs[OST:1]\n"
            "\n"
            "filesystem_summary:     10223616        1224    10222392   1% /mnt/fs\n"
            "\n");
}

TEST(LfsDfFormatTest, InodesHaveTheirOwnHeaderAndSumOverTheMdts) {
  EXPECT_EQ(FormatDf(ThreeTargets(), "/mnt/fs", {.inodes = true}),
            "UUID                      Inodes       IUsed       IFree IUse% Mounted on\n"
            "fs-MDT0000_UUID             1000         100         900  10% /mnt/fs[MDT:0]\n"
            "fs-OST0000_UUID             1000         100         900  10% /mnt/fs[OST:0]\n"
            "fs-OST0001_UUID             2000         200        1800  10% /mnt/fs[OST:1]\n"
            "\n"
            "filesystem_summary:         1000         100         900  10% /mnt/fs\n"
            "\n");
}

TEST(LfsDfFormatTest, FewerFreeObjectsThanInodesLowerTheFreeInodes) {
  auto targets = ThreeTargets();
  targets[1].set_files_free(50);
  targets[2].set_files_free(0);
  EXPECT_NE(FormatDf(targets, "/m", {.inodes = true})
                .find("filesystem_summary:          150         100          50  67% /m\n"),
            std::string::npos);
}

TEST(LfsDfFormatTest, HumanReadableNumbersAreRightAligned) {
  auto targets = ThreeTargets();
  targets[1].set_bytes_free(targets[1].bytes_total());
  targets[1].set_bytes_available(targets[1].bytes_total());
  const std::string text = FormatDf(targets, "/mnt/fs", {.unit_base = 1024});
  EXPECT_TRUE(text.starts_with(
      "UUID                       bytes        Used   Available Use% Mounted on\n"
      "fs-MDT0000_UUID             2.1G       26.0M        2.1G   2% /mnt/fs[MDT:0]\n"
      "fs-OST0000_UUID             9.8G           0        9.8G   0% /mnt/fs[OST:0]\n"))
      << text;
  EXPECT_NE(FormatDf(targets, "/m", {.unit_base = 1000}).find("10.5G"), std::string::npos);
  EXPECT_NE(FormatDf(targets, "/m", {.inodes = true, .unit_base = 1000}).find("2.0K"),
            std::string::npos);
}

TEST(LfsDfFormatTest, TargetThatDoesNotAnswerHasARowAndNoSpace) {
  auto targets = ThreeTargets();
  targets[2].set_up(false);
  const std::string text = FormatDf(targets, "/m", {});
  EXPECT_NE(text.find("\nfs-OST0001_UUID      : Resource temporarily unavailable\n"),
            std::string::npos);
  EXPECT_NE(text.find("filesystem_summary:     10223616        1224 "), std::string::npos);
  EXPECT_NE(
      FormatDf(targets, "/m", {.verbose = true}).find("\nOST0001             : inactive device\n"),
      std::string::npos);
}

TEST(LfsDfFormatTest, OneDiskUnderTwoOstsIsCountedOnceUnlessTheyHaveSizes) {
  auto targets = ThreeTargets();
  for (int i : {1, 2}) {
    targets[static_cast<size_t>(i)].set_device(2049);
    targets[static_cast<size_t>(i)].set_server("oss" + std::to_string(i));
  }
  EXPECT_NE(FormatDf(targets, "/m", {}).find("filesystem_summary:     10223616 "),
            std::string::npos);
  targets[2].set_device(2050);
  EXPECT_NE(FormatDf(targets, "/m", {}).find("filesystem_summary:     20447232 "),
            std::string::npos);
  targets[2].set_device(2049);
  targets[1].set_limited(true);
  targets[2].set_limited(true);
  EXPECT_NE(FormatDf(targets, "/m", {}).find("filesystem_summary:     20447232 "),
            std::string::npos);
}

TEST(LfsDfFormatTest, MdtsAloneAreTheSumWhenThereIsNoOst) {
  auto targets = ThreeTargets();
  targets.resize(1);
  EXPECT_NE(FormatDf(targets, "/m", {}).find("filesystem_summary:      2206816 "),
            std::string::npos);
}

TEST(LfsDfFormatTest, KindsAndIndexesCanBeChosen) {
  const std::string mdts = FormatDf(ThreeTargets(), "/m", {.header = false, .osts = false});
  EXPECT_TRUE(mdts.starts_with("fs-MDT0000_UUID"));
  EXPECT_EQ(mdts.find("OST:"), std::string::npos);
  const std::string one = FormatDf(ThreeTargets(), "/m", {.mdts = false, .index = 1});
  EXPECT_NE(one.find("OST:1"), std::string::npos);
  EXPECT_EQ(one.find("OST:0"), std::string::npos);
  EXPECT_EQ(one.find("MDT:0"), std::string::npos);
}

}  // namespace
}  // namespace sheen::lfs
