// Verifies AWS Signature Version 4 as S3 does, from the bytes of a request. Written apart from
// src/s3, so that a mistake in one is not in the other.
//
// Pure functions.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "support/s3_stub/http_server.h"

namespace sheen::s3_stub {

struct Identity {
  std::string secret;
  std::string token;     // of temporary credentials
  bool expired = false;
};

struct Verifier {
  std::map<std::string, Identity> identities;
  std::string region = "us-east-1";
  int64_t clock_offset_seconds = 0;  // of the server's clock
};

// An error as S3 answers it.
struct S3Error {
  int status = 400;
  std::string code;
  std::string message;
  std::string extra;  // further XML
};

// nullopt: the signature is right.
std::optional<S3Error> VerifySignature(const Verifier& verifier, const Request& request);

std::optional<std::string> Unescape(std::string_view text, bool plus_is_space);
std::string Escape(std::string_view text, bool keep_slash);
// Parts of a query, unescaped; nullopt: malformed.
std::optional<std::map<std::string, std::string>> QueryOf(std::string_view raw);
std::string Sha256(std::string_view bytes);
std::string XmlText(std::string_view text);

}  // namespace sheen::s3_stub
