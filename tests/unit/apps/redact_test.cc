#include "apps/common/redact.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>

namespace sheen::apps {
namespace {

TEST(RedactTest, ValuesOfSensitiveNamesGo) {
  const std::pair<const char*, const char*> cases[] = {
      {"secret = \"abc\"\nport = 1\n", "secret = (removed)\nport = 1\n"},
      {"aws_secret_access_key=abc/d+e\n", "aws_secret_access_key=(removed)\n"},
      {"--s3-access-key-id=AKIAXX --port 7988", "--s3-access-key-id=(removed) --port 7988"},
      {"{\"Password\": \"a\\\"b\", \"user\": \"u\"}", "{\"Password\": (removed), \"user\": \"u\"}"},
      {"tokens = [\"a]\",\n \"b\"]\nx = 2", "tokens = (removed)\nx = 2"},
      {"token = \"\"\"\nfirst\nsecond\"\"\"\nx = 2", "token = (removed)\nx = 2"},
      {"GET /?X-Amz-Security-Token=abc&list=1", "GET /?X-Amz-Security-Token=(removed)&list=1"},
      {"Authorization: AWS4-HMAC-SHA256 Credential=A/b, Signature=c\nnext",
       "Authorization: (removed)\nnext"},
      {"password = 'open \"", "password = (removed)"},
      {"ro,password=x,noatime", "ro,password=(removed),noatime"},
  };
  for (const auto& [before, after] : cases) EXPECT_EQ(WithoutSecrets(before), after) << before;
}

TEST(RedactTest, PasswordsOfUrlsGo) {
  EXPECT_EQ(WithoutSecrets("proxy http://me:pw@host:3128/x and http://host:80/a:b@c"),
            "proxy http://me:(removed)@host:3128/x and http://host:80/a:b@c");
}

TEST(RedactTest, PrivateKeysGoCertificatesStay) {
  const std::string certificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
  EXPECT_EQ(WithoutSecrets(certificate), certificate);
  EXPECT_EQ(WithoutSecrets("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nx\n"
                           "-----END RSA PRIVATE KEY-----\n"),
            "-----BEGIN RSA PRIVATE KEY-----\n(removed)\n-----END RSA PRIVATE KEY-----\n");
  EXPECT_EQ(WithoutSecrets("-----BEGIN PRIVATE KEY-----\nMIIE"),
            "-----BEGIN PRIVATE KEY-----\n(removed)");
}

TEST(RedactTest, OtherTextStays) {
  for (const std::string text :
       {"mds0: credential not accepted: EPERM\n", "key = \"a\"\n", "listen = \"10.0.0.1\"", "",
        "secret", "secret =", "the token\n= x", "a://b", "10.0.0.1:7988 [x] {y}"}) {
    EXPECT_EQ(WithoutSecrets(text), text);
  }
}

}  // namespace
}  // namespace sheen::apps
