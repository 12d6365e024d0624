#include "s3/endpoint.h"

#include <algorithm>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

bool IsHostName(std::string_view bucket) {
  return std::ranges::all_of(bucket, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
  });
}

bool SplitUrl(std::string_view url, std::string* scheme, std::string* host, std::string* path) {
  const size_t colon = url.find("://");
  if (colon == std::string_view::npos) return false;
  *scheme = Lower(url.substr(0, colon));
  url.remove_prefix(colon + 3);
  const size_t slash = url.find_first_of("/?#");
  *host = Lower(url.substr(0, slash));
  *path = slash == std::string_view::npos ? "" : std::string(url.substr(slash));
  if (*scheme == "http" && host->ends_with(":80")) host->resize(host->size() - 3);
  if (*scheme == "https" && host->ends_with(":443")) host->resize(host->size() - 4);
  return (*scheme == "http" || *scheme == "https") && !host->empty() &&
         host->find('@') == std::string::npos;
}

std::string_view WithoutPort(std::string_view host) {
  return host.starts_with('[') ? host.substr(0, host.find(']')) : host.substr(0, host.find(':'));
}

bool IsAwsHost(std::string_view host) {
  host = WithoutPort(host);
  return host.ends_with(".amazonaws.com") || host.ends_with(".amazonaws.com.cn");
}

}  // namespace

std::string Endpoint::PathOf(std::string_view key) const {
  if (key.empty()) return base_path.empty() ? "/" : base_path;
  return base_path + "/" + std::string(key);
}

std::string_view AwsDomain(std::string_view region) {
  return region.starts_with("cn-") ? "amazonaws.com.cn" : "amazonaws.com";
}

Result<Endpoint> ResolveEndpoint(std::string_view url, std::string_view region,
                                 std::string_view bucket, Addressing addressing) {
  if (bucket.empty() || bucket.find('/') != std::string_view::npos) {
    return Fail(Errc::kInvalid, "'" + std::string(bucket) + "' is not a bucket's name");
  }
  Endpoint out;
  if (url.empty()) {
    if (region.empty()) return Fail(Errc::kInvalid, "neither a region nor an endpoint is set");
    out.host = "s3." + std::string(region) + "." + std::string(AwsDomain(region));
  } else {
    std::string path;
    if (!SplitUrl(url, &out.scheme, &out.host, &path) || (path != "" && path != "/")) {
      return Fail(Errc::kInvalid,
                  "endpoint '" + std::string(url) + "' is not http[s]://HOST[:PORT]");
    }
    out.aws = IsAwsHost(out.host);
  }
  if (addressing == Addressing::kAuto) {
    addressing = out.aws && IsHostName(bucket) ? Addressing::kVirtualHost : Addressing::kPath;
  }
  if (addressing == Addressing::kVirtualHost) {
    out.host = std::string(bucket) + "." + out.host;
  } else {
    out.base_path = "/" + std::string(bucket);
  }
  return out;
}

Result<Endpoint> FollowLocation(const Endpoint& from, std::string_view location) {
  Endpoint out = from;
  std::string path;
  if (!SplitUrl(location, &out.scheme, &out.host, &path)) {
    return Fail(Errc::kNotThisServer, "redirected to '" + std::string(location) + "'");
  }
  const bool same = WithoutPort(out.host) == WithoutPort(from.host);
  const bool within_aws = from.aws && IsAwsHost(out.host);
  if ((!same && !within_aws) || out.scheme != from.scheme) {
    return Fail(Errc::kNotThisServer, "redirected to '" + out.host + "', which is not trusted");
  }
  // From host/bucket to bucket.host.
  if (!from.base_path.empty() && !path.starts_with(from.base_path)) out.base_path.clear();
  return out;
}

}  // namespace sheen::s3
