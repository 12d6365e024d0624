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

TEST(RepositoryRecordsTest, NewerVersionsAreRefusedAsSuch) {
  std::string row = Encode(Row());
  std::string source = Encode(Source());
  row[0] = source[0] = 2;
  EXPECT_EQ(DecodeRepository(row).error().code(), Errc::kBadVersion);
  EXPECT_EQ(DecodeFileSource(source).error().code(), Errc::kBadVersion);
}

}  // namespace
}  // namespace sheen::mdt
