// Errors across gRPC: the Errc travels in the status' details, so that it arrives as it left; what
// gRPC itself reports is turned into ours with the address and what to look at. Thread-safe.
#pragma once

#include <grpcpp/support/status.h>

#include <string>
#include <string_view>

#include "sheen/result.h"

namespace sheen::rpc {

grpc::Status ToGrpcStatus(const Error& error);
inline grpc::Status ToGrpcStatus(const Status& status) {
  return status ? grpc::Status::OK : ToGrpcStatus(status.error());
}
// `whom`: "oss1 at 10.0.0.3:7991"; `method`: "DestroyObjects". REQUIRES: !status.ok().
Error FromGrpcStatus(const grpc::Status& status, const std::string& whom, std::string_view method);

// Of one message, either way. The largest is a cluster map of thousands of targets.
inline constexpr int kControlMessageBytesMax = 16 << 20;

}  // namespace sheen::rpc
