// Bodies of requests and answers.
#pragma once

#include <fmt/core.h>

#include "rpc/server.h"

namespace sheen::oss {

template <class Message>
Status Parse(const rpc::Request& request, Message* out) {
  if (out->ParseFromString(request.body)) return {};
  return Fail(Errc::kProtocol,
              fmt::format("the body of {} is not its message", rpc::NameOf(request.header.opcode)));
}

template <class Message>
rpc::Response Answer(const Message& reply, uint64_t transno = 0) {
  return {Errc::kOk, reply.SerializeAsString(), {}, transno};
}

}  // namespace sheen::oss
