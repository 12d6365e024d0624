// Pings: of a connection that is idle, to learn that it is dead; of one that somebody counts on
// (LinkPulse::relied_until_ns), to prove that it lives.

#include <algorithm>

#include "rpc/client_state.h"

namespace sheen::rpc {
namespace {

// Without a frame from the server for so long, ask whether it is there ...
constexpr Nanos kIdlePing = std::chrono::seconds(10);
// ... look for the answer as often as this ...
constexpr Nanos kPingCheck = std::chrono::seconds(5);
// ... and take the connection for dead after this.
constexpr Nanos kSilentMax = std::chrono::seconds(30);

}  // namespace

void Client::State::ScheduleKeepAlive() {
  if (keep_alive_running_) return;
  keep_alive_running_ = true;
  const Nanos now = shard_->Now();
  Nanos next = last_heard_ + kIdlePing;
  if (phase_ != Phase::kReady || now - last_heard_ >= kIdlePing) next = now + kPingCheck;
  if (options_.pulse) next = std::min(next, now + kPulsePing / 2);
  shard_->AddTimer(next, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->KeepAlive();
  });
}

void Client::State::KeepAlive() {
  keep_alive_running_ = false;
  if (stopped_) return;
  if (phase_ == Phase::kReady || phase_ == Phase::kRecovering) {
    const Nanos now = shard_->Now();
    const Nanos silent = now - last_heard_;
    if (silent >= kSilentMax) {
      CloseLink(Errc::kDisconnected, "nothing was heard of the server for " +
                                         std::to_string(silent / std::chrono::seconds(1)) + " s");
    } else if (now - last_ping_ >= PingInterval(now) && (silent >= kIdlePing || WantsProof(now))) {
      last_ping_ = now;
      last_ping_xid_ = SendPing(Opcode::kPing);
    }
  }
  if (loop_running_) ScheduleKeepAlive();
}

Nanos Client::State::PingInterval(Nanos now) const {
  return WantsProof(now) ? kPulsePing / 2 : kPingCheck;
}

bool Client::State::WantsProof(Nanos now) const {
  return pulse_->relied_until_ns.load(std::memory_order_relaxed) > now.count() &&
         pulse_->proved_ns.load(std::memory_order_relaxed) <= (now - kPulsePing / 2).count();
}

void Client::State::NoteProof(Nanos sent_at) {
  const int64_t proved_ns = pulse_->proved_ns.load(std::memory_order_relaxed);
  pulse_->proved_ns.store(std::max(proved_ns, sent_at.count()), std::memory_order_relaxed);
}

uint64_t Client::State::SendPing(Opcode opcode) {
  Message message;
  message.header.opcode = opcode;
  message.header.xid = identity_->NextXid();
  message.header.transno = OldestUnfinished();
  const uint64_t xid = message.header.xid;
  link_->Send(std::move(message));
  return xid;
}

}  // namespace sheen::rpc
