#include "apps/common/mount_spec.h"

#include <gtest/gtest.h>

namespace sheen::apps {
namespace {

TEST(MountSpec, ReadsHostsFilesystemAndSubdirectory) {
  const auto spec = ParseMountSpec("mds1@tcp:10.0.0.2@tcp0:/sheen/team1//data/");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->hosts, (std::vector<std::string>{"mds1", "10.0.0.2"}));
  EXPECT_EQ(spec->fsname, "sheen");
  EXPECT_EQ(spec->subdir, "team1/data");
}

TEST(MountSpec, TakesIpv6InBracketsAndCommas) {
  const auto spec = ParseMountSpec("[fd00::1]@tcp,[::1]:/fs");
  ASSERT_TRUE(spec);
  EXPECT_EQ(spec->hosts, (std::vector<std::string>{"fd00::1", "::1"}));
  EXPECT_EQ(spec->fsname, "fs");
  EXPECT_EQ(spec->subdir, "");
}

TEST(MountSpec, RefusesWhatIsIncompleteOrOdd) {
  for (const char* text :
       {"", "/sheen", "host", "host:", "host:sheen", ":/sheen", "host:/", "host:/toolongname",
        "host@o2ib:/sheen", "[::1:/sheen", "host:/sheen/../x", "a b/c:/sheen"}) {
    const auto spec = ParseMountSpec(text);
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().code(), Errc::kInvalid) << text;
    EXPECT_FALSE(spec.error().message().empty()) << text;
  }
}

Result<ClientOptions> Apply(std::string_view text) {
  ClientOptions options;
  SHEEN_TRY(ApplyMountOptions(SplitOptions(text), &options));
  return options;
}

TEST(MountOptions, LaterOnesWin) {
  const auto options = Apply("ro,noatime,rw,atime,port=1,port=9000,io_uring=off,checksums=off");
  ASSERT_TRUE(options);
  EXPECT_FALSE(options->read_only);
  EXPECT_FALSE(options->noatime);
  EXPECT_EQ(options->port, 9000);
  EXPECT_EQ(options->io_uring, "off");
  EXPECT_FALSE(options->checksums);
}

TEST(MountOptions, WhatConcernsMountOrTheBootIsIgnored) {
  const auto options =
      Apply("defaults,_netdev,noauto,nofail,user,x-systemd.automount,comment=mine,,relatime");
  ASSERT_TRUE(options);
  EXPECT_TRUE(options->ignored.empty());
}

TEST(MountOptions, UnknownOnesAreRefusedByName) {
  for (const char* text : {"noatme", "ro,prot=1", "port", "fg=1"}) {
    const auto options = Apply(text);
    ASSERT_FALSE(options) << text;
    const std::string word = std::string(text).substr(std::string(text).find(',') + 1);
    EXPECT_NE(options.error().message().find(word), std::string::npos) << text;
  }
}

TEST(MountOptions, SloppyToleratesUnknownOnesButNotWrongValues) {
  const auto options = Apply("novel,sloppy");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->ignored, (std::vector<std::string>{"novel"}));
  EXPECT_FALSE(Apply("sloppy,port=0"));
  EXPECT_FALSE(Apply("io_uring=maybe"));
  EXPECT_FALSE(Apply("port=12x"));
  EXPECT_FALSE(Apply("log="));
}

TEST(MountOptions, RemountSaysWhatToDo) {
  const auto options = Apply("remount,ro");
  ASSERT_FALSE(options);
  EXPECT_NE(options.error().message().find("umount"), std::string::npos);
}

}  // namespace
}  // namespace sheen::apps
