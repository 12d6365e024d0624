#include "client/unwanted_handles.h"

#include "client/convert.h"
#include "client/state.h"

namespace sheen::client {

UnwantedHandles::Asked::Asked(std::weak_ptr<UnwantedHandles> handles, const Fid& fid,
                              uint64_t handle)
    : handles_(std::move(handles)), fid_(fid), handle_(handle) {}

UnwantedHandles::Asked::~Asked() {
  if (answered_) return;
  if (const auto handles = handles_.lock()) handles->Close(fid_, handle_);
}

std::shared_ptr<UnwantedHandles::Asked> UnwantedHandles::Ask(const Fid& fid, uint64_t handle,
                                                             rpc::Call* call) {
  auto asked = std::make_shared<Asked>(weak_from_this(), fid, handle);
  call->keep = asked;
  return asked;
}

void UnwantedHandles::NoteLateAnswer(const rpc::Call& call, const rpc::Answer& answer) {
  if (call.opcode != rpc::Opcode::kMdsCreate) return;
  v1::CreateRequest create;
  v1::CreateReply reply;
  if (!create.ParseFromString(call.body) || !reply.ParseFromString(answer.body)) return;
  if (!reply.created()) opened_[create.handle()] = FidFromWire(reply.attr().fid());
}

// The end of the session closes them as well.
void UnwantedHandles::Close(Fid fid, uint64_t handle) {
  const State* const state = context_->state();
  if (const auto other = opened_.extract(handle)) fid = other.mapped();
  if (state->unmounting || state->stopping) return;
  unwanted_.emplace_back(fid, handle);
  if (closing_) return;
  closing_ = true;
  context_->shard()->Spawn(CloseAll());
}

async::Task<void> UnwantedHandles::CloseAll() {
  State* const state = context_->state();
  const BackgroundMark mark(state);
  // Not in the course of the answer that has brought us here: it may be a part of a recovery.
  co_await context_->shard()->Yield();
  while (!unwanted_.empty() && !state->unmounting && !state->stopping) {
    const auto [fid, handle] = unwanted_.front();
    v1::CloseRequest request;
    FidToWire(fid, request.mutable_fid());
    request.set_handle(handle);
    // Nothing was written by it; others may have.
    request.set_size_unknown(true);
    auto closed = co_await MdsCall<v1::CloseReply>(
        context_, MakeCall(rpc::Opcode::kMdsClose, 0, request));
    // One that the MDS does not know is as good as closed.
    if (!closed && closed.error().code() == Errc::kTimedOut) continue;
    unwanted_.pop_front();
  }
  unwanted_.clear();
  closing_ = false;
}

}  // namespace sheen::client
