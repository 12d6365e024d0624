// What a Client does between a connection and the next: sessions that end, and the recovery before
// ordinary calls go on.
#include <algorithm>

#include "base/log.h"
#include "rpc/client_state.h"
#include "sheen/v1/common.pb.h"

namespace sheen::rpc {
namespace {

// How long OnReconnect's function may hold the other calls back without an answer.
constexpr Nanos kRecoveryPatience = std::chrono::seconds(20);
// While a replay is under way.
constexpr Nanos kReplayLook = std::chrono::seconds(1);

bool IsMdsRequest(Opcode opcode) {
  const auto number = static_cast<uint16_t>(opcode);
  return number >= 100 && number < 200;
}

// A change of the MDS that, executed twice, is not as once: it would answer EEXIST, or ENOENT, or
// undo what came between. Handles end with their session, and closing one that is not known is no
// error; of a sequence of FIDs the unused rest is lost; a component gets its objects once.
bool MattersTwice(Opcode opcode) {
  if (!IsMutating(opcode) || !IsMdsRequest(opcode)) return false;
  return opcode != Opcode::kMdsOpen && opcode != Opcode::kMdsClose &&
         opcode != Opcode::kMdsAllocateSequence && opcode != Opcode::kMdsInstantiate;
}

}  // namespace

Error Client::State::OutcomeUnknown(const Pending& pending) const {
  const char* const what =
      options_.names_slots ? " ended this client's session" : " was lost before it had answered";
  return Error(Errc::kIo, options_.server_name + what + "; whether it executed " +
                              std::string(NameOf(pending.call.opcode)) +
                              " is not known: look before you repeat it");
}

bool Client::State::MayHaveBeenExecuted(const Pending& pending) const {
  const Opcode opcode = pending.call.opcode;
  const bool ost_change = IsMutating(opcode) && !IsMdsRequest(opcode);
  const bool matters = MattersTwice(opcode) || (ost_change && !options_.names_slots);
  return pending.lost_answer && matters;
}

// The server has forgotten the old session or ended it. What it may have executed in it cannot be
// asked for any more: an MDS operation would be executed twice, so its caller hears of it. OST
// requests say what the bytes are to be and are sent again.
void Client::State::OnNewSession() {
  std::vector<Pending*> lost;
  for (Pending* pending = active_.head(); pending != nullptr; pending = pending->next) {
    const bool unknown_outcome =
        pending->sent_session != session_id_ && MayHaveBeenExecuted(*pending);
    if (pending->orphan || unknown_outcome) lost.push_back(pending);
  }
  // Slots are released before anyone is resumed, so `lost` stays what it is.
  for (Pending* pending : lost) Unlink(pending);
  for (Pending* pending : lost) Resume(pending, std::unexpected(OutcomeUnknown(*pending)));
}

void Client::State::ForgetSession(std::string reason) {
  identity_->ReplaceSession(options_.server_name, session_id_, ServerSession{});
  CloseLink(Errc::kDisconnected, std::move(reason));
}

void Client::State::RenewSession(const Error& lost) {
  if (session_id_ == 0) return;
  std::vector<uint64_t> tickets;
  for (Pending* pending = active_.head(); pending != nullptr; pending = pending->next) {
    const bool old = pending->sent_session == session_id_ && IsMutating(pending->call.opcode);
    if (old && !pending->orphan && !pending->give_up) tickets.push_back(pending->ticket);
  }
  for (const uint64_t ticket : tickets) GiveUpTicket(ticket, lost);
  ForgetSession("the session is renewed");
}

void Client::State::SendCredentials() {
  for (auto& [id, body] : identity_->Credentials(options_.server_name)) {
    Message message;
    message.header.opcode = Opcode::kSetCredential;
    message.header.flags = CrcFlags();
    message.header.xid = identity_->NextXid();
    message.body = std::move(body);
    link_->Send(std::move(message));
  }
}

// While OnReconnect's function runs: it may hold the other calls back for as long as it gets
// answers, or waits for the answer to a replay, which has a deadline of its own. False: it does
// neither.
async::Task<bool> Client::State::AwaitHook() {
  while (hook_running_ && link_ != nullptr && !closing_) {
    const Nanos now = shard_->Now();
    const bool replays = AwaitsReplay();
    if (!replays && now >= recovery_progress_ + kRecoveryPatience) co_return false;
    co_await WaitEvent(std::max(recovery_progress_ + kRecoveryPatience, now + kReplayLook));
  }
  co_return true;
}

bool Client::State::AwaitsReplay() const {
  for (const Pending* pending = active_.head(); pending != nullptr; pending = pending->next) {
    if (pending->replay && pending->phase == Pending::Phase::kSent) return true;
  }
  return false;
}

// An ordinary call that overtook a replay would use slots again by which the server tells what it
// has executed, and what was answered before the restart would be lost.
async::Task<void> Client::State::AwaitReplay() {
  while (replay_due_ && hook_running_ && link_ != nullptr && !closing_ && !stopped_) {
    SHEEN_LOG(Warn, "{}: what it had answered before its restart could not be repeated for {} s; "
                    "other requests wait for that",
              options_.server_name, kRecoveryPatience / std::chrono::seconds(1));
    StillRecovering();
    const bool moves = co_await AwaitHook();
    if (moves) co_return;
  }
}

// Between the handshake and the waiting calls: on_reconnect_, the handles' chance.
async::Task<void> Client::State::Recover() {
  if (link_ == nullptr) co_return;
  if (recovers_ && on_reconnect_) {
    phase_ = Phase::kRecovering;
    replay_due_ |= restarted_;
    StillRecovering();
    // One that the last connection's end interrupted goes on first.
    SendHeld(/*recovery_only=*/true);
    bool moves = co_await AwaitHook();
    if (!moves) co_await AwaitReplay();
    if (link_ != nullptr && !closing_ && !hook_running_ && on_reconnect_) {
      const bool outer = std::exchange(in_recovery_context_, true);
      shard_->Spawn(RunHook(shared_from_this(), std::exchange(restarted_, false)));
      in_recovery_context_ = outer;
      moves = co_await AwaitHook();
      if (!moves) co_await AwaitReplay();
    }
    if (hook_running_ && link_ != nullptr && !closing_) {
      SHEEN_LOG(Warn, "{}: recovery after the reconnect has come no further for {} s, going on "
                      "without it",
                options_.server_name, kRecoveryPatience / std::chrono::seconds(1));
    }
  }
  // What is sent by a connection that ends does not go out, and would count as sent.
  while (closing_ && link_ != nullptr) co_await events_.Wait();
  if (link_ == nullptr || stopped_) co_return;
  phase_ = Phase::kReady;
  last_error_ = {};
  SendHeld(/*recovery_only=*/false);
  Wake();
}

async::Task<void> Client::State::RunHook(std::shared_ptr<State> self, bool restarted) {
  self->hook_running_ = true;
  self->hook_handshake_ = self->handshakes_;
  const ReconnectFunction function = self->on_reconnect_;
  co_await function(restarted);
  self->hook_running_ = false;
  // Cut off by the connection's end: the next run must hear of the restart too.
  if (!self->HookIsOfThisLink()) self->restarted_ |= restarted;
  self->ReplayDone();
  self->Wake();
}

bool Client::State::HookIsOfThisLink() const { return linked() && hook_handshake_ == handshakes_; }

// What one says that was cut off is of an earlier connection, perhaps of an earlier boot.
void Client::State::ReplayDone() {
  if (HookIsOfThisLink()) replay_due_ = false;
}

}  // namespace sheen::rpc
