#include "apps/lfs/pools.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "apps/lfs/migrate_options.h"
#include "apps/lfs/setstripe_options.h"

namespace sheen::lfs {
namespace {

v1::OstPoolList Pools() {
  v1::OstPoolList pools;
  pools.set_fsname("sheen");
  v1::OstPool* const flash = pools.add_pools();
  flash->set_name("flash");
  flash->add_osts(1);
  flash->add_osts(3);
  pools.add_pools()->set_name("empty");
  return pools;
}

std::expected<SetstripeRequest, OptionError> Parse(Arguments args) {
  args.insert(args.begin(), "setstripe");
  args.push_back("file");
  return ParseSetstripe(args);
}

std::string Complaint(Arguments args) {
  const auto request = Parse(std::move(args));
  EXPECT_TRUE(request.has_value()) << request.error().message;
  if (!request) return {};
  const Status status = CheckPools(Pools(), request->layout_template, request->pool_fsname);
  return status ? "" : status.error().message();
}

TEST(LfsPools, OptionsBecomeThePoolOfTheLayout) {
  EXPECT_EQ(Parse({"-p", "flash"})->layout_template.components[0].pool, "flash");
  EXPECT_EQ(Parse({"--pool=sheen.flash"})->layout_template.components[0].pool, "flash");
  for (const char* word : {"", "none", "inherit"}) {
    EXPECT_EQ(Parse({"-p", word})->layout_template.components[0].pool, "") << word;
  }
  EXPECT_EQ(Parse({"-p", "ignore"})->layout_template.components[0].pool, layout::kIgnorePool);
  const auto layout =
      Parse({"-E", "1M", "-p", "flash", "-E", "1G", "-E", "-1", "-p", "none"})->layout_template;
  EXPECT_EQ(layout.components[0].pool, "flash");
  EXPECT_EQ(layout.components[1].pool, "flash") << "of the component before";
  EXPECT_EQ(layout.components[2].pool, "");
  EXPECT_EQ(ParseMigrate({"migrate", "-p", "flash", "f"})->layout_template.components[0].pool,
            "flash");
  EXPECT_EQ(Parse({"-p", "a/b"}).error().status, EINVAL);
  EXPECT_EQ(Parse({"-p", "0123456789abcdef"}).error().status, EINVAL);
  EXPECT_FALSE(Parse({"-E", "1M", "-p", "a.x", "-E", "-1", "-p", "b.y"}).has_value());
}

TEST(LfsPools, ComplaintsAreLustres) {
  EXPECT_EQ(Complaint({"-p", "flash", "-c", "2"}), "");
  EXPECT_EQ(Complaint({"-c", "2"}), "");
  EXPECT_EQ(Complaint({"-p", "ignore"}), "");
  EXPECT_EQ(Complaint({"-p", "tape"}), "pool 'tape fsname sheen does not exist");
  EXPECT_EQ(Complaint({"-p", "empty"}), "pool 'empty fsname sheen has no OSTs");
  EXPECT_EQ(Complaint({"-p", "flash", "-o", "1,2"}), "OST 2 is not in pool 'flash' of 'sheen'");
  EXPECT_EQ(Complaint({"-p", "flash", "-i", "0"}), "OST 0 is not in pool 'flash' of 'sheen'");
  EXPECT_EQ(Complaint({"-p", "flash", "-o", "3,1", "-i", "1"}), "");
  EXPECT_EQ(Complaint({"-p", "other.flash"}),
            "the pool is one of 'other', this is filesystem 'sheen'");
  EXPECT_EQ(Complaint({"-E", "1M", "-E", "-1", "-p", "tape"}),
            "pool 'tape fsname sheen does not exist");
}

TEST(LfsPools, MembersByEitherName) {
  EXPECT_EQ(*MembersOfPool(Pools(), "flash"), (std::set<uint32_t>{1, 3}));
  EXPECT_EQ(*MembersOfPool(Pools(), "sheen.flash"), (std::set<uint32_t>{1, 3}));
  EXPECT_EQ(MembersOfPool(Pools(), "tape").error().code(), Errc::kNoEntry);
  EXPECT_EQ(MembersOfPool(Pools(), "other.flash").error().code(), Errc::kInvalid);
}

}  // namespace
}  // namespace sheen::lfs
