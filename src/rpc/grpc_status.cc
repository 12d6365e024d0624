#include "rpc/grpc_status.h"

#include <charconv>
#include <optional>

namespace sheen::rpc {
namespace {

constexpr std::string_view kDetailsPrefix = "sheen-errc:";

grpc::StatusCode CodeOf(Errc code) {
  switch (code) {
    case Errc::kPerm:
    case Errc::kAccess:
    case Errc::kFenced:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Errc::kNoEntry:
      return grpc::StatusCode::NOT_FOUND;
    case Errc::kExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Errc::kInvalid:
    case Errc::kWrongFilesystem:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Errc::kNotSupported:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Errc::kTimedOut:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Errc::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case Errc::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    default:
      return grpc::StatusCode::INTERNAL;
  }
}

std::optional<Errc> ErrcOfDetails(std::string_view details) {
  if (!details.starts_with(kDetailsPrefix)) return std::nullopt;
  details.remove_prefix(kDetailsPrefix.size());
  uint16_t value = 0;
  const auto [end, error] = std::from_chars(details.data(), details.data() + details.size(), value);
  if (error != std::errc() || end != details.data() + details.size() || value == 0) {
    return std::nullopt;
  }
  return static_cast<Errc>(value);
}

}  // namespace

grpc::Status ToGrpcStatus(const Error& error) {
  return grpc::Status(
      CodeOf(error.code()), error.message(),
      std::string(kDetailsPrefix) + std::to_string(static_cast<uint16_t>(error.code())));
}

Error FromGrpcStatus(const grpc::Status& status, const std::string& whom, std::string_view method) {
  const std::string what = whom + ": " + std::string(method) + ": ";
  if (const std::optional<Errc> code = ErrcOfDetails(status.error_details())) {
    return Error(*code, what + status.error_message());
  }
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return Error(Errc::kUnavailable,
                   what + "cannot be reached (" + status.error_message() +
                       "): is the daemon running, is this its control port, and is this host "
                       "in its --allow?");
    case grpc::StatusCode::DEADLINE_EXCEEDED:
      return Error(Errc::kTimedOut, what +
                                        "no answer in time: is the daemon overloaded or its "
                                        "host cut off?");
    case grpc::StatusCode::CANCELLED:
      return Error(Errc::kCancelled, what + "cancelled");
    case grpc::StatusCode::UNIMPLEMENTED:
      return Error(Errc::kNotSupported,
                   what + "not offered there: is this the right daemon, and not an older version?");
    case grpc::StatusCode::RESOURCE_EXHAUSTED:
      return Error(Errc::kUnavailable, what + status.error_message());
    case grpc::StatusCode::PERMISSION_DENIED:
      return Error(Errc::kPerm, what + status.error_message());
    default:
      return Error(Errc::kProtocol, what + status.error_message() + " (gRPC status " +
                                        std::to_string(status.error_code()) + ")");
  }
}

}  // namespace sheen::rpc
