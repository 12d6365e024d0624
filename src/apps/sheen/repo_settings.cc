#include "apps/sheen/repo_settings.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "apps/common/words.h"
#include "apps/sheen/hsm.h"

namespace sheen::apps {
namespace {

// "s3://bucket/prefix"
Status ParseUrl(const std::string& url, v1::Repository* out) {
  constexpr std::string_view kScheme = "s3://";
  const std::string rest = url.starts_with(kScheme) ? url.substr(kScheme.size()) : "";
  const size_t slash = std::min(rest.find('/'), rest.size());
  out->set_bucket(rest.substr(0, slash));
  out->set_prefix(slash < rest.size() ? rest.substr(slash + 1) : "");
  if (!out->prefix().empty() && !out->prefix().ends_with('/')) out->mutable_prefix()->append("/");
  if (!out->bucket().empty()) return {};
  return Fail(Errc::kInvalid, fmt::format("'{}' is no place in S3; write s3://BUCKET/PREFIX", url));
}

constexpr uint32_t kImportAll = v1::IMPORT_NEW | v1::IMPORT_CHANGED | v1::IMPORT_DELETED;
constexpr uint32_t kEveryDefaultSeconds = 300;
constexpr int64_t kEveryMaxSeconds = 366LL * 86400;

constexpr std::array<std::pair<std::string_view, uint32_t>, 3> kImportWords = {
    {{"new", v1::IMPORT_NEW}, {"changed", v1::IMPORT_CHANGED}, {"deleted", v1::IMPORT_DELETED}}};

Result<uint32_t> ParseEvery(const std::string& text) {
  if (text == "off" || text == "0") return 0;
  SHEEN_TRY_ASSIGN(const int64_t seconds, ParseAge(text));
  if (seconds >= 1 && seconds <= kEveryMaxSeconds) return static_cast<uint32_t>(seconds);
  return Fail(Errc::kInvalid,
              fmt::format("--every {}: at least 1s and at most a year, or off", text));
}

// One without the other: all of it, and every five minutes.
Status SetPolicy(const RepoFlags& flags, v1::Repository* out) {
  if (!flags.import.empty()) {
    SHEEN_TRY_ASSIGN(const uint32_t what, ParseImport(flags.import));
    out->set_import_what(what);
    if (out->import_every_s() == 0 && what != 0) out->set_import_every_s(kEveryDefaultSeconds);
    if (what == 0) out->set_import_every_s(0);
  }
  if (flags.every.empty()) return {};
  SHEEN_TRY_ASSIGN(const uint32_t every, ParseEvery(flags.every));
  if (every != 0 && flags.import == "none") {
    return Fail(Errc::kInvalid, "--import none and --every contradict each other");
  }
  out->set_import_every_s(every);
  if (every != 0 && out->import_what() == 0) out->set_import_what(kImportAll);
  return {};
}

Result<double> ParseBandwidth(const std::string& text) {
  if (text.empty()) return 0.0;
  SHEEN_TRY_ASSIGN(const uint64_t bytes, ParseSize(text));
  return static_cast<double>(bytes);
}

}  // namespace

Result<uint32_t> ParseImport(const std::string& text) {
  if (text == "none") return 0;
  uint32_t out = 0;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    const std::string_view word = std::string_view(text).substr(at, end - at);
    const auto found = std::ranges::find(kImportWords, word,
                                         &std::pair<std::string_view, uint32_t>::first);
    if (found == kImportWords.end()) {
      return Fail(Errc::kInvalid, fmt::format("'{}' is nothing that can be imported; write some of "
                                              "new,changed,deleted, or none",
                                              word));
    }
    out |= found->second;
    at = end + 1;
  }
  return out;
}

std::string ImportText(uint32_t what) {
  std::string out;
  for (const auto& [word, bit] : kImportWords) {
    if ((what & bit) != 0) out += (out.empty() ? "" : ",") + std::string(word);
  }
  return out.empty() ? "none" : out;
}

Status SetSettings(const RepoFlags& flags, const std::function<bool(const char*)>& take,
                   v1::Repository* out) {
  if (take("endpoint")) out->set_endpoint(flags.endpoint);
  if (take("region")) out->set_region(flags.region);
  if (take("profile")) out->set_profile(flags.profile);
  if (take("credentials")) out->set_credentials_file(flags.credentials);
  if (take("concurrency")) out->set_concurrency(flags.concurrency);
  if (take("requests-per-second")) out->set_requests_per_second(flags.requests);
  if (take("path-style")) out->set_path_style(flags.path_style);
  if (take("no-head")) out->set_no_head(flags.no_head);
  if (take("imported-file-chunk-size")) {
    SHEEN_TRY_ASSIGN(const uint64_t chunk, ParseSize(flags.chunk));
    out->set_chunk_bytes(chunk);
  }
  if (take("bandwidth")) {
    SHEEN_TRY_ASSIGN(const double bytes, ParseBandwidth(flags.bandwidth));
    out->set_bytes_per_second(bytes);
  }
  return SetPolicy(flags, out);
}

Result<v1::Repository> WantedRepository(const RepoFlags& flags) {
  v1::Repository out;
  SHEEN_TRY(ParseUrl(flags.url, &out));
  out.set_path(flags.path);
  SHEEN_TRY(SetSettings(flags, [](const char*) { return true; }, &out));
  return out;
}

std::string UrlOf(const v1::Repository& repository) {
  return "s3://" + repository.bucket() + "/" + repository.prefix();
}

nlohmann::json AsJson(const v1::Repository& repository) {
  return {{"path", repository.path()},
          {"url", UrlOf(repository)},
          {"id", repository.id()},
          {"bucket", repository.bucket()},
          {"prefix", repository.prefix()},
          {"endpoint", repository.endpoint()},
          {"region", repository.region()},
          {"path_style", repository.path_style()},
          {"profile", repository.profile()},
          {"credentials_file", repository.credentials_file()},
          {"imported_file_chunk_bytes", repository.chunk_bytes()},
          {"concurrency", repository.concurrency()},
          {"requests_per_second", repository.requests_per_second()},
          {"bytes_per_second", repository.bytes_per_second()},
          {"import", ImportText(repository.import_what())},
          {"import_every_seconds", repository.import_every_s()},
          {"no_head", repository.no_head()}};
}

}  // namespace sheen::apps
