#include <algorithm>

#include "base/log.h"
#include "rpc/client_state.h"
#include "sheen/v1/common.pb.h"

namespace sheen::rpc {
namespace {

// First wait after an answer kUnavailable; doubled up to reconnect_wait_max.
constexpr Nanos kBackOffMin = std::chrono::milliseconds(10);
// How many requests carry the same oldest unfinished xid: an old one is a lower bound, so it is
// right; asking all shards for each request would cost more than it saves.
constexpr uint32_t kFloorAgeMax = 8;

// The caller's buffers go with it.
void OwnBytes(Call* call) {
  call->bulk_sink = {};
  call->ticket_out = nullptr;
  if (call->bulk.empty() || call->bulk_owner) return;
  const auto copy = std::make_shared<std::vector<std::byte>>(call->bulk.begin(), call->bulk.end());
  call->bulk = *copy;
  call->bulk_owner = copy;
}

}  // namespace

void Client::State::List::PushBack(Pending* pending) {
  pending->previous = tail_;
  pending->next = nullptr;
  (tail_ != nullptr ? tail_->next : head_) = pending;
  tail_ = pending;
}

void Client::State::List::Remove(Pending* pending) {
  (pending->previous != nullptr ? pending->previous->next : head_) = pending->next;
  (pending->next != nullptr ? pending->next->previous : tail_) = pending->previous;
  pending->previous = pending->next = nullptr;
}

void Client::State::List::Replace(Pending* old, Pending* with) {
  with->previous = old->previous;
  with->next = old->next;
  (with->previous != nullptr ? with->previous->next : head_) = with;
  (with->next != nullptr ? with->next->previous : tail_) = with;
  old->previous = old->next = nullptr;
}

async::Task<Result<Answer>> Client::State::Execute(std::shared_ptr<State> self, Call call) {
  struct Awaiter {
    Pending* pending;
    bool await_ready() const noexcept { return pending->result.has_value(); }
    void await_suspend(std::coroutine_handle<> caller) noexcept { pending->waiter = caller; }
    Result<Answer> await_resume() { return std::move(*pending->result); }
  };
  Pending pending;
  pending.call = std::move(call);
  self->Submit(&pending);
  co_return co_await Awaiter{&pending};
}

void Client::State::Submit(Pending* pending) {
  const Call& call = pending->call;
  pending->ticket = next_ticket_++;
  if (call.ticket_out != nullptr) *call.ticket_out = pending->ticket;
  pending->replay = call.replay_xid != 0;
  pending->recovery = call.recovery || pending->replay || in_recovery_context_;
  if (stopping_ && call.opcode != Opcode::kGoodbye) {
    pending->result = Fail(Errc::kCancelled, options_.server_name + ": the client has stopped");
    return;
  }
  if (call.body.size() > kBodyBytesMax || call.bulk.size() > kBulkBytesMax) {
    pending->result = Fail(Errc::kInvalid, std::string(NameOf(call.opcode)) +
                                               ": the request is larger than a frame may be");
    return;
  }
  // What comes next may be another boot: what is to be repeated there is found out anew.
  const bool shaken = phase_ == Phase::kReady || phase_ == Phase::kRecovering;
  if ((call.this_connection || pending->replay) && !shaken) {
    pending->result = Fail(Errc::kDisconnected, options_.server_name + ": not connected");
    return;
  }
  if (call.deadline <= shard_->Now()) {
    pending->result = std::unexpected(TimeoutError(*pending));
    return;
  }
  StartLoop();
  if (call.deadline != Nanos::max()) ArmDeadline(call.deadline);
  const bool wants_slot = IsMutating(call.opcode) && call.needs_slot && !pending->replay;
  if (wants_slot && !TakeSlot(pending)) {
    WaitersOf(*pending)->PushBack(pending);
    return;
  }
  Activate(pending);
}

Client::State::List* Client::State::WaitersOf(const Pending& pending) {
  const Call& call = pending.call;
  if (call.slot_list_apart != 0) return &ApartOf(call.target, call.slot_list_apart)->waiters;
  return pending.recovery ? &recovery_waiters_ : &slot_waiters_;
}

Client::State::Apart* Client::State::ApartOf(uint32_t target, uint32_t list) {
  SHEEN_ASSERT(list >= 1 && list <= options_.slot_lists_apart);
  const auto [at, is_new] = apart_.try_emplace({target, list});
  const uint32_t first =
      options_.slot_base + options_.slot_count + (list - 1) * options_.slot_count_apart;
  for (uint32_t i = 0; is_new && i < options_.slot_count_apart; ++i) {
    at->second.free_slots.push_back(first + i);
  }
  return &at->second;
}

std::vector<Client::State::List*> Client::State::Lists() {
  std::vector<List*> lists = {&active_, &slot_waiters_, &recovery_waiters_};
  for (auto& [key, apart] : apart_) lists.push_back(&apart.waiters);
  return lists;
}

bool Client::State::TakeSlot(Pending* pending) {
  const Call& call = pending->call;
  if (call.slot_list_apart != 0) {
    std::vector<uint32_t>& free = ApartOf(call.target, call.slot_list_apart)->free_slots;
    if (free.empty()) return false;
    pending->slot = free.back();
    free.pop_back();
    return true;
  }
  if (!free_slots_.empty()) {
    pending->slot = free_slots_.back();
    free_slots_.pop_back();
    return true;
  }
  if (!pending->recovery || !reserved_slot_free_) return false;
  reserved_slot_free_ = false;
  pending->slot = reserved_slot_;
  return true;
}

void Client::State::ReleaseSlot(uint32_t slot, uint32_t target) {
  const uint32_t first_apart = options_.slot_base + options_.slot_count;
  if (slot >= first_apart) {
    const uint32_t list = 1 + (slot - first_apart) / options_.slot_count_apart;
    Apart* const apart = ApartOf(target, list);
    apart->free_slots.push_back(slot);
    ActivateWaiters(&apart->waiters);
    return;
  }
  if (slot == reserved_slot_) {
    reserved_slot_free_ = true;
  } else {
    free_slots_.push_back(slot);
  }
  ActivateWaiters(&recovery_waiters_);
  ActivateWaiters(&slot_waiters_);
}

void Client::State::ActivateWaiters(List* waiters) {
  while (!waiters->empty() && TakeSlot(waiters->head())) {
    Pending* const next = waiters->head();
    waiters->Remove(next);
    Activate(next);
  }
}

void Client::State::Activate(Pending* pending) {
  // Published before the xid is drawn, so that no other shard takes a later one for the oldest.
  if (active_.empty()) floor_part_->oldest.store(identity_->next_xid().load());
  pending->xid = pending->replay ? pending->call.replay_xid : identity_->NextXid();
  pending->phase = Pending::Phase::kHeld;
  active_.PushBack(pending);
  by_xid_.Insert(pending->xid, pending);
  if (CanSend(*pending)) Send(pending);
}

bool Client::State::CanSend(const Pending& pending) const {
  if (link_ == nullptr || closing_) return false;
  return phase_ == Phase::kReady || (phase_ == Phase::kRecovering && pending.recovery);
}

void Client::State::Send(Pending* pending) {
  const Opcode opcode = pending->call.opcode;
  if (const auto fault = HitFault(FaultStep::kClientSend, opcode)) {
    MeetSend(pending, *fault);
  } else {
    SendNow(pending, 0);
  }
  if (HitFault(FaultStep::kClientSent, opcode)) {
    CloseLink(Errc::kDisconnected, "a fault point ends the connection");
  }
}

void Client::State::SendNow(Pending* pending, uint16_t flags) {
  const Call& call = pending->call;
  Message message;
  FrameHeader& header = message.header;
  header.opcode = call.opcode;
  header.flags = static_cast<uint16_t>(CrcFlags() | flags);
  if (pending->sent_session != 0) header.flags |= kResend;
  if (pending->replay) header.flags |= kReplay;
  header.target = call.target;
  header.xid = pending->xid;
  header.slot = pending->replay ? call.replay_slot : pending->slot;
  if (!options_.names_slots) header.slot = 0;
  header.credential = call.credential;
  header.transno = OldestUnfinished();
  if (call.deadline != Nanos::max()) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(call.deadline - shard_->Now());
    header.deadline_ms = static_cast<uint64_t>(std::max<int64_t>(left.count(), 1));
  }
  message.body = call.body;
  message.bulk_view = call.bulk;
  pending->phase = Pending::Phase::kSent;
  pending->sent_session = session_id_;
  pending->sent_at = shard_->Now();
  link_->Send(std::move(message));
}

void Client::State::SendHeld(bool recovery_only) {
  for (Pending* pending = active_.head(); pending != nullptr; pending = pending->next) {
    if (recovery_only && !pending->recovery) continue;
    // Sending one may end the connection (a fault point).
    if (pending->phase == Pending::Phase::kHeld && CanSend(*pending)) Send(pending);
  }
}

MutableByteSpan Client::State::SinkFor(const FrameHeader& header) {
  if (!header.is_reply()) return {};
  Pending* const pending = by_xid_.Find(header.xid);
  if (pending == nullptr || pending->orphan || pending->phase != Pending::Phase::kSent) return {};
  if (pending->call.bulk_sink.size() < header.bulk_bytes) return {};
  pending->in_sink = true;
  return pending->call.bulk_sink;
}

void Client::State::OnReply(Message message) {
  NoteCommitted(message.header);
  Pending* const pending = by_xid_.Find(message.header.xid);
  if (message.header.xid == last_ping_xid_) NoteProof(last_ping_);
  if (pending == nullptr && message.header.opcode == Opcode::kSetCredential &&
      message.header.status != Errc::kOk) {
    SHEEN_LOG(Warn, "{}: a credential was not set again: {}; who uses it next is told",
              options_.server_name, message.body);
  }
  // Unknown: a ping's answer, or one that came after its call's deadline.
  if (pending == nullptr || pending->phase != Pending::Phase::kSent) return;
  pending->in_sink = false;
  NoteProof(pending->sent_at);
  if (pending->recovery) StillRecovering();
  const Errc status = message.header.status;
  if (status == Errc::kUnavailable && !pending->orphan && !pending->give_up && !stopped_) {
    BackOff(pending, std::move(message.body));
    return;
  }
  if (status != Errc::kOk) {
    const bool evicted = status == Errc::kEvicted && pending->sent_session == session_id_;
    // Refused now; but it may be the earlier sending that was executed.
    const bool unknown = status == Errc::kEvicted && MayHaveBeenExecuted(*pending);
    Error error = unknown ? OutcomeUnknown(*pending) : Error(status, std::move(message.body));
    Finish(pending, std::unexpected(std::move(error)));
    if (evicted) ForgetSession("the server has ended this client's session");
    return;
  }
  if (pending->call.opcode == Opcode::kSetCredential) {
    v1::SetCredential set;
    if (set.ParseFromString(pending->call.body)) {
      identity_->RememberCredential(options_.server_name, set.id(), pending->call.body);
    }
  }
  Answer answer;
  answer.bulk_bytes = message.bulk_bytes().size();
  answer.body = std::move(message.body);
  answer.bulk = std::move(message.bulk);
  answer.transno = message.header.transno;
  answer.last_committed = message.header.last_committed;
  answer.link = pulse_->ended_count.load(std::memory_order_relaxed);
  answer.boot = server_boot_;
  answer.xid = pending->xid;
  answer.slot = pending->slot;
  // The answer of a ping that took the place of the request says nothing of it.
  const bool late = pending->late && message.header.opcode == pending->late->opcode;
  if (late && on_late_answer_) on_late_answer_(*pending->late, answer);
  Finish(pending, std::move(answer));
}

void Client::State::BackOff(Pending* pending, std::string refusal) {
  pending->phase = Pending::Phase::kBackingOff;
  pending->last_refusal = std::move(refusal);
  const Nanos wait =
      std::min(options_.reconnect_wait_max, kBackOffMin * (1 << std::min(pending->retries, 10U)));
  ++pending->retries;
  shard_->AddTimer(shard_->Now() + wait, [weak = weak_from_this(), xid = pending->xid] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    Pending* const again = self->by_xid_.Find(xid);
    if (again == nullptr || again->phase != Pending::Phase::kBackingOff) return;
    again->phase = Pending::Phase::kHeld;
    if (self->CanSend(*again)) self->Send(again);
  });
}

void Client::State::Unlink(Pending* pending) {
  if (pending->phase == Pending::Phase::kWaitingForSlot) {
    WaitersOf(*pending)->Remove(pending);
  } else {
    active_.Remove(pending);
    by_xid_.Erase(pending->xid);
    PublishOldest();
  }
  pending->phase = Pending::Phase::kDone;
  if (pending->slot != 0) ReleaseSlot(std::exchange(pending->slot, 0), pending->call.target);
  if (stopping_) Wake();
}

void Client::State::Resume(Pending* pending, Result<Answer> result) {
  if (pending->orphan) {
    delete pending;
    return;
  }
  pending->result.emplace(std::move(result));
  if (!pending->waiter) return;
  const bool outer = std::exchange(in_recovery_context_, pending->recovery);
  pending->waiter.resume();
  in_recovery_context_ = outer;
}

void Client::State::Finish(Pending* pending, Result<Answer> result) {
  Unlink(pending);
  Resume(pending, std::move(result));
}

void Client::State::FailAll(const Error& error) {
  // All are taken out first: a resumed caller may do anything, a call of its own included.
  std::vector<Pending*> failed;
  // One that is unlinked gives its slot to one that waits, in whatever list: those come first.
  std::vector<List*> lists = Lists();
  std::ranges::reverse(lists);
  for (List* list : lists) {
    while (!list->empty()) {
      failed.push_back(list->head());
      Unlink(list->head());
    }
  }
  for (Pending* pending : failed) Resume(pending, std::unexpected(error));
}

// Ends a call before its answer. Its caller is resumed now, or when the link has ended if the link
// may still read or write the call's buffers.
void Client::State::GiveUp(Pending* pending, Error error) {
  if (pending->phase == Pending::Phase::kSent && link_ != nullptr) {
    const bool bulk_unsent = !pending->call.bulk.empty() && link_->queued_bytes() > 0;
    if (pending->in_sink || bulk_unsent) {
      pending->give_up = std::move(error);
      CloseLink(Errc::kDisconnected, "a call was given up while its buffer was in use");
      return;
    }
  }
  const bool may_run = pending->phase == Pending::Phase::kSent ||
                       (pending->phase == Pending::Phase::kHeld && pending->sent_session != 0);
  if (may_run && pending->slot != 0) LeaveOrphan(pending);
  if (pending->phase != Pending::Phase::kDone) Unlink(pending);
  Resume(pending, std::unexpected(std::move(error)));
}

// Puts a stand-in at the call's place: the server may be executing it, so its slot is not free
// until the answer comes. If the link ends first, a ping with the same xid takes the request's
// place: a server answers a resent ping when nothing of that xid is running any more, and executes
// nothing.
void Client::State::LeaveOrphan(Pending* pending) {
  auto* const orphan = new Pending;
  orphan->orphan = true;
  orphan->call.opcode = Opcode::kPing;
  orphan->call.target = pending->call.target;
  orphan->call.keep = std::move(pending->call.keep);
  if (on_late_answer_) {
    orphan->late = std::make_unique<Call>(std::move(pending->call));
    OwnBytes(orphan->late.get());
  }
  orphan->xid = pending->xid;
  orphan->slot = std::exchange(pending->slot, 0);
  // Its slot may be what the recovery waits for.
  orphan->recovery = pending->recovery;
  orphan->phase = pending->phase;
  orphan->sent_session = pending->sent_session;
  active_.Replace(pending, orphan);
  by_xid_.Insert(orphan->xid, orphan);
  pending->phase = Pending::Phase::kDone;
}

void Client::State::Cancel(uint64_t ticket) {
  GiveUpTicket(ticket, Error(Errc::kInterrupted, "interrupted"));
}

void Client::State::GiveUpTicket(uint64_t ticket, const Error& error) {
  for (List* list : Lists()) {
    for (Pending* pending = list->head(); pending != nullptr; pending = pending->next) {
      if (pending->ticket != ticket || pending->orphan || pending->give_up) continue;
      GiveUp(pending, error);
      return;
    }
  }
}

// One timer for all calls, at the earliest deadline or before: calls mostly end long before theirs,
// so a timer each would be set and removed for nothing.
void Client::State::ArmDeadline(Nanos deadline) {
  if (deadline >= armed_deadline_) return;
  if (armed_deadline_ != Nanos::max()) shard_->CancelTimer(deadline_timer_);
  armed_deadline_ = deadline;
  deadline_timer_ = shard_->AddTimer(deadline, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->RunDeadlines();
  });
}

void Client::State::RunDeadlines() {
  const Nanos now = shard_->Now();
  armed_deadline_ = Nanos::max();
  Nanos next = Nanos::max();
  std::vector<uint64_t> expired;
  for (const List* const list : Lists()) {
    for (const Pending* pending = list->head(); pending != nullptr; pending = pending->next) {
      if (pending->orphan || pending->give_up) continue;
      if (pending->call.deadline > now) {
        next = std::min(next, pending->call.deadline);
      } else {
        expired.push_back(pending->ticket);
      }
    }
  }
  if (next != Nanos::max()) ArmDeadline(next);
  // By ticket: what one resumed caller does may end another call, or bring its answer's slot here.
  for (const uint64_t ticket : expired) {
    for (List* list : Lists()) {
      Pending* pending = list->head();
      while (pending != nullptr && (pending->ticket != ticket || pending->orphan)) {
        pending = pending->next;
      }
      if (pending == nullptr) continue;
      GiveUp(pending, TimeoutError(*pending));
      break;
    }
  }
}

Error Client::State::TimeoutError(const Pending& pending) const {
  std::string message = options_.server_name + " did not answer " +
                        std::string(NameOf(pending.call.opcode)) + " in time";
  if (!pending.last_refusal.empty()) message += "; it said: " + pending.last_refusal;
  if (phase_ != Phase::kReady) {
    message += "; not connected";
    if (!last_error_.message().empty()) message += ": " + last_error_.ToString();
  }
  return Error(Errc::kTimedOut, std::move(message));
}

uint64_t Client::State::OldestUnfinished() {
  if (floor_age_ == 0) floor_cached_ = floor_->Minimum(identity_->next_xid());
  floor_age_ = (floor_age_ + 1) % kFloorAgeMax;
  return floor_cached_;
}

void Client::State::PublishOldest() {
  floor_part_->oldest.store(active_.empty() ? XidFloor::kNone : active_.head()->xid);
}

uint16_t Client::State::CrcFlags() const {
  return options_.checksums ? static_cast<uint16_t>(kBodyCrc | kBulkCrc) : uint16_t{0};
}

void Client::State::NoteCommitted(const FrameHeader& header) {
  if (header.last_committed == 0) return;
  last_committed_ = std::max(last_committed_, header.last_committed);
  for (auto& [target, transno] : committed_seen_) {
    if (target != header.target) continue;
    transno = std::max(transno, header.last_committed);
    return;
  }
  committed_seen_.emplace_back(header.target, header.last_committed);
}

}  // namespace sheen::rpc
