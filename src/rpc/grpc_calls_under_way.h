// CallsUnderWay: a client's calls that block, to be ended from elsewhere, so that who stops does
// not wait for a server that does not answer. Thread-safe.
#pragma once

#include <grpcpp/client_context.h>

#include <mutex>
#include <set>

namespace sheen::rpc {

class CallsUnderWay final {
 public:
  // Before a call; false when stopping. Each that was true is followed by Leave.
  bool Enter(grpc::ClientContext* context) {
    const std::scoped_lock lock(mutex_);
    if (!stopping_) contexts_.insert(context);
    return !stopping_;
  }
  void Leave(grpc::ClientContext* context) {
    const std::scoped_lock lock(mutex_);
    contexts_.erase(context);
  }
  // Those under way end at once with CANCELLED, and none begins any more. Does not wait.
  void BeginStop() {
    const std::scoped_lock lock(mutex_);
    stopping_ = true;
    for (grpc::ClientContext* const context : contexts_) context->TryCancel();
  }

 private:
  std::mutex mutex_;  // guards what follows; a leaf
  bool stopping_ = false;
  std::set<grpc::ClientContext*> contexts_;
};

}  // namespace sheen::rpc
