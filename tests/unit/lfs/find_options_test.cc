#include "apps/lfs/find_options.h"

#include <gtest/gtest.h>

#include <cerrno>

#include "apps/lfs/find_time.h"
#include "layout/layout.h"

namespace sheen::lfs {
namespace {

FindTest Only(const Arguments& words) {
  Arguments args = {"find", "/m"};
  args.insert(args.end(), words.begin(), words.end());
  const auto request = ParseFind(args);
  EXPECT_TRUE(request.has_value()) << (request ? "" : request.error().message);
  if (!request || request->tests.size() != 1) return {};
  return request->tests[0];
}

int StatusOf(const Arguments& args) {
  const auto request = ParseFind(args);
  return request ? 0 : request.error().status;
}

TEST(ParseFind, TakesTestsWithOneOrTwoDashesAndPathsAnywhere) {
  const auto request =
      ParseFind({"find", "-type", "f", "/a", "!", "--name=x*", "/b", "--maxdepth", "2", "-print0"});
  ASSERT_TRUE(request.has_value());
  EXPECT_EQ(request->paths, (Arguments{"/a", "/b"}));
  ASSERT_EQ(request->tests.size(), 2u);
  EXPECT_FALSE(request->tests[0].negated);
  EXPECT_TRUE(request->tests[1].negated);
  EXPECT_EQ(request->tests[1].text, "x*");
  EXPECT_EQ(request->depth_max, 2u);
  EXPECT_EQ(request->output, FindOutput::kNulls);
}

TEST(ParseFind, SizesEqualWithinTheirUnit) {
  const FindTest kib = Only({"-size", "4k"});
  EXPECT_FALSE(Holds(kib, 3072));
  EXPECT_TRUE(Holds(kib, 3073));
  EXPECT_TRUE(Holds(kib, 4096));
  EXPECT_FALSE(Holds(kib, 4097));
  const FindTest more = Only({"-size", "+1M"});
  EXPECT_FALSE(Holds(more, 1 << 20));
  EXPECT_TRUE(Holds(more, (1 << 20) + 1));
  const FindTest less = Only({"-size", "-4k"});
  EXPECT_TRUE(Holds(less, 3072));
  EXPECT_FALSE(Holds(less, 3073));
  const FindTest empty = Only({"-size", "0"});
  EXPECT_TRUE(Holds(empty, 0));
  EXPECT_FALSE(Holds(empty, 1));
  const FindTest bytes = Only({"-size", "7c"});
  EXPECT_TRUE(Holds(bytes, 7));
  EXPECT_FALSE(Holds(bytes, 6));
  EXPECT_TRUE(Holds(Only({"-size", "2"}), 1024)) << "blocks of 512 bytes";
}

TEST(ParseFind, CountsAreExact) {
  const FindTest equal = Only({"-c", "4"});
  EXPECT_TRUE(Holds(equal, 4));
  EXPECT_FALSE(Holds(equal, 3));
  EXPECT_TRUE(Holds(Only({"--component-count", "+1"}), 2));
  EXPECT_FALSE(Holds(Only({"--component-count", "+1"}), 1));
  EXPECT_TRUE(Holds(Only({"--stripe-count", "-2"}), 1));
  EXPECT_FALSE(Holds(Only({"--stripe-count", "-2"}), 2));
}

TEST(ParseFind, TimesCountWholeUnits) {
  constexpr int64_t kDay = 86'400;
  const FindTest day = Only({"-mtime", "1"});
  EXPECT_FALSE(HoldsForAge(day, kDay - 1));
  EXPECT_TRUE(HoldsForAge(day, kDay));
  EXPECT_FALSE(HoldsForAge(day, 2 * kDay));
  EXPECT_TRUE(HoldsForAge(Only({"-atime", "-1"}), kDay - 1));
  EXPECT_FALSE(HoldsForAge(Only({"-atime", "-1"}), kDay));
  EXPECT_FALSE(HoldsForAge(Only({"-ctime", "+5m"}), 5 * 60));
  EXPECT_TRUE(HoldsForAge(Only({"-ctime", "+5m"}), 6 * 60));
}

TEST(ParseFind, StripeSizesAndListsAreAsInSetstripe) {
  EXPECT_EQ(Only({"-S", "64"}).number, 65536u);
  EXPECT_EQ(Only({"-E", "eof"}).number, layout::kEof);
  EXPECT_EQ(Only({"--component-end", "-1"}).number, layout::kEof);
  EXPECT_EQ(Only({"-ost", "0,2-3"}).indexes, (std::vector<uint32_t>{0, 2, 3}));
  EXPECT_EQ(Only({"--ost", "sheen-OST000a_UUID"}).indexes, (std::vector<uint32_t>{10}));
}

TEST(ParseFind, NewerComparesTheTimesThatItNames) {
  const FindTest written = Only({"-newermt", "@1714557600"});
  EXPECT_EQ(written.text, "m");
  EXPECT_EQ(written.time_ns, 1'714'557'600'000'000'000);
  EXPECT_EQ(Only({"--newerat=@-5"}).text, "a");
  EXPECT_EQ(Only({"--newerat=@-5"}).time_ns, -5'000'000'000);
  const FindTest of_file = Only({"-newerca", "/"});
  EXPECT_EQ(of_file.text, "c");
  EXPECT_GT(of_file.time_ns, 0);
  EXPECT_EQ(Only({"-newer", "/"}).text, "m");
  EXPECT_EQ(StatusOf({"find", "/m", "-newerXY", "/"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "-newermB", "/"}), EOPNOTSUPP);
  EXPECT_EQ(StatusOf({"find", "/m", "-newerac", "/no/such/file"}), ENOENT);
  EXPECT_EQ(StatusOf({"find", "/m", "-newermt", "yesterday"}), kStatusUsage);
}

TEST(ParseMoment, TakesDatesOfThisPlaceAndSeconds) {
  const auto day = ParseMoment("2024-05-01");
  ASSERT_TRUE(day.has_value());
  constexpr int64_t kSecond = 1'000'000'000;
  EXPECT_EQ(ParseMoment("2024-05-01 10:00"), *day + 36'000 * kSecond);
  EXPECT_EQ(ParseMoment("2024-05-01T10:00:30"), *day + 36'030 * kSecond);
  EXPECT_EQ(ParseMoment("2024-05-01 10:00:30"), *day + 36'030 * kSecond);
  EXPECT_EQ(ParseMoment("@0"), 0);
  for (const char* wrong : {"", "@", "@x", "2024-13-01", "2024-02-31", "2024-05-01 25:00", "05/01",
                            "2024-05-01 10:00:30 x", "@99999999999999999"}) {
    EXPECT_FALSE(ParseMoment(wrong).has_value()) << wrong;
  }
}

TEST(ParseFind, WrongUseNamesItself) {
  EXPECT_EQ(StatusOf({"find"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "-nosuch", "1"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "-size", "x"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "-size"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "-type", "z"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "!"}), kStatusUsage);
  EXPECT_EQ(StatusOf({"find", "/m", "--mirror-count", "2"}), EOPNOTSUPP);
  EXPECT_EQ(StatusOf({"find", "/m", "-user", "no-such-user-here"}), EINVAL);
  const auto refused = ParseFind({"find", "/m", "--mirror-count", "2"});
  EXPECT_NE(refused.error().message.find("-mirror-count"), std::string::npos);
}

}  // namespace
}  // namespace sheen::lfs
