#include "mdt/repository_records.h"

#include <gtest/gtest.h>

namespace sheen::mdt {
namespace {

RepositoryRow Row() {
  return {.id = 3,
          .path = "/data",
          .directory = {0x200000400, 7, 0},
          .bucket = "bucket",
          .prefix = "a/",
          .endpoint = "http://x:1",
          .region = "r",
          .path_style = true,
          .profile = "p",
          .credentials_file = "/f",
          .chunk_bytes = 1 << 30,
          .concurrency = 9,
          .requests_per_second = 2.5,
          .bytes_per_second = 1e9,
          .created_ns = 77};
}

FileSource Source() {
  return {.flags = kHsmExists | kHsmArchived, .link = 3, .key = "a/b", .etag = "\"e\"", .size = 9,
          .modified_ns = 5};
}

TEST(RepositoryRecordsTest, SurviveTheirEncodingAndNothingShorterOrLonger) {
  EXPECT_EQ(*DecodeRepository(Encode(Row())), Row());
  EXPECT_EQ(*DecodeFileSource(Encode(Source())), Source());
  const std::string row = Encode(Row());
  for (size_t i = 0; i < row.size(); ++i) EXPECT_FALSE(DecodeRepository(row.substr(0, i))) << i;
  EXPECT_FALSE(DecodeRepository(row + "x"));
  const std::string source = Encode(Source());
  for (size_t i = 0; i < source.size(); ++i) {
    EXPECT_FALSE(DecodeFileSource(source.substr(0, i))) << i;
  }
  EXPECT_FALSE(DecodeFileSource(source + "x"));
}

TEST(RepositoryRecordsTest, AnImportPolicyMakesItVersionTwoAndNothingElseDoes) {
  EXPECT_EQ(Encode(Row())[0], 1);
  RepositoryRow row = Row();
  row.import_what = 5;
  row.import_every_s = 300;
  row.no_head = true;
  const std::string bytes = Encode(row);
  EXPECT_EQ(bytes[0], 2);
  EXPECT_EQ(*DecodeRepository(bytes), row);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_FALSE(DecodeRepository(bytes.substr(0, i))) << i;
  EXPECT_FALSE(DecodeRepository(bytes + "x"));
  std::string other = bytes;
  other[bytes.size() - 6] = 8;  // policy bits that do not exist
  EXPECT_EQ(DecodeRepository(other).error().code(), Errc::kCorrupt);
}

TEST(RepositoryRecordsTest, ActionsSurviveTheirEncodingAndKeepTheirOrder) {
  const HsmActionRow row{.action = 11, .fid = {0x200000400, 7, 0}, .job = 99, .requested_ns = 5};
  const std::string bytes = Encode(row);
  EXPECT_EQ(*DecodeHsmAction(bytes), row);
  for (size_t i = 0; i < bytes.size(); ++i) EXPECT_FALSE(DecodeHsmAction(bytes.substr(0, i))) << i;
  EXPECT_FALSE(DecodeHsmAction(bytes + "x"));
  const HsmCookie cookie{.transno = 0x10000000007, .number = 300};
  EXPECT_EQ(*DecodeHsmActionKey(HsmActionKey(cookie)), cookie);
  EXPECT_FALSE(DecodeHsmActionKey(HsmActionKey(cookie) + "x"));
  EXPECT_LT(HsmActionKey({1, 256}), HsmActionKey({1, 257}));
  EXPECT_LT(HsmActionKey({1, UINT32_MAX}), HsmActionKey({2, 0}));
}

TEST(RepositoryRecordsTest, NewerVersionsAreRefusedAsSuch) {
  std::string row = Encode(Row());
  std::string source = Encode(Source());
  row[0] = 3;
  source[0] = 2;
  EXPECT_EQ(DecodeRepository(row).error().code(), Errc::kBadVersion);
  EXPECT_EQ(DecodeFileSource(source).error().code(), Errc::kBadVersion);
}

}  // namespace
}  // namespace sheen::mdt
