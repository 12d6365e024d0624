#include "s3/signer.h"

#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

// tests/golden/s3/signer.jsonl: requests, and what botocore makes of them.
TEST(Signer, SignsTheGoldenRequestsAsBotocoreDoes) {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("/unit/")) + "/golden/s3/signer.jsonl");
  ASSERT_TRUE(file.good());
  int count = 0;
  for (std::string line; std::getline(file, line); ++count) {
    const nlohmann::json golden = nlohmann::json::parse(line);
    const nlohmann::json& in = golden["case"];
    PlainRequest request{.method = in["method"], .host = in["host"], .path = in["path"]};
    for (const auto& pair : in["query"]) request.query.emplace_back(pair[0], pair[1]);
    for (const auto& pair : in["headers"]) request.headers.emplace_back(pair[0], pair[1]);
    Sign(&request,
         {.access_key_id = in["access_key"],
          .secret_access_key = in["secret_key"],
          .session_token = in["token"]},
         {.region = in["region"],
          .service = in["service"],
          .wall = std::chrono::seconds(in["time"].get<int64_t>())},
         in["payload_hash"].get<std::string>());
    EXPECT_EQ(PathAndQuery(request), golden["expected"]["target"].get<std::string>()) << line;
    EXPECT_EQ(request.headers.back().first, "Authorization");
    const std::string expected = golden["expected"]["authorization"];
    EXPECT_EQ(request.headers.back().second, expected) << line;
  }
  EXPECT_GE(count, 40);
}

TEST(Signer, JoinsRepeatedHeadersAndCollapsesBlanks) {
  const PlainRequest request{.host = "h",
                             .path = "/a//b/../c",
                             .headers = {{"X-A", " one   two "}, {"x-a", "three"}}};
  std::string names;
  const std::string canonical = CanonicalRequest(request, "HASH", &names);
  EXPECT_EQ(canonical, "GET\n/a//b/../c\n\nhost:h\nx-a:one two,three\n\nhost;x-a\nHASH");
}

TEST(Encoding, DatesAreReadStrictly) {
  EXPECT_EQ(ParseHttpDate("Fri, 24 May 2013 00:00:00 GMT"), std::chrono::seconds(1369353600));
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00Z"), std::chrono::seconds(1369353600));
  EXPECT_EQ(ParseIsoDate("2013-05-24T00:00:00.250Z"), std::chrono::milliseconds(1369353600250));
  EXPECT_EQ(AmzDate(std::chrono::seconds(1369353600)), "20130524T000000Z");
  for (const char* text : {"", "2013-13-24T00:00:00Z", "2013-02-30T00:00:00Z", "2013-05-24",
                           "2013-05-24T24:00:00Z", "2013-05-24T00:00:00+02:00",
                           "2013-05-24T00:00:00.Z", "-013-05-24T00:00:00Z"}) {
    EXPECT_FALSE(ParseIsoDate(text)) << text;
  }
  for (const char* text : {"", "Fri, 24 Mai 2013 00:00:00 GMT", "Fri, 24 May 2013 00:00:00 CET",
                           "24 May 2013", "Fri, 31 Feb 2013 00:00:00 GMT",
                           "Fri, 24 anF 2013 00:00:00 GMT"}) {
    EXPECT_FALSE(ParseHttpDate(text)) << text;
  }
}

TEST(Encoding, PercentDecodingRefusesWhatIsNone) {
  EXPECT_EQ(PercentDecode("a%2Fb+c", true), "a/b c");
  EXPECT_EQ(PercentDecode("a%2fb+c", false), "a/b+c");
  EXPECT_FALSE(PercentDecode("%", false));
  EXPECT_FALSE(PercentDecode("a%2", false));
  EXPECT_FALSE(PercentDecode("a%zz", false));
}

}  // namespace
}  // namespace sheen::s3
