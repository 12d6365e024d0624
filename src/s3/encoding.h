// Percent-encoding, hashes and dates in the spellings that S3 and the AWS services use.
//
// Pure functions; thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"

namespace sheen::s3 {

// Every byte but A-Z a-z 0-9 - _ . ~ becomes %XX, upper case: the one encoding that a signature
// is made over. A path keeps its slashes.
std::string EncodeQuery(std::string_view text);
std::string EncodePath(std::string_view path);
// Percent-decoding; with `plus_is_space` also of forms. nullopt: a '%' without two hex digits.
std::optional<std::string> PercentDecode(std::string_view text, bool plus_is_space);

std::string Sha256Hex(std::string_view bytes);
// 32 raw bytes.
std::string HmacSha256(std::string_view key, std::string_view bytes);
std::string HexOf(std::string_view bytes);

// "20130524T000000Z"
std::string AmzDate(Nanos wall);
// "2009-10-12T17:50:30.000Z", any number of digits of the fraction or none; "+00:00" for "Z".
std::optional<Nanos> ParseIsoDate(std::string_view text);
// "Fri, 24 May 2013 00:00:00 GMT" (RFC 9110, IMF-fixdate).
std::optional<Nanos> ParseHttpDate(std::string_view text);

std::string Lower(std::string_view text);
std::string_view Trim(std::string_view text);
// Digits only, no sign, no overflow.
std::optional<uint64_t> ParseNumber(std::string_view text);

}  // namespace sheen::s3
