// The XML that S3 and STS answer with. Bytes from the network: everything is validated, nothing is
// expanded (the parser knows no entities but XML's five).
//
// Pure functions; thread-safe. Errors: kProtocol, with what is wrong.
#pragma once

#include <string>
#include <string_view>

#include "s3/object.h"
#include "s3/signer.h"
#include "sheen/result.h"

namespace sheen::s3 {

// <Error>, of S3 or inside an <ErrorResponse> of STS. All empty when it is none.
struct ServiceError {
  std::string code;
  std::string message;
  std::string request_id;
  std::string region;    // where the bucket is, of redirects
  std::string endpoint;  // where to go, of redirects
};
ServiceError ParseServiceError(std::string_view body);

// <ListBucketResult> of ListObjectsV2. Keys are decoded when encoding-type was "url".
Result<ListPage> ParseListing(std::string_view body);

// <LocationConstraint>: the region; "us-east-1" when it is empty, as there.
Result<std::string> ParseLocation(std::string_view body);

// Credentials in an answer of AssumeRole or AssumeRoleWithWebIdentity.
Result<Credentials> ParseAssumeRole(std::string_view body);

}  // namespace sheen::s3
