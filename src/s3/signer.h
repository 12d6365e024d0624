// Signs requests as AWS does, Signature Version 4, in headers.
//
//   canonical request  METHOD \n encoded path \n sorted encoded query \n name:value lines of the
//                      headers, sorted \n\n names joined by ';' \n payload hash
//   string to sign     AWS4-HMAC-SHA256 \n date \n scope \n hex(sha256(canonical request))
//   scope              yyyymmdd/region/service/aws4_request
//   key                HMAC chain: "AWS4" + secret -> yyyymmdd -> region -> service -> aws4_request
//
// As S3 wants it: the path is encoded once and never normalised ("//" and ".." are part of keys).
//
// Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace sheen::s3 {

// Keys of one identity. `session_token` is empty for those that do not end.
struct Credentials {
  std::string access_key_id;
  std::string secret_access_key;
  std::string session_token;
  Nanos expires{0};      // wall clock; 0: never
  std::string source;    // which link of the chain they come from, for messages

  bool temporary() const { return !session_token.empty(); }
};

using NameValues = std::vector<std::pair<std::string, std::string>>;

// One request before it is encoded. Nothing of `path` and `query` is percent-encoded.
struct PlainRequest {
  std::string method = "GET";
  std::string host;     // as in the Host header: with the port when it is not the scheme's own
  std::string path = "/";
  NameValues query;
  NameValues headers;   // without Host; all of them are signed
};

inline constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
inline constexpr std::string_view kEmptyPayloadHash =
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

struct SigningScope {
  std::string region;
  std::string service = "s3";
  Nanos wall{0};  // the time to sign for
};

// What follows the host in the URL: exactly the bytes that are signed. Sorted by encoded name.
std::string CanonicalQuery(const NameValues& query);
std::string PathAndQuery(const PlainRequest& request);

// Adds X-Amz-Date, X-Amz-Security-Token (of temporary credentials), for S3 X-Amz-Content-Sha256,
// and Authorization to the headers of `request`. `payload_hash`: sha256 in hex of the body, or
// kUnsignedPayload. REQUIRES: none of these headers is there yet.
void Sign(PlainRequest* request, const Credentials& credentials, const SigningScope& scope,
          std::string_view payload_hash);

// The steps, for tests.
std::string CanonicalRequest(const PlainRequest& request, std::string_view payload_hash,
                             std::string* signed_names);
std::string Signature(std::string_view canonical_request, std::string_view secret,
                      const SigningScope& scope);

}  // namespace sheen::s3
