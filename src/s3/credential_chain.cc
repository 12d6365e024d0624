#include "s3/credential_chain.h"

#include <array>

#include "s3/endpoint.h"

namespace sheen::s3 {
namespace {

std::string Get(const Section& section, std::string_view name) {
  const auto found = section.find(name);
  return found == section.end() ? "" : found->second;
}

std::optional<Credentials> KeysOf(const Section& section, std::string source) {
  Credentials out{.access_key_id = Get(section, "aws_access_key_id"),
                  .secret_access_key = Get(section, "aws_secret_access_key"),
                  .session_token = Get(section, "aws_session_token"),
                  .source = std::move(source)};
  if (out.access_key_id.empty() || out.secret_access_key.empty()) return std::nullopt;
  return out;
}

bool WantsRole(const Section& section) {
  return !Get(section, "role_arn").empty() &&
         (!Get(section, "source_profile").empty() || !Get(section, "credential_source").empty());
}

}  // namespace

async::Task<Result<Credentials>> CredentialChain::Resolve() {
  if (options_->given) co_return *options_->given;
  std::string tried;
  const auto missing = [&tried](std::string_view name, const std::string& why) {
    if (!tried.empty()) tried += "; ";
    tried += std::string(name) + ": " + why;
  };
  struct Source {
    std::string_view name;
    Step step;
  };
  std::vector<Source> sources;
  if (!options_->file.empty()) {
    sources.push_back({"file", FromFile()});
  } else {
    if (options_->profile.empty()) sources.push_back({"environment", FromEnvironment()});
    sources.push_back({"role of the profile", FromRole(ProfileName())});
    sources.push_back({"web identity", FromWebIdentity()});
    sources.push_back({"profile", FromProfile(ProfileName())});
    sources.push_back({"container", FromContainer()});
    sources.push_back({"instance metadata", FromInstance()});
  }
  for (Source& source : sources) {
    Result<Found> found = co_await std::move(source.step);
    if (!found) {
      missing(source.name, found.error().message());
      co_return Fail(found.error().code(), "no credentials: " + tried);
    }
    if (found->credentials) {
      if (found->credentials->source.empty()) found->credentials->source = source.name;
      co_return *std::move(found->credentials);
    }
    missing(source.name, found->why);
  }
  co_return Fail(Errc::kPerm, "no credentials: " + tried);
}

std::string CredentialChain::ProfileName() const {
  if (!options_->profile.empty()) return options_->profile;
  return Env("AWS_PROFILE").value_or("default");
}

async::Task<void> CredentialChain::LoadProfiles() {
  if (profiles_) co_return;
  std::vector<std::string> paths{CredentialsPath(options_->environment),
                                 ConfigPath(options_->environment)};
  std::function<Profiles()> load = [&paths] {
    return Profiles(ParseIni(ReadSmallFile(paths[0]).value_or("")),
                    ParseIni(ReadSmallFile(paths[1]).value_or("")));
  };
  profiles_ = co_await pool_->Run<Profiles>(load);
}

async::Task<std::string> CredentialChain::Region(bool ask_instance) {
  if (!options_->region.empty()) co_return options_->region;
  for (const char* name : {"AWS_REGION", "AWS_DEFAULT_REGION"}) {
    if (auto region = Env(name)) co_return *std::move(region);
  }
  co_await LoadProfiles();
  if (const auto profile = profiles_->Find(ProfileName())) {
    std::string region = Get(*profile, "region");
    if (!region.empty()) co_return region;
  }
  if (!ask_instance) co_return "";
  Result<HttpResponse> answer = co_await AskInstance("/latest/meta-data/placement/region");
  if (!answer || answer->head.status != 200) co_return "";
  co_return answer->body;
}

CredentialChain::Step CredentialChain::FromFile() {
  const std::string path = options_->file;
  std::function<std::optional<std::string>()> read = [&path] { return ReadSmallFile(path); };
  const std::optional<std::string> text = co_await pool_->Run<std::optional<std::string>>(read);
  if (!text) co_return Fail(Errc::kPerm, path + " cannot be read");
  const IniFile file = ParseIni(*text);
  const std::string profile = options_->profile.empty() ? "default" : options_->profile;
  const auto section = file.find(profile);
  if (section == file.end()) co_return Fail(Errc::kPerm, path + " has no [" + profile + "]");
  std::optional<Credentials> keys = KeysOf(section->second, path);
  if (!keys) co_return Fail(Errc::kPerm, path + ": [" + profile + "] lacks keys");
  co_return Found{.credentials = std::move(keys)};
}

CredentialChain::Step CredentialChain::FromEnvironment() {
  const auto id = Env("AWS_ACCESS_KEY_ID");
  const auto secret = Env("AWS_SECRET_ACCESS_KEY");
  if (!id) co_return Found{.why = "AWS_ACCESS_KEY_ID is not set"};
  if (!secret) co_return Fail(Errc::kPerm, "AWS_ACCESS_KEY_ID without AWS_SECRET_ACCESS_KEY");
  co_return Found{.credentials = Credentials{.access_key_id = *id,
                                             .secret_access_key = *secret,
                                             .session_token =
                                                 Env("AWS_SESSION_TOKEN").value_or("")}};
}

CredentialChain::Step CredentialChain::FromRole(std::string profile) {
  co_await LoadProfiles();
  const std::optional<Section> settings = profiles_->Find(profile);
  if (!settings || !WantsRole(*settings)) {
    co_return Found{.why = "'" + profile + "' has no role_arn with a source"};
  }
  SHEEN_CO_TRY_ASSIGN(Credentials keys, co_await RoleOf(*settings, profile, {profile}));
  co_return Found{.credentials = std::move(keys)};
}

CredentialChain::Step CredentialChain::FromWebIdentity() {
  const auto file = Env("AWS_WEB_IDENTITY_TOKEN_FILE");
  const auto role = Env("AWS_ROLE_ARN");
  if (!file) co_return Found{.why = "AWS_WEB_IDENTITY_TOKEN_FILE is not set"};
  if (!role) co_return Fail(Errc::kPerm, "AWS_WEB_IDENTITY_TOKEN_FILE without AWS_ROLE_ARN");
  RoleRequest request{.role_arn = *role,
                      .session_name = Env("AWS_ROLE_SESSION_NAME").value_or("sheen")};
  SHEEN_CO_TRY_ASSIGN(Credentials keys, co_await AssumeWithToken(*file, std::move(request)));
  co_return Found{.credentials = std::move(keys)};
}

CredentialChain::Step CredentialChain::FromProfile(std::string profile) {
  co_await LoadProfiles();
  const std::optional<Section> settings = profiles_->Find(profile);
  if (!settings) {
    // One that was asked for by name must exist.
    const std::string why = "no profile '" + profile + "'";
    if (!options_->profile.empty() || Env("AWS_PROFILE")) co_return Fail(Errc::kPerm, why);
    co_return Found{.why = why};
  }
  const bool any = KeysOf(*settings, "") || !Get(*settings, "credential_process").empty() ||
                   !Get(*settings, "web_identity_token_file").empty();
  if (!any && !Get(*settings, "sso_session").empty()) {
    co_return Found{.why = "'" + profile + "' uses SSO, which is not supported"};
  }
  if (!any) co_return Found{.why = "'" + profile + "' has no keys"};
  SHEEN_CO_TRY_ASSIGN(Credentials keys, co_await OfProfile(profile, {}));
  co_return Found{.credentials = std::move(keys)};
}

// Of a profile that is used directly or as the source of a role.
async::Task<Result<Credentials>> CredentialChain::OfProfile(std::string profile,
                                                            std::set<std::string> seen) {
  const std::optional<Section> settings = profiles_->Find(profile);
  if (!settings) co_return Fail(Errc::kPerm, "no profile '" + profile + "'");
  const std::string source = "profile '" + profile + "'";
  if (WantsRole(*settings) && !seen.contains(profile)) {
    seen.insert(profile);
    co_return co_await RoleOf(*settings, profile, std::move(seen));
  }
  // A profile may be its own source: then its keys are meant.
  if (std::optional<Credentials> keys = KeysOf(*settings, source)) co_return *std::move(keys);
  if (seen.contains(profile)) {
    co_return Fail(Errc::kPerm, "source_profile leads from '" + profile + "' back to itself");
  }
  const std::string token_file = Get(*settings, "web_identity_token_file");
  if (!token_file.empty()) {
    const std::string session = Get(*settings, "role_session_name");
    RoleRequest request{.role_arn = Get(*settings, "role_arn"),
                        .session_name = session.empty() ? "sheen" : session};
    co_return co_await AssumeWithToken(token_file, std::move(request));
  }
  const std::string command = Get(*settings, "credential_process");
  if (!command.empty()) co_return co_await OfProcess(command);
  co_return Fail(Errc::kPerm, source + " has no keys");
}

async::Task<Result<Credentials>> CredentialChain::RoleOf(Section settings, std::string profile,
                                                         std::set<std::string> seen) {
  const std::string source_profile = Get(settings, "source_profile");
  Result<Credentials> base;
  if (!source_profile.empty()) {
    base = co_await OfProfile(source_profile, std::move(seen));
  } else {
    base = co_await OfCredentialSource(Get(settings, "credential_source"));
  }
  SHEEN_CO_TRY(base);
  const std::string session = Get(settings, "role_session_name");
  RoleRequest role{.role_arn = Get(settings, "role_arn"),
                   .session_name = session.empty() ? "sheen" : session,
                   .external_id = Get(settings, "external_id"),
                   .duration_seconds = Get(settings, "duration_seconds")};
  Result<Credentials> keys = co_await AssumeRole(*std::move(base), std::move(role));
  if (keys) keys->source = "role of profile '" + profile + "'";
  co_return keys;
}

async::Task<Result<Credentials>> CredentialChain::OfCredentialSource(std::string name) {
  Result<Found> found = Fail(Errc::kPerm, "credential_source '" + name + "' is not known");
  if (name == "Environment") found = co_await FromEnvironment();
  if (name == "EcsContainer") found = co_await FromContainer();
  if (name == "Ec2InstanceMetadata") found = co_await FromInstance();
  SHEEN_CO_TRY(found);
  if (!found->credentials) co_return Fail(Errc::kPerm, name + ": " + found->why);
  co_return *std::move(found->credentials);
}

}  // namespace sheen::s3
