// The sources of CredentialChain that ask somebody: STS, containers, instances, processes.

#include <nlohmann/json.hpp>

#include "s3/credential_chain.h"
#include "s3/encoding.h"
#include "s3/endpoint.h"
#include "s3/run_command.h"
#include "s3/xml.h"

namespace sheen::s3 {
namespace {

constexpr std::string_view kStsVersion = "2011-06-15";
constexpr Nanos kMetadataIdleLimit = std::chrono::seconds(2);

std::string Member(const nlohmann::json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? found->get<std::string>() : "";
}

Error StsError(const HttpResponse& answer, const std::string& action) {
  const ServiceError error = ParseServiceError(answer.body);
  return Error(Errc::kPerm, action + ": " + std::to_string(answer.head.status) + " " + error.code +
                                ": " + error.message);
}

}  // namespace

Result<Credentials> ParseCredentialJson(std::string_view text) {
  const nlohmann::json object = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) return Fail(Errc::kProtocol, "credentials that are no JSON object");
  Credentials out{.access_key_id = Member(object, "AccessKeyId"),
                  .secret_access_key = Member(object, "SecretAccessKey"),
                  .session_token = Member(object, "Token")};
  if (out.session_token.empty()) out.session_token = Member(object, "SessionToken");
  if (out.access_key_id.empty() || out.secret_access_key.empty()) {
    const std::string message = Member(object, "Message");
    return Fail(Errc::kProtocol, message.empty() ? "credentials without keys" : message);
  }
  const std::string expiration = Member(object, "Expiration");
  if (!expiration.empty()) {
    const std::optional<Nanos> expires = ParseIsoDate(expiration);
    if (!expires) return Fail(Errc::kProtocol, "credentials with an Expiration that is no date");
    out.expires = *expires;
  }
  return out;
}

bool IsTrustedPlainHost(std::string_view url) {
  if (!url.starts_with("http://")) return false;
  const std::string_view rest = url.substr(7);
  const std::string_view authority = rest.substr(0, rest.find_first_of("/?#"));
  if (authority.find('@') != std::string_view::npos) return false;
  const std::string_view host = authority.starts_with('[')
                                    ? authority.substr(0, authority.find(']') + 1)
                                    : authority.substr(0, authority.find(':'));
  const bool loopback4 =
      host.starts_with("127.") &&
      host.find_first_not_of("0123456789.") == std::string_view::npos;
  return host == "localhost" || loopback4 || host == "[::1]" || host == "169.254.170.2" ||
         host == "169.254.170.23" || host == "[fd00:ec2::23]";
}

std::string CredentialChain::StsUrl(const std::string& region) const {
  if (!options_->sts_endpoint.empty()) return options_->sts_endpoint;
  if (const auto url = Env("AWS_ENDPOINT_URL_STS")) return *url;
  return "https://sts." + region + "." + std::string(AwsDomain(region));
}

async::Task<Result<Credentials>> CredentialChain::AssumeRole(Credentials base, RoleRequest role) {
  NameValues form{{"Action", "AssumeRole"},
                  {"Version", std::string(kStsVersion)},
                  {"RoleArn", role.role_arn},
                  {"RoleSessionName", role.session_name}};
  if (!role.external_id.empty()) form.emplace_back("ExternalId", role.external_id);
  if (!role.duration_seconds.empty()) {
    form.emplace_back("DurationSeconds", role.duration_seconds);
  }
  const std::string body = CanonicalQuery(form);
  std::string region = co_await Region(false);
  if (region.empty()) region = "us-east-1";
  const std::string url = StsUrl(region);
  PlainRequest plain{.method = "POST",
                     .host = url.substr(url.find("://") + 3),
                     .headers = {{"Content-Type", "application/x-www-form-urlencoded"}}};
  while (plain.host.ends_with('/')) plain.host.pop_back();
  Sign(&plain, base,
       {.region = region, .service = "sts", .wall = async::Shard::Current()->WallNow()},
       Sha256Hex(body));
  HttpRequest request{.method = "POST",
                      .url = url.substr(0, url.find("://") + 3) + plain.host + "/",
                      .headers = plain.headers,
                      .body = body};
  Result<HttpResponse> answer = co_await http_->Fetch(sts_, std::move(request));
  SHEEN_CO_TRY(answer);
  if (answer->head.status != 200) co_return std::unexpected(StsError(*answer, "AssumeRole"));
  co_return ParseAssumeRole(answer->body);
}

async::Task<Result<Credentials>> CredentialChain::AssumeWithToken(std::string token_file,
                                                                  RoleRequest role) {
  // It is replaced from time to time: read anew for every use.
  std::function<std::optional<std::string>()> read = [&] { return ReadSmallFile(token_file); };
  const std::optional<std::string> token = co_await pool_->Run<std::optional<std::string>>(read);
  if (!token) co_return Fail(Errc::kPerm, token_file + " cannot be read");
  const std::string body = CanonicalQuery({{"Action", "AssumeRoleWithWebIdentity"},
                                           {"Version", std::string(kStsVersion)},
                                           {"RoleArn", role.role_arn},
                                           {"RoleSessionName", role.session_name},
                                           {"WebIdentityToken", std::string(Trim(*token))}});
  std::string region = co_await Region(false);
  if (region.empty()) region = "us-east-1";
  HttpRequest request{.method = "POST",
                      .url = StsUrl(region) + "/",
                      .headers = {{"Content-Type", "application/x-www-form-urlencoded"}},
                      .body = body};
  Result<HttpResponse> answer = co_await http_->Fetch(sts_, std::move(request));
  SHEEN_CO_TRY(answer);
  if (answer->head.status != 200) {
    co_return std::unexpected(StsError(*answer, "AssumeRoleWithWebIdentity"));
  }
  co_return ParseAssumeRole(answer->body);
}

async::Task<Result<Credentials>> CredentialChain::OfProcess(std::string command) {
  std::function<Result<std::string>()> run = [&command] { return RunCommand(command); };
  const Result<std::string> output = co_await pool_->Run<Result<std::string>>(run);
  if (!output) co_return std::unexpected(Annotate(output.error(), "credential_process: "));
  Result<Credentials> out = ParseCredentialJson(*output);
  if (out) out->source = "credential_process";
  co_return out;
}

CredentialChain::Step CredentialChain::FromContainer() {
  const auto relative = Env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI");
  const auto full = Env("AWS_CONTAINER_CREDENTIALS_FULL_URI");
  if (!relative && !full) co_return Found{.why = "AWS_CONTAINER_CREDENTIALS_*_URI is not set"};
  HttpRequest request{.url = relative ? options_->container_host + *relative : *full,
                      .idle_limit = kMetadataIdleLimit};
  if (!request.url.starts_with("https://") && !IsTrustedPlainHost(request.url)) {
    co_return Fail(Errc::kPerm, "plain HTTP to " + request.url + " is not allowed");
  }
  if (const auto file = Env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")) {
    std::function<std::optional<std::string>()> read = [&file] { return ReadSmallFile(*file); };
    const std::optional<std::string> token =
        co_await pool_->Run<std::optional<std::string>>(read);
    if (!token) co_return Fail(Errc::kPerm, *file + " cannot be read");
    request.headers.emplace_back("Authorization", Trim(*token));
  } else if (const auto token = Env("AWS_CONTAINER_AUTHORIZATION_TOKEN")) {
    request.headers.emplace_back("Authorization", *token);
  }
  Result<HttpResponse> answer = co_await http_->Fetch(direct_, std::move(request));
  SHEEN_CO_TRY(answer);
  if (answer->head.status != 200) {
    co_return Fail(Errc::kPerm, "it answered " + std::to_string(answer->head.status));
  }
  SHEEN_CO_TRY_ASSIGN(Credentials keys, ParseCredentialJson(answer->body));
  co_return Found{.credentials = std::move(keys)};
}

async::Task<Result<HttpResponse>> CredentialChain::AskInstance(std::string path) {
  const std::string host =
      Env("AWS_EC2_METADATA_SERVICE_ENDPOINT").value_or(options_->metadata_host);
  if (imds_token_.empty()) {
    HttpRequest request{.method = "PUT",
                        .url = host + "/latest/api/token",
                        .headers = {{"x-aws-ec2-metadata-token-ttl-seconds", "21600"}},
                        .idle_limit = kMetadataIdleLimit};
    Result<HttpResponse> token = co_await http_->Fetch(direct_, std::move(request));
    SHEEN_CO_TRY(token);
    if (token->head.status != 200) co_return token;
    imds_token_ = token->body;
  }
  HttpRequest request{.url = host + path,
                      .headers = {{"x-aws-ec2-metadata-token", imds_token_}},
                      .idle_limit = kMetadataIdleLimit};
  co_return co_await http_->Fetch(direct_, std::move(request));
}

CredentialChain::Step CredentialChain::FromInstance() {
  if (Lower(Env("AWS_EC2_METADATA_DISABLED").value_or("")) == "true") {
    co_return Found{.why = "AWS_EC2_METADATA_DISABLED is set"};
  }
  const std::string folder = "/latest/meta-data/iam/security-credentials/";
  Result<HttpResponse> role = co_await AskInstance(folder);
  // The last of the chain, and always tried: without it this is no instance of EC2.
  if (!role) co_return Found{.why = role.error().message()};
  const std::string_view name = Trim(role->body);
  if (role->head.status != 200 || name.empty() || name.find('\n') != std::string_view::npos) {
    co_return Found{.why = "no role (answer " + std::to_string(role->head.status) + ")"};
  }
  Result<HttpResponse> answer = co_await AskInstance(folder + EncodePath(name));
  SHEEN_CO_TRY(answer);
  if (answer->head.status != 200) {
    co_return Fail(Errc::kPerm, "it answered " + std::to_string(answer->head.status));
  }
  SHEEN_CO_TRY_ASSIGN(Credentials keys, ParseCredentialJson(answer->body));
  co_return Found{.credentials = std::move(keys)};
}

}  // namespace sheen::s3
