#include "s3/xml.h"

#include <gtest/gtest.h>

#include "s3/exchange.h"
#include "s3/object.h"

namespace sheen::s3 {
namespace {

std::string Listing(const std::string& inner) {
  return "<?xml version=\"1.0\"?><ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/\">" +
         inner + "</ListBucketResult>";
}
std::string EntryXml(const std::string& key, const std::string& size = "5") {
  return "<Contents><Key>" + key + "</Key><Size>" + size +
         "</Size><LastModified>2020-01-01T00:00:00.000Z</LastModified><ETag>&quot;x&quot;</ETag>"
         "<StorageClass>DEEP_ARCHIVE</StorageClass></Contents>";
}

TEST(Xml, ReadsAListing) {
  const Result<ListPage> page = ParseListing(
      Listing("<EncodingType>url</EncodingType><IsTruncated>true</IsTruncated>"
              "<NextContinuationToken>t/+=</NextContinuationToken>" +
              EntryXml("a%2Fb+c%2B") + "<CommonPrefixes><Prefix>d%2F</Prefix></CommonPrefixes>"));
  ASSERT_TRUE(page) << page.error().message();
  ASSERT_EQ(page->entries.size(), 1U);
  EXPECT_EQ(page->entries[0].key, "a/b c+");
  EXPECT_EQ(page->entries[0].etag, "\"x\"");
  EXPECT_EQ(page->entries[0].size, 5U);
  EXPECT_FALSE(page->entries[0].readable);
  EXPECT_EQ(page->prefixes, std::vector<std::string>{"d/"});
  EXPECT_TRUE(page->truncated);
  EXPECT_EQ(page->next_token, "t/+=");
}

TEST(Xml, AKeyOfBlanksIsAKey) {
  const Result<ListPage> page =
      ParseListing(Listing("<IsTruncated>false</IsTruncated>" + EntryXml("  ")));
  ASSERT_TRUE(page);
  EXPECT_EQ(page->entries[0].key, "  ");
}

TEST(Xml, RefusesListingsThatAreNone) {
  const std::string truncated = "<IsTruncated>true</IsTruncated>";
  const std::string complete = "<IsTruncated>false</IsTruncated>";
  std::string deep;
  for (int i = 0; i < 200'000; ++i) deep += "<a>";
  const std::vector<std::string> hostile{
      "", "x", "<", "<ListBucketResult>", "<Error/>", Listing(""), Listing(truncated),
      Listing(complete + EntryXml("")), Listing(complete + EntryXml("k", "-1")),
      Listing(complete + EntryXml("k", "99999999999999999999999")),
      Listing(complete + "<EncodingType>url</EncodingType>" + EntryXml("%GG")),
      Listing(complete + "<Contents><Key>k</Key><Size>1</Size></Contents>"),
      "<!DOCTYPE x [<!ENTITY a \"" + std::string(100, 'b') + "\">]><ListBucketResult>&a;", deep,
      std::string("\0\0\0", 3), std::string("\xff\xfe<\0", 4)};
  for (const std::string& text : hostile) {
    EXPECT_FALSE(ParseListing(text)) << text.substr(0, 80);
  }
}

TEST(Xml, ReadsErrorsOfS3AndSts) {
  const ServiceError s3 = ParseServiceError(
      "<Error><Code>NoSuchKey</Code><Message>a\nb</Message><RequestId>R1</RequestId></Error>");
  EXPECT_EQ(s3.code, "NoSuchKey");
  EXPECT_EQ(s3.message, "a b");
  EXPECT_EQ(s3.request_id, "R1");
  const ServiceError sts = ParseServiceError(
      "<ErrorResponse xmlns=\"u\"><Error><Code>AccessDenied</Code></Error>"
      "<RequestId>R2</RequestId></ErrorResponse>");
  EXPECT_EQ(sts.code, "AccessDenied");
  EXPECT_EQ(sts.request_id, "R2");
  EXPECT_EQ(ParseServiceError("<html>").code, "");
  EXPECT_LE(ParseServiceError("<Error><Code>" + std::string(100'000, 'c') + "</Code></Error>")
                .code.size(), 1024U);
}

TEST(Xml, ReadsALocation) {
  EXPECT_EQ(*ParseLocation("<LocationConstraint/>"), "us-east-1");
  EXPECT_EQ(*ParseLocation("<LocationConstraint>eu-north-1</LocationConstraint>"), "eu-north-1");
  EXPECT_FALSE(ParseLocation("<Error/>"));
}

TEST(PosixMetadata, IsReadAsTheImportRulesSay) {
  const PosixMetadata full = ParsePosixMetadata({{"file-permissions", "0104644"},
                                                 {"file-owner", "1000"},
                                                 {"file-group", "0"},
                                                 {"file-mtime", "1595002920000000001ns"},
                                                 {"file-atime", "1595002920001"}});
  EXPECT_EQ(full.mode, 0100644U);
  EXPECT_EQ(full.uid, 1000U);
  EXPECT_EQ(full.gid, 0U);
  EXPECT_EQ(full.mtime, Nanos(1595002920000000001));
  EXPECT_EQ(full.atime, std::chrono::milliseconds(1595002920001));
  const PosixMetadata none = ParsePosixMetadata({{"file-permissions", "0998"},
                                                 {"file-owner", "-1"},
                                                 {"file-group", "4294967295"},
                                                 {"file-mtime", "99999999999999999999ns"},
                                                 {"file-atime", "ns"}});
  EXPECT_FALSE(none.mode || none.uid || none.gid || none.mtime || none.atime);
}

TEST(ContentRange, ContradictionsAreRefused) {
  uint64_t first, last, total;
  EXPECT_TRUE(ParseContentRange("bytes 0-9/10", &first, &last, &total));
  EXPECT_EQ(last, 9U);
  for (const char* text : {"", "bytes", "bytes 0-9", "bytes 0-9/*", "bytes 5-4/10", "bytes 0-10/10",
                           "bytes -1-4/10", "bytes 0-9/99999999999999999999", "bytes /-",
                           "0-9/10"}) {
    EXPECT_FALSE(ParseContentRange(text, &first, &last, &total)) << text;
  }
}

TEST(ContentRange, WhatWasNotAskedForIsTold) {
  const auto check = [](int status, const char* range, const char* length, const char* etag) {
    HttpHead head{.status = status, .headers = {{"etag", etag}, {"content-length", length}}};
    if (*range != 0) head.headers.emplace_back("content-range", range);
    const Status checked = CheckRangeHead(head, 10, 5, "\"e\"");
    return checked ? Errc::kOk : checked.error().code();
  };
  EXPECT_EQ(check(206, "bytes 10-14/100", "5", "\"e\""), Errc::kOk);
  EXPECT_EQ(check(206, "bytes 10-14/100", "5", "\"f\""), Errc::kStale);
  EXPECT_EQ(check(206, "bytes 10-12/13", "3", "\"e\""), Errc::kRange);
  EXPECT_EQ(check(206, "bytes 10-14/100", "4", "\"e\""), Errc::kProtocol);
  EXPECT_EQ(check(206, "bytes 0-4/100", "5", "\"e\""), Errc::kProtocol);
  EXPECT_EQ(check(206, "", "5", "\"e\""), Errc::kProtocol);
  EXPECT_EQ(check(200, "", "100", "\"e\""), Errc::kProtocol);
}

}  // namespace
}  // namespace sheen::s3
