// Inside of rpc::Client: the calls of one shard to one server and the connection that carries them.
//
// A call (Pending) lives in its coroutine's frame from Execute to its result:
//
//   kWaitingForSlot -> kHeld -> kSent -> kDone
//                        ^        |  kUnavailable: kBackingOff, then kHeld again
//                        +--------+  the link ended: sent again, in xid order, with kResend
//
// The buffers of a call belong to its caller, who may free them when Execute has returned. So a
// call that ends early (deadline, Cancel) while the link may still use one of them closes the link
// and waits for its end; the other calls are sent again on the next.
// Shard-confined: call only on the owning shard.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/sync.h"
#include "rpc/client.h"
#include "rpc/fault_points.h"
#include "rpc/xid_table.h"

namespace sheen::rpc {

struct Client::Pending {
  enum class Phase : uint8_t { kWaitingForSlot, kHeld, kSent, kBackingOff, kDone };

  Call call;
  uint64_t ticket = 0;
  uint64_t xid = 0;
  uint32_t slot = 0;
  uint32_t retries = 0;       // answers kUnavailable so far
  uint64_t sent_session = 0;  // session it was last sent in; 0: never sent
  Nanos sent_at{0};
  bool lost_answer = false;  // a connection ended under it: it may have been executed
  Phase phase = Phase::kWaitingForSlot;
  bool recovery = false;
  bool in_sink = false;  // the link may write into call.bulk_sink
  // Its caller has gone; it stays (on the heap) to keep its slot until the answer or the link's
  // end.
  bool orphan = false;
  std::unique_ptr<Call> late;  // of an orphan: what was asked, with bytes of its own
  bool replay = false;  // its slot is not its own to give back
  std::optional<Error> give_up;  // to be its result when the link has ended
  std::string last_refusal;      // message of the last kUnavailable
  Pending* previous = nullptr;
  Pending* next = nullptr;
  std::coroutine_handle<> waiter;
  std::optional<Result<Answer>> result;
};

class Client::State final : public LinkHandler, public std::enable_shared_from_this<State> {
 public:
  State(async::Shard* shard, Transport* transport, ClientIdentity* identity, ClientOptions options);
  ~State();

  async::Task<Result<Answer>> Execute(std::shared_ptr<State> self, Call call);
  async::Task<Status> Connect(std::shared_ptr<State> self, Nanos deadline);
  async::Task<void> Stop(std::shared_ptr<State> self, Nanos timeout, bool goodbye);
  void Cancel(uint64_t ticket);
  void RenewSession(const Error& lost);
  // The Client is gone without Stop: lets go of the link and of everything that waits.
  void Detach();

  bool ready() const { return phase_ == Phase::kReady; }
  bool linked() const { return link_ != nullptr && !closing_; }
  LinkLook Look() const;
  bool EndEarlierBoot(uint64_t boot);
  void EndConnection(std::string reason) { CloseLink(Errc::kDisconnected, std::move(reason)); }
  void StillRecovering() { recovery_progress_ = shard_->Now(); }
  void ReplayDone();
  uint64_t server_boot() const { return server_boot_; }
  uint64_t last_committed() const { return last_committed_; }
  const ClientOptions& options() const { return options_; }
  void SetAddresses(std::vector<Address> addresses) { options_.addresses = std::move(addresses); }
  void OnServerRequest(ServerRequestFunction f) { on_server_request_ = std::move(f); }
  void OnReconnect(ReconnectFunction f) { on_reconnect_ = std::move(f); }
  void OnLateAnswer(LateAnswerFunction f) { on_late_answer_ = std::move(f); }

 private:
  enum class Phase : uint8_t { kDisconnected, kHandshake, kRecovering, kReady };

  // Calls in order of their xids (or of their coming, those that have none yet).
  class List final {
   public:
    Pending* head() const { return head_; }
    bool empty() const { return head_ == nullptr; }
    void PushBack(Pending* pending);
    void Remove(Pending* pending);
    void Replace(Pending* old, Pending* with);

   private:
    Pending* head_ = nullptr;
    Pending* tail_ = nullptr;
  };

  // Slots of calls with slot_list_apart. Those of one target must not wait for another's disk: a
  // server tells the slots of its targets apart, so each has all of the numbers.
  struct Apart {
    std::vector<uint32_t> free_slots;
    List waiters;
  };

  MutableByteSpan SinkFor(const FrameHeader& header) override;
  void OnMessage(Message message) override;
  void OnClosed(const Error& reason) override;

  // ---- calls (client_calls.cc) ----
  void Submit(Pending* pending);
  bool TakeSlot(Pending* pending);
  List* WaitersOf(const Pending& pending);
  Apart* ApartOf(uint32_t target, uint32_t list);
  std::vector<List*> Lists();
  // Of a call to that target.
  void ReleaseSlot(uint32_t slot, uint32_t target);
  void ActivateWaiters(List* waiters);
  void Activate(Pending* pending);
  bool CanSend(const Pending& pending) const;
  void Send(Pending* pending);
  void SendNow(Pending* pending, uint16_t flags);
  void SendHeld(bool recovery_only);
  void OnReply(Message message);
  void BackOff(Pending* pending, std::string refusal);
  // Out of list, table and slot; `pending` is not resumed.
  void Unlink(Pending* pending);
  void Resume(Pending* pending, Result<Answer> result);
  void Finish(Pending* pending, Result<Answer> result);
  void FailAll(const Error& error);
  void GiveUp(Pending* pending, Error error);
  void LeaveOrphan(Pending* pending);
  void GiveUpTicket(uint64_t ticket, const Error& error);
  void ArmDeadline(Nanos deadline);
  void RunDeadlines();
  Error TimeoutError(const Pending& pending) const;
  uint64_t OldestUnfinished();
  void PublishOldest();
  uint16_t CrcFlags() const;
  void NoteCommitted(const FrameHeader& header);

  // ---- fault points (client_faults.cc) ----
  std::optional<FaultOrder> HitFault(FaultStep step, Opcode opcode) const;
  void MeetSend(Pending* pending, FaultOrder fault);
  void MeetAnswer(Message message, FaultOrder fault);
  void MeetAsked(Message request, FaultOrder fault);
  void MeetAnswering(FrameHeader request, FaultOrder fault);
  // While the connection lasts.
  void After(uint64_t delay_ms, std::function<void(State*)> then);

  // ---- connection (client_connect.cc, client_recover.cc) ----
  void StartLoop();
  static async::Task<void> RunLoop(std::shared_ptr<State> self);
  async::Task<Status> ConnectOnce();
  async::Task<Status> Handshake();
  Status AcceptHello(const Message& reply, const ServerSession& before);
  Message HelloMessage(const ServerSession& session);
  async::Task<void> Recover();
  async::Task<bool> AwaitHook();
  async::Task<void> AwaitReplay();
  bool HookIsOfThisLink() const;
  bool AwaitsReplay() const;
  static async::Task<void> RunHook(std::shared_ptr<State> self, bool restarted);
  void SendCredentials();
  void OnNewSession();
  Error OutcomeUnknown(const Pending& pending) const;
  bool MayHaveBeenExecuted(const Pending& pending) const;
  // The next connection begins a new session.
  void ForgetSession(std::string reason);
  void CloseLink(Errc code, std::string reason);
  void HandleServerRequest(const Message& request);
  void TakeServerRequest(const Message& request);
  void AnswerServer(const FrameHeader& request);
  void SendAnswer(const FrameHeader& request);
  void ScheduleKeepAlive();
  void KeepAlive();
  // Gives its xid.
  uint64_t SendPing(Opcode opcode);
  Nanos PingInterval(Nanos now) const;
  // Somebody counts on the connection, and nothing has proved lately that it lives.
  bool WantsProof(Nanos now) const;
  void NoteProof(Nanos sent_at);
  void LogFailure(const Error& error);
  // Until something changes (see events_), at most until `until`.
  async::Task<void> WaitEvent(Nanos until);
  void Wake() { events_.WakeAll(shard_); }

  async::Shard* const shard_;
  Transport* const transport_;
  ClientIdentity* const identity_;
  ClientOptions options_;
  const uint64_t link_number_;
  ServerRequestFunction on_server_request_;
  ReconnectFunction on_reconnect_;
  LateAnswerFunction on_late_answer_;

  // Calls.
  List active_;  // with an xid; in its order
  List slot_waiters_;
  List recovery_waiters_;
  std::map<std::pair<uint32_t, uint32_t>, Apart> apart_;  // by target and list
  XidTable<Pending> by_xid_;
  std::vector<uint32_t> free_slots_;
  // One slot is kept for calls of on_reconnect_, which the held calls would block otherwise.
  uint32_t reserved_slot_ = 0;
  bool reserved_slot_free_ = false;
  uint64_t next_ticket_ = 1;
  bool in_recovery_context_ = false;
  Nanos armed_deadline_ = Nanos::max();
  async::TimerId deadline_timer_;
  std::shared_ptr<XidFloor> floor_;
  std::shared_ptr<XidFloor::Part> floor_part_;
  uint64_t floor_cached_ = 0;
  uint32_t floor_age_ = 0;
  uint64_t last_committed_ = 0;
  std::vector<std::pair<uint32_t, uint64_t>> committed_seen_;  // by target

  // Connection. events_: link up or down, hello answered, a call ended while stopping, stopping.
  Phase phase_ = Phase::kDisconnected;
  std::unique_ptr<Link> link_;
  async::WaitQueue events_;
  std::optional<Message> hello_reply_;
  Error close_reason_;
  Error last_error_;
  std::optional<Error> refused_;  // for good: wrong filesystem or version
  size_t address_index_ = 0;
  uint64_t session_id_ = 0;
  uint64_t server_boot_ = 0;
  uint64_t handshakes_ = 0;
  Nanos last_heard_{0};
  const std::shared_ptr<LinkPulse> pulse_;
  Nanos last_ping_{0};
  uint64_t last_ping_xid_ = 0;
  Nanos last_logged_ = Nanos::min();
  bool loop_running_ = false;
  bool keep_alive_running_ = false;
  bool hook_running_ = false;
  uint64_t hook_handshake_ = 0;  // the connection that it runs for
  Nanos recovery_progress_{0};  // the hook has come further then
  bool restarted_ = false;  // since on_reconnect_ last ran to its end
  bool replay_due_ = false;  // since such a restart; until ReplayDone
  bool recovers_ = false;   // this connection continues something: on_reconnect_ runs
  bool closing_ = false;    // link_ is, from CloseLink to OnClosed: nothing is sent by it
  bool stopping_ = false;   // no new calls
  bool stopped_ = false;    // no connection either
};

}  // namespace sheen::rpc
