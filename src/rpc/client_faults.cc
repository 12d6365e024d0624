// What a client does at its fault points (fault_points.h).
#include <memory>
#include <utility>

#include "rpc/client_state.h"

namespace sheen::rpc {
namespace {

constexpr char kEnds[] = "a fault point ends the connection";

}  // namespace

std::optional<FaultOrder> Client::State::HitFault(FaultStep step, Opcode opcode) const {
  return options_.faults == nullptr ? std::nullopt : options_.faults->Hit(step, opcode);
}

void Client::State::After(uint64_t delay_ms, std::function<void(State*)> then) {
  const Nanos at = shard_->Now() + std::chrono::milliseconds(delay_ms);
  const uint64_t link = pulse_->ended_count.load(std::memory_order_relaxed);
  shard_->AddTimer(at, [weak = weak_from_this(), link, then = std::move(then)] {
    const auto self = weak.lock();
    if (self == nullptr || self->link_ == nullptr) return;
    if (self->pulse_->ended_count.load(std::memory_order_relaxed) == link) then(self.get());
  });
}

void Client::State::MeetSend(Pending* pending, FaultOrder fault) {
  if (fault.action == FaultAction::kDuplicate) {
    SendNow(pending, 0);
    SendNow(pending, kResend);
    return;
  }
  // As sent: it is not sent again before the connection has ended.
  pending->phase = Pending::Phase::kSent;
  pending->sent_session = session_id_;
  pending->sent_at = shard_->Now();
  if (fault.action != FaultAction::kDelay) {
    CloseLink(Errc::kDisconnected, kEnds);
    return;
  }
  After(fault.delay_ms, [xid = pending->xid](State* self) {
    Pending* const late = self->by_xid_.Find(xid);
    // A stand-in waits for the answer of a request that was never sent.
    if (late != nullptr && late->phase == Pending::Phase::kSent) self->SendNow(late, kResend);
  });
}

void Client::State::MeetAnswer(Message message, FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    const auto kept = std::make_shared<Message>(std::move(message));
    After(fault.delay_ms, [kept](State* self) { self->OnReply(std::move(*kept)); });
    return;
  }
  if (fault.action != FaultAction::kDuplicate) {
    CloseLink(Errc::kDisconnected, kEnds);
    return;
  }
  Message again;
  again.header = message.header;
  again.body = message.body;
  OnReply(std::move(message));
  if (link_ != nullptr) OnReply(std::move(again));
}

void Client::State::MeetAsked(Message request, FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    const auto kept = std::make_shared<Message>(std::move(request));
    After(fault.delay_ms, [kept](State* self) { self->TakeServerRequest(*kept); });
  } else if (fault.action == FaultAction::kDuplicate) {
    TakeServerRequest(request);
    if (link_ != nullptr) TakeServerRequest(request);
  } else {
    CloseLink(Errc::kDisconnected, kEnds);
  }
}

void Client::State::MeetAnswering(FrameHeader request, FaultOrder fault) {
  if (fault.action == FaultAction::kDelay) {
    After(fault.delay_ms, [request](State* self) { self->SendAnswer(request); });
  } else if (fault.action == FaultAction::kDuplicate) {
    SendAnswer(request);
    SendAnswer(request);
  } else {
    CloseLink(Errc::kDisconnected, kEnds);
  }
}

}  // namespace sheen::rpc
