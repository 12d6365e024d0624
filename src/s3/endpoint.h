// Where a bucket's requests go: AWS by region, or a server of one's own; in virtual-host style
// (bucket.host/key) or path style (host/bucket/key).
//
// Pure functions over values; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "sheen/result.h"

namespace sheen::s3 {

enum class Addressing : uint8_t {
  kAuto,  // path at servers of one's own and for buckets that are no host names, else virtual host
  kPath,
  kVirtualHost,
};

struct Endpoint {
  std::string scheme = "https";
  std::string host;         // with its port, unless it is the scheme's own
  std::string base_path;    // empty, or "/bucket"
  bool aws = true;          // follows the region

  // Of the raw key; "" is the bucket itself.
  std::string PathOf(std::string_view key) const;
};

// `url` empty: AWS in `region`; else "http://host:port" or "https://host".
// Errors: kInvalid, what is wrong with the URL or the bucket's name.
Result<Endpoint> ResolveEndpoint(std::string_view url, std::string_view region,
                                 std::string_view bucket, Addressing addressing);

// The endpoint after a redirect to `location` (an absolute URL). A server of one's own may only
// name itself, AWS only its own domain: requests are signed for nobody else.
// Errors: kNotThisServer.
Result<Endpoint> FollowLocation(const Endpoint& from, std::string_view location);

// "amazonaws.com", and the domain of China's regions.
std::string_view AwsDomain(std::string_view region);

}  // namespace sheen::s3
