#include "support/s3_stub/signature.h"

#include <openssl/crypto.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>

#include <ctime>
#include <set>
#include <sstream>

namespace sheen::s3_stub {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr int64_t kSkewSecondsMax = 15 * 60;

std::string Hex(const unsigned char* bytes, size_t size) {
  std::string out;
  char two[3];
  for (size_t i = 0; i < size; ++i) {
    std::snprintf(two, sizeof two, "%02x", bytes[i]);
    out += two;
  }
  return out;
}

std::string Mac(const std::string& key, const std::string& text) {
  unsigned char out[32];
  unsigned int size = sizeof out;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), out, &size);
  return {reinterpret_cast<char*>(out), size};
}

struct Authorization {
  std::string access_key, date, region, service, terminator;
  std::vector<std::string> signed_headers;
  std::string signature;
};

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> out;
  std::istringstream words{std::string(text)};
  for (std::string word; std::getline(words, word, separator);) out.push_back(word);
  return out;
}

std::optional<Authorization> Parse(std::string_view text) {
  if (!text.starts_with(kAlgorithm)) return std::nullopt;
  text.remove_prefix(kAlgorithm.size());
  std::map<std::string, std::string> fields;
  for (std::string part : Split(text, ',')) {
    part.erase(0, part.find_first_not_of(' '));
    const size_t equals = part.find('=');
    if (equals == std::string::npos) return std::nullopt;
    fields[part.substr(0, equals)] = part.substr(equals + 1);
  }
  const std::vector<std::string> scope = Split(fields["Credential"], '/');
  if (scope.size() != 5 || fields["Signature"].empty()) return std::nullopt;
  return Authorization{scope[0], scope[1], scope[2], scope[3], scope[4],
                       Split(fields["SignedHeaders"], ';'), fields["Signature"]};
}

std::string CollapsedValue(const Request& request, const std::string& name) {
  std::string out;
  bool first = true;
  for (const auto& [header, value] : request.headers) {
    if (header != name) continue;
    if (!first) out += ',';
    first = false;
    bool blank = false;
    for (const char c : value) {
      if (c == ' ' && blank) continue;
      blank = c == ' ';
      out += c;
    }
  }
  return out;
}

std::string CanonicalOf(const Request& request, const Authorization& authorization) {
  std::multiset<std::pair<std::string, std::string>> query;
  for (const std::string& part : Split(request.query, '&')) {
    const size_t equals = part.find('=');
    const std::string name = Unescape(part.substr(0, equals), true).value_or("");
    const std::string value =
        equals == std::string::npos ? "" : Unescape(part.substr(equals + 1), true).value_or("");
    query.emplace(Escape(name, false), Escape(value, false));
  }
  std::string out = request.method + "\n";
  out += Escape(Unescape(request.path, false).value_or(""), true) + "\n";
  bool first = true;
  for (const auto& [name, value] : query) {
    out += (first ? "" : "&") + name + "=" + value;
    first = false;
  }
  out += "\n";
  std::string names;
  for (const std::string& name : authorization.signed_headers) {
    out += name + ":" + CollapsedValue(request, name) + "\n";
    names += (names.empty() ? "" : ";") + name;
  }
  return out + "\n" + names + "\n" + std::string(request.Find("x-amz-content-sha256"));
}

std::optional<S3Error> CheckHeaders(const Request& request, const Authorization& authorization) {
  const std::set<std::string> names(authorization.signed_headers.begin(),
                                    authorization.signed_headers.end());
  bool all = names.contains("host");
  for (const auto& [name, value] : request.headers) {
    if (name.starts_with("x-amz-") && !names.contains(name)) all = false;
  }
  const std::vector<std::string> in_order(names.begin(), names.end());
  if (!all || in_order != authorization.signed_headers) {
    return S3Error{403, "AccessDenied", "There were headers present which were not signed"};
  }
  const std::string_view hash = request.Find("x-amz-content-sha256");
  if (hash.empty()) {
    return S3Error{400, "InvalidRequest", "Missing required header x-amz-content-sha256"};
  }
  if (hash != "UNSIGNED-PAYLOAD" && hash != Sha256(request.body)) {
    return S3Error{400, "XAmzContentSHA256Mismatch", "The body is not of the hash that was sent"};
  }
  return std::nullopt;
}

std::optional<S3Error> CheckClock(const Verifier& verifier, std::string_view date) {
  std::tm parts{};
  if (strptime(std::string(date).c_str(), "%Y%m%dT%H%M%SZ", &parts) == nullptr) {
    return S3Error{403, "AccessDenied", "x-amz-date is no date"};
  }
  const int64_t now = std::time(nullptr) + verifier.clock_offset_seconds;
  if (std::abs(timegm(&parts) - now) > kSkewSecondsMax) {
    return S3Error{403, "RequestTimeTooSkewed",
                   "The difference between the request time and the server's is too large."};
  }
  return std::nullopt;
}

std::optional<S3Error> CheckIdentity(const Identity& identity, const Request& request) {
  const std::string_view token = request.Find("x-amz-security-token");
  if (token != identity.token) {
    return S3Error{identity.token.empty() ? 400 : 403, "InvalidToken",
                   "The provided token is malformed or otherwise invalid."};
  }
  if (identity.expired) return S3Error{400, "ExpiredToken", "The provided token has expired."};
  return std::nullopt;
}

}  // namespace

std::optional<S3Error> VerifySignature(const Verifier& verifier, const Request& request) {
  const std::string_view header = request.Find("authorization");
  if (header.empty()) return S3Error{403, "AccessDenied", "Access Denied"};
  const std::optional<Authorization> authorization = Parse(header);
  if (!authorization || authorization->service != "s3" ||
      authorization->terminator != "aws4_request") {
    return S3Error{400, "AuthorizationHeaderMalformed", "The authorization header is malformed"};
  }
  if (authorization->region != verifier.region) {
    return S3Error{400, "AuthorizationHeaderMalformed",
                   "The region '" + authorization->region + "' is wrong; expecting '" +
                       verifier.region + "'",
                   "<Region>" + verifier.region + "</Region>"};
  }
  const auto identity = verifier.identities.find(authorization->access_key);
  if (identity == verifier.identities.end()) {
    return S3Error{403, "InvalidAccessKeyId", "The Access Key Id does not exist in our records."};
  }
  const std::string date(request.Find("x-amz-date"));
  if (auto error = CheckClock(verifier, date)) return error;
  if (auto error = CheckHeaders(request, *authorization)) return error;
  const std::string scope = authorization->date + "/" + authorization->region + "/s3/aws4_request";
  const std::string canonical = CanonicalOf(request, *authorization);
  const std::string to_sign =
      std::string(kAlgorithm) + "\n" + date + "\n" + scope + "\n" + Sha256(canonical);
  std::string key = Mac("AWS4" + identity->second.secret, authorization->date);
  for (const std::string& part : {authorization->region, std::string("s3"),
                                  std::string("aws4_request")}) {
    key = Mac(key, part);
  }
  const std::string mac = Mac(key, to_sign);
  const std::string expected = Hex(reinterpret_cast<const unsigned char*>(mac.data()), mac.size());
  if (expected != authorization->signature || date.substr(0, 8) != authorization->date) {
    return S3Error{403, "SignatureDoesNotMatch",
                   "The request signature we calculated does not match the signature you provided.",
                   "<StringToSign>" + XmlText(to_sign) + "</StringToSign><CanonicalRequest>" +
                       XmlText(canonical) + "</CanonicalRequest>"};
  }
  return CheckIdentity(identity->second, request);
}

std::optional<std::string> Unescape(std::string_view text, bool plus_is_space) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const bool whole = i + 2 < text.size() && isxdigit(text[i + 1]) && isxdigit(text[i + 2]);
      if (!whole) return std::nullopt;
      const std::string digits(text.substr(i + 1, 2));
      out.push_back(static_cast<char>(std::stoi(digits, nullptr, 16)));
      i += 2;
    } else {
      out.push_back(text[i] == '+' && plus_is_space ? ' ' : text[i]);
    }
  }
  return out;
}

std::string Escape(std::string_view text, bool keep_slash) {
  std::string out;
  char three[4];
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool mark = c == '-' || c == '_' || c == '.' || c == '~' || (c == '/' && keep_slash);
    if (mark || (byte < 0x80 && isalnum(byte))) {
      out.push_back(c);
      continue;
    }
    std::snprintf(three, sizeof three, "%%%02X", byte);
    out += three;
  }
  return out;
}

std::optional<std::map<std::string, std::string>> QueryOf(std::string_view raw) {
  std::map<std::string, std::string> out;
  for (const std::string& part : Split(raw, '&')) {
    const size_t equals = part.find('=');
    const auto name = Unescape(part.substr(0, equals), true);
    const auto value = Unescape(equals == std::string::npos ? "" : part.substr(equals + 1), true);
    if (!name || !value) return std::nullopt;
    out[*name] = *value;
  }
  return out;
}

std::string Sha256(std::string_view bytes) {
  unsigned char digest[32];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return Hex(digest, sizeof digest);
}

std::string XmlText(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out.push_back(c);
    }
  }
  return out;
}

}  // namespace sheen::s3_stub
