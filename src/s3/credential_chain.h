// Where credentials come from, in the order of AWS's tools:
//
//   given outright | a credentials file given outright (then nothing else is tried)
//   environment           AWS_ACCESS_KEY_ID ...; not when a profile was given outright
//   role of the profile   role_arn with source_profile or credential_source: STS AssumeRole
//   web identity          AWS_WEB_IDENTITY_TOKEN_FILE, AWS_ROLE_ARN: AssumeRoleWithWebIdentity
//   profile               keys, web_identity_token_file, credential_process
//   container             AWS_CONTAINER_CREDENTIALS_{RELATIVE,FULL}_URI (ECS, EKS Pod Identity)
//   instance metadata     IMDSv2, of EC2
//
// A source that is not configured is passed over. One that is configured and fails ends the walk:
// another identity than the one that was meant must not be used silently.
//
// Shard-confined, one walk at a time; what it points to must outlive it.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/task.h"
#include "s3/aws_config.h"
#include "s3/http.h"
#include "s3/signer.h"
#include "sheen/result.h"

namespace sheen::s3 {

struct CredentialOptions {
  std::optional<Credentials> given;
  std::string file;     // in the form of ~/.aws/credentials
  std::string profile;  // empty: AWS_PROFILE, else "default"
  std::string region;   // of STS; empty: as AWS's tools find it
  Environment environment = ProcessEnvironment();
  // Elsewhere in tests.
  std::string container_host = "http://169.254.170.2";
  std::string metadata_host = "http://169.254.169.254";
  std::string sts_endpoint;  // empty: https://sts.REGION.amazonaws.com
};

class CredentialChain final {
 public:
  CredentialChain(HttpClient* http, HttpLink direct, HttpLink sts, async::BlockingPool* pool,
                  const CredentialOptions* options)
      : http_(http), direct_(direct), sts_(sts), pool_(pool), options_(options) {}

  // Errors: kPerm, which sources were tried and why each gave none.
  async::Task<Result<Credentials>> Resolve();
  // AWS_REGION, AWS_DEFAULT_REGION, the profile's, the instance's; empty when none says.
  async::Task<std::string> Region(bool ask_instance);

 private:
  // No value: not configured; `why` says what is missing.
  struct Found {
    std::optional<Credentials> credentials;
    std::string why;
  };
  using Step = async::Task<Result<Found>>;

  struct RoleRequest {
    std::string role_arn;
    std::string session_name;
    std::string external_id;
    std::string duration_seconds;
  };

  std::optional<std::string> Env(const char* name) const { return options_->environment(name); }
  std::string ProfileName() const;
  async::Task<void> LoadProfiles();
  std::string StsUrl(const std::string& region) const;

  Step FromFile();
  Step FromEnvironment();
  Step FromRole(std::string profile);
  Step FromWebIdentity();
  Step FromProfile(std::string profile);
  Step FromContainer();
  Step FromInstance();

  async::Task<Result<Credentials>> OfProfile(std::string profile, std::set<std::string> seen);
  async::Task<Result<Credentials>> RoleOf(Section settings, std::string profile,
                                          std::set<std::string> seen);
  async::Task<Result<Credentials>> OfCredentialSource(std::string name);
  async::Task<Result<Credentials>> AssumeRole(Credentials base, RoleRequest role);
  async::Task<Result<Credentials>> AssumeWithToken(std::string token_file, RoleRequest role);
  async::Task<Result<Credentials>> OfProcess(std::string command);
  async::Task<Result<HttpResponse>> AskInstance(std::string path);

  HttpClient* const http_;
  const HttpLink direct_;  // no proxy, short limits: addresses of this machine
  const HttpLink sts_;
  async::BlockingPool* const pool_;
  const CredentialOptions* const options_;
  std::optional<Profiles> profiles_;
  std::string imds_token_;
};

// {"AccessKeyId","SecretAccessKey","Token" or "SessionToken","Expiration"}, as containers,
// instances and credential_process answer. Errors: kProtocol.
Result<Credentials> ParseCredentialJson(std::string_view text);

// Whether keys may be sent for over plain HTTP: loopback and the link-local addresses of ECS, EKS.
bool IsTrustedPlainHost(std::string_view url);

}  // namespace sheen::s3
