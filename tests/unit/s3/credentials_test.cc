#include "s3/credentials.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "s3/encoding.h"
#include "support/s3_stub/http_server.h"
#include "support/wait_poller.h"

namespace sheen::s3 {
namespace {

using s3_stub::Request;
using s3_stub::Response;

std::string InMinutes(int minutes) {
  const std::string date = AmzDate(SystemClock().Wall() + std::chrono::minutes(minutes));
  return date.substr(0, 4) + "-" + date.substr(4, 2) + "-" + date.substr(6, 5) + ":" +
         date.substr(11, 2) + ":" + date.substr(13, 2) + "Z";
}

std::string KeysJson(const std::string& id, int minutes) {
  return "{\"Code\":\"Success\",\"AccessKeyId\":\"" + id +
         "\",\"SecretAccessKey\":\"S\",\"Token\":\"T\",\"Expiration\":\"" +
         InMinutes(minutes) + "\"}";
}

// Plays STS, a container's agent and the metadata service of EC2, and writes down who asked what.
class CredentialsTest : public ::testing::Test {
 protected:
  CredentialsTest() : server_([this](const Request& request) { return Answer(request); }) {
    EXPECT_TRUE(server_.Start("127.0.0.1", 0));
    char name[] = "/tmp/sheen-s3-credentials.XXXXXX";
    directory_ = mkdtemp(name);
    environment_["HOME"] = directory_;
    environment_["AWS_EC2_METADATA_DISABLED"] = "true";
  }
  ~CredentialsTest() override {
    server_.Stop();
    for (const std::string& file : files_) std::remove(file.c_str());
    std::remove(directory_.c_str());
  }

  Response Answer(const Request& request) {
    ++asked_;
    if (request.path == "/latest/api/token") return Response{.body = "imds-token"};
    if (request.path.starts_with("/latest/")) {
      if (request.Find("x-aws-ec2-metadata-token") != "imds-token") return Response{.status = 401};
      if (request.path.ends_with("security-credentials/")) return Response{.body = "a-role"};
      if (request.path.ends_with("/a-role")) return Response{.body = KeysJson("IMDS", minutes_)};
      return Response{.body = "eu-west-3"};
    }
    if (request.path == "/container") {
      authorization_ = request.Find("authorization");
      return Response{.status = container_status_, .body = KeysJson("CONTAINER", minutes_)};
    }
    sts_body_ = request.body;
    sts_authorization_ = request.Find("authorization");
    if (sts_refuses_) {
      return Response{.status = 403,
                      .body = "<ErrorResponse><Error><Code>AccessDenied</Code><Message>no, not "
                              "you</Message></Error></ErrorResponse>"};
    }
    return Response{.body = "<R><Result><Credentials><AccessKeyId>STS</AccessKeyId>"
                            "<SecretAccessKey>S</SecretAccessKey><SessionToken>T</SessionToken>"
                            "<Expiration>" + InMinutes(minutes_) +
                            "</Expiration></Credentials></Result></R>"};
  }

  std::string Write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    files_.push_back(path);
    return path;
  }
  std::string Url() const { return "http://127.0.0.1:" + std::to_string(server_.port()); }
  CredentialOptions Options() {
    return {.environment = [this](const std::string& name) -> std::optional<std::string> {
              const auto found = environment_.find(name);
              if (found == environment_.end() || found->second.empty()) return std::nullopt;
              return found->second;
            },
            .container_host = Url(),
            .metadata_host = Url(),
            .sts_endpoint = Url()};
  }
  Result<Credentials> Get(CredentialOptions options) {
    CredentialProvider provider(&http_, &pool_, std::move(options));
    return shard_.Await(provider.Get());
  }
  std::string IdOf(const Result<Credentials>& keys) {
    return keys ? keys->access_key_id : "error: " + keys.error().message();
  }

  std::map<std::string, std::string> environment_;
  std::string directory_;
  std::vector<std::string> files_;
  std::atomic<int> asked_{0};
  std::atomic<int> minutes_{60};
  std::atomic<int> container_status_{200};
  std::atomic<bool> sts_refuses_{false};
  std::string sts_body_, sts_authorization_, authorization_;
  s3_stub::HttpServer server_;
  HttpClient http_;
  async::BlockingPool pool_{1};
  ShardRunner shard_;
};

TEST_F(CredentialsTest, TheOrderIsThatOfAwsTools) {
  environment_["AWS_EC2_METADATA_DISABLED"] = "false";
  EXPECT_EQ(IdOf(Get(Options())), "IMDS");
  environment_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/container";
  EXPECT_EQ(IdOf(Get(Options())), "CONTAINER");
  environment_["AWS_SHARED_CREDENTIALS_FILE"] = Write("keys",
      "[default]\naws_access_key_id = FILE\naws_secret_access_key = s\n"
      "[other]\naws_access_key_id=OTHER\naws_secret_access_key=s\n");
  EXPECT_EQ(IdOf(Get(Options())), "FILE");
  environment_["AWS_PROFILE"] = "other";
  EXPECT_EQ(IdOf(Get(Options())), "OTHER");
  environment_["AWS_WEB_IDENTITY_TOKEN_FILE"] = Write("token", "web token/+\n");
  environment_["AWS_ROLE_ARN"] = "arn:aws:iam::1:role/r";
  EXPECT_EQ(IdOf(Get(Options())), "STS");
  EXPECT_NE(sts_body_.find("WebIdentityToken=web%20token%2F%2B"), std::string::npos) << sts_body_;
  EXPECT_EQ(sts_authorization_, "");
  environment_["AWS_ACCESS_KEY_ID"] = "ENV";
  environment_["AWS_SECRET_ACCESS_KEY"] = "s";
  EXPECT_EQ(IdOf(Get(Options())), "ENV");
  CredentialOptions options = Options();
  options.profile = "default";  // outright: the environment's keys are not meant
  environment_.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  EXPECT_EQ(IdOf(Get(options)), "FILE");
  options = Options();
  options.file = environment_["AWS_SHARED_CREDENTIALS_FILE"];
  EXPECT_EQ(IdOf(Get(options)), "FILE");
  options.given = Credentials{.access_key_id = "GIVEN"};
  EXPECT_EQ(IdOf(Get(options)), "GIVEN");
}

TEST_F(CredentialsTest, RolesAreAssumedThroughTheirSources) {
  environment_["AWS_CONFIG_FILE"] = Write("config",
      "[profile deploy]\nrole_arn = arn:aws:iam::1:role/deploy\nsource_profile = base\n"
      "external_id = x y\nregion = eu-west-1\n"
      "[profile base]\naws_access_key_id = BASE\naws_secret_access_key = s\ns3 =\n  max = 1\n"
      "[profile a]\nrole_arn = r\nsource_profile = b\n[profile b]\nrole_arn = r\n"
      "source_profile = a\n"
      "[profile task]\nrole_arn = r\ncredential_source = EcsContainer\n"
      "[profile process]\ncredential_process = echo '" + KeysJson("PROCESS", 60) + "'\n"
      "[profile broken]\ncredential_process = false\n");
  environment_["AWS_PROFILE"] = "deploy";
  EXPECT_EQ(IdOf(Get(Options())), "STS");
  EXPECT_NE(sts_authorization_.find("Credential=BASE/"), std::string::npos) << sts_authorization_;
  EXPECT_NE(sts_authorization_.find("/eu-west-1/sts/aws4_request"), std::string::npos);
  EXPECT_NE(sts_body_.find("ExternalId=x%20y"), std::string::npos) << sts_body_;
  environment_["AWS_PROFILE"] = "task";
  environment_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = Url() + "/container";
  environment_["AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"] = Write("auth", "Bearer x\n");
  EXPECT_EQ(IdOf(Get(Options())), "STS");
  EXPECT_EQ(authorization_, "Bearer x");
  environment_["AWS_PROFILE"] = "process";
  EXPECT_EQ(IdOf(Get(Options())), "PROCESS");
  for (const char* profile : {"a", "broken", "none"}) {
    environment_["AWS_PROFILE"] = profile;
    const Result<Credentials> keys = Get(Options());
    ASSERT_FALSE(keys) << profile;
    EXPECT_EQ(keys.error().code(), Errc::kPerm) << profile;
  }
}

TEST_F(CredentialsTest, ErrorsSayWhatWasTriedAndWhy) {
  const Result<Credentials> none = Get(Options());
  ASSERT_FALSE(none);
  for (const char* part : {"AWS_ACCESS_KEY_ID is not set", "no profile 'default'",
                           "AWS_WEB_IDENTITY_TOKEN_FILE is not set",
                           "AWS_EC2_METADATA_DISABLED is set"}) {
    EXPECT_NE(none.error().message().find(part), std::string::npos) << none.error().message();
  }
  // What is configured and fails ends the walk.
  environment_["AWS_EC2_METADATA_DISABLED"] = "false";
  environment_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/container";
  container_status_ = 500;
  EXPECT_NE(IdOf(Get(Options())).find("container: it answered 500"), std::string::npos);
  environment_["AWS_WEB_IDENTITY_TOKEN_FILE"] = Write("token", "t");
  environment_["AWS_ROLE_ARN"] = "arn";
  sts_refuses_ = true;
  EXPECT_NE(IdOf(Get(Options())).find("AccessDenied: no, not you"), std::string::npos);
  environment_.erase("AWS_WEB_IDENTITY_TOKEN_FILE");
  environment_.erase("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  environment_["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://192.0.2.1/keys";
  EXPECT_NE(IdOf(Get(Options())).find("plain HTTP"), std::string::npos);
}

TEST_F(CredentialsTest, RegionsAreFoundLikeKeys) {
  environment_["AWS_EC2_METADATA_DISABLED"] = "false";
  CredentialProvider provider(&http_, &pool_, Options());
  EXPECT_EQ(shard_.Await(provider.Region()), "eu-west-3");
  environment_["AWS_DEFAULT_REGION"] = "eu-west-2";
  EXPECT_EQ(shard_.Await(provider.Region()), "eu-west-2");
  environment_["AWS_REGION"] = "eu-west-1";
  EXPECT_EQ(shard_.Await(provider.Region()), "eu-west-1");
}

async::Task<Result<std::vector<Result<Credentials>>>> GetMany(CredentialProvider* provider) {
  std::vector<async::Task<Result<Credentials>>> tasks;
  for (int i = 0; i < 50; ++i) tasks.push_back(provider->Get());
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(CredentialsTest, ManyCallersOfManyShardsCauseOneWalk) {
  environment_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/container";
  CredentialProvider provider(&http_, &pool_, Options());
  std::vector<std::thread> threads;
  std::atomic<int> right{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      ShardRunner shard;
      for (const auto& keys : *shard.Await(GetMany(&provider))) {
        if (keys && keys->access_key_id == "CONTAINER") ++right;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(right, 200);
  EXPECT_EQ(provider.walks(), 1U);
}

TEST_F(CredentialsTest, KeysAreRenewedBeforeTheyEnd) {
  environment_["AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"] = "/container";
  minutes_ = 12;  // within the 15 minutes, not within the 10
  CredentialProvider provider(&http_, &pool_, Options());
  EXPECT_TRUE(shard_.Await(provider.Get()));
  EXPECT_TRUE(shard_.Await(provider.Get()));
  EXPECT_EQ(provider.walks(), 2U);
  container_status_ = 500;  // the old ones still hold, and it is not asked all the time
  EXPECT_EQ(IdOf(shard_.Await(provider.Get())), "CONTAINER");
  EXPECT_EQ(IdOf(shard_.Await(provider.Get())), "CONTAINER");
  EXPECT_EQ(provider.walks(), 3U);
  const Credentials used = *shard_.Await(provider.Get());
  provider.Refused(used, SystemClock().Wall());
  EXPECT_FALSE(shard_.Await(provider.Get()));
  container_status_ = 200;
  minutes_ = 60;
  EXPECT_TRUE(shard_.Await(provider.Get()));
  EXPECT_TRUE(shard_.Await(provider.Get()));
  EXPECT_EQ(provider.walks(), 5U);
}

TEST(TrustedPlainHost, OnlyThisMachineAndItsAgents) {
  for (const char* url : {"http://127.0.0.1/x", "http://localhost:80/x", "http://[::1]/x",
                          "http://169.254.170.2/v2", "http://169.254.170.23/v1"}) {
    EXPECT_TRUE(IsTrustedPlainHost(url)) << url;
  }
  for (const char* url : {"http://127.0.0.1.example.com/", "http://example.com/",
                          "ftp://127.0.0.1/", "http://127.0.0.1@example.com/",
                          "http://169.254.170.20/"}) {
    EXPECT_FALSE(IsTrustedPlainHost(url)) << url;
  }
}

}  // namespace
}  // namespace sheen::s3
