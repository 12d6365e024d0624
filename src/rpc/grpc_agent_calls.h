// GrpcAgentCalls: the MDS's questions to agents over gRPC. A channel is made at the first call to
// an address and kept. No gRPC header is needed to include this one.
//
// Thread-safe.
#pragma once

#include <memory>

#include "base/clock.h"
#include "rpc/repositories.h"

namespace sheen::rpc {

class GrpcAgentCalls final : public AgentCalls {
 public:
  // Of a call that goes on being wanted.
  static constexpr Nanos kCallMax = std::chrono::seconds(90);

  GrpcAgentCalls();
  // Cancels what is in flight and waits for gRPC to let go of it. Coroutines that await a call must
  // have been resumed, as after any drain.
  ~GrpcAgentCalls() override;

  async::Task<Result<v1::AskObjectsReply>> AskObjects(v1::AgentEntry agent,
                                                      v1::AskObjectsRequest request,
                                                      std::function<bool()> wanted) override;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sheen::rpc
