#include "s3/signer.h"

#include <algorithm>
#include <map>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";

// Without blanks at the ends, and runs of them as one space.
std::string Collapsed(std::string_view value) {
  std::string out;
  for (const char c : Trim(value)) {
    const bool blank = c == ' ' || c == '\t';
    if (blank && !out.empty() && out.back() == ' ') continue;
    out.push_back(blank ? ' ' : c);
  }
  return out;
}

std::string ScopeText(const SigningScope& scope) {
  return AmzDate(scope.wall).substr(0, 8) + "/" + scope.region + "/" + scope.service +
         "/aws4_request";
}

}  // namespace

std::string CanonicalQuery(const NameValues& query) {
  NameValues encoded;
  for (const auto& [name, value] : query) {
    encoded.emplace_back(EncodeQuery(name), EncodeQuery(value));
  }
  std::ranges::sort(encoded);
  std::string out;
  for (const auto& [name, value] : encoded) {
    if (!out.empty()) out += '&';
    out += name + "=" + value;
  }
  return out;
}

std::string PathAndQuery(const PlainRequest& request) {
  std::string out = EncodePath(request.path);
  if (!request.query.empty()) out += "?" + CanonicalQuery(request.query);
  return out;
}

std::string CanonicalRequest(const PlainRequest& request, std::string_view payload_hash,
                             std::string* signed_names) {
  std::map<std::string, std::string> headers;  // a name that comes twice: values joined by commas
  headers["host"] = request.host;
  for (const auto& [name, value] : request.headers) {
    const auto [place, is_new] = headers.try_emplace(Lower(name), Collapsed(value));
    if (!is_new) place->second += "," + Collapsed(value);
  }
  std::string out = request.method + "\n" + EncodePath(request.path) + "\n" +
                    CanonicalQuery(request.query) + "\n";
  signed_names->clear();
  for (const auto& [name, value] : headers) {
    out += name + ":" + value + "\n";
    if (!signed_names->empty()) *signed_names += ';';
    *signed_names += name;
  }
  out += "\n" + *signed_names + "\n";
  out += payload_hash;
  return out;
}

std::string Signature(std::string_view canonical_request, std::string_view secret,
                      const SigningScope& scope) {
  const std::string date = AmzDate(scope.wall);
  const std::string to_sign = std::string(kAlgorithm) + "\n" + date + "\n" + ScopeText(scope) +
                              "\n" + Sha256Hex(canonical_request);
  std::string key = HmacSha256("AWS4" + std::string(secret), date.substr(0, 8));
  key = HmacSha256(key, scope.region);
  key = HmacSha256(key, scope.service);
  key = HmacSha256(key, "aws4_request");
  return HexOf(HmacSha256(key, to_sign));
}

void Sign(PlainRequest* request, const Credentials& credentials, const SigningScope& scope,
          std::string_view payload_hash) {
  request->headers.emplace_back("X-Amz-Date", AmzDate(scope.wall));
  if (scope.service == "s3") request->headers.emplace_back("X-Amz-Content-Sha256", payload_hash);
  if (credentials.temporary()) {
    request->headers.emplace_back("X-Amz-Security-Token", credentials.session_token);
  }
  std::string signed_names;
  const std::string canonical = CanonicalRequest(*request, payload_hash, &signed_names);
  const std::string signature = Signature(canonical, credentials.secret_access_key, scope);
  request->headers.emplace_back(
      "Authorization", std::string(kAlgorithm) + " Credential=" + credentials.access_key_id + "/" +
                           ScopeText(scope) + ", SignedHeaders=" + signed_names +
                           ", Signature=" + signature);
}

}  // namespace sheen::s3
