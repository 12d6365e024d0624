#include <algorithm>

#include "base/log.h"
#include "rpc/client_state.h"
#include "sheen/v1/common.pb.h"

namespace sheen::rpc {
namespace {

// A lost SYN is sent again by the next attempt, not after the kernel's seconds.
constexpr Nanos kTcpConnectMax = std::chrono::seconds(1);
constexpr Nanos kReconnectWaitMin = std::chrono::milliseconds(10);
// For the answer to a goodbye of a session that is not needed.
constexpr Nanos kGoodbyeMax = std::chrono::seconds(1);
// The same failure to connect is logged this often.
constexpr Nanos kLogEvery = std::chrono::seconds(30);

bool IsRefusalForGood(Errc code) {
  return code == Errc::kWrongFilesystem || code == Errc::kBadVersion;
}

}  // namespace

Client::State::State(async::Shard* shard, Transport* transport, ClientIdentity* identity,
                     ClientOptions options)
    : shard_(shard),
      transport_(transport),
      identity_(identity),
      options_(std::move(options)),
      link_number_(RandomU64() | 1),
      floor_(identity->Floor(options_.server_name)),
      floor_part_(floor_->Join()),
      pulse_(options_.pulse ? options_.pulse : std::make_shared<LinkPulse>()) {
  SHEEN_ASSERT(options_.slot_base > 0 && options_.slot_count > 0);
  // The last slot is the reserved one, unless it is the only one.
  const uint32_t ordinary = std::max(options_.slot_count - 1, 1U);
  for (uint32_t i = 0; i < ordinary; ++i) {
    free_slots_.push_back(options_.slot_base + ordinary - 1 - i);
  }
  if (options_.slot_count > 1) {
    reserved_slot_ = options_.slot_base + options_.slot_count - 1;
    reserved_slot_free_ = true;
  }
}

Client::State::~State() {
  while (!active_.empty()) {
    Pending* const orphan = active_.head();
    SHEEN_ASSERT(orphan->orphan);  // a caller's coroutine would hold this State
    active_.Remove(orphan);
    delete orphan;
  }
}

void Client::State::Detach() {
  stopping_ = stopped_ = true;
  on_reconnect_ = nullptr;
  on_server_request_ = nullptr;
  on_late_answer_ = nullptr;
  Wake();
  CloseLink(Errc::kCancelled, "the client has ended");
}

void Client::State::StartLoop() {
  if (loop_running_ || stopped_) return;
  loop_running_ = true;
  refused_.reset();
  ScheduleKeepAlive();
  shard_->Spawn(RunLoop(shared_from_this()));
}

// One connection after the other until Stop or a refusal for good.
async::Task<void> Client::State::RunLoop(std::shared_ptr<State> self) {
  Nanos wait{0};
  while (!self->stopped_) {
    if (wait > Nanos(0)) {
      const Nanos until = self->shard_->Now() + wait;
      while (!self->stopped_ && self->shard_->Now() < until) co_await self->WaitEvent(until);
      if (self->stopped_) break;
    }
    wait = std::clamp(wait * 2, kReconnectWaitMin, self->options_.reconnect_wait_max);
    const Status connected = co_await self->ConnectOnce();
    if (self->stopped_) break;
    if (!connected) {
      self->last_error_ = connected.error();
      self->LogFailure(connected.error());
      if (IsRefusalForGood(connected.error().code())) {
        self->refused_ = connected.error();
        break;
      }
      self->Wake();
      continue;
    }
    co_await self->Recover();
    while (self->link_ != nullptr) co_await self->events_.Wait();
    wait = kReconnectWaitMin;
  }
  self->CloseLink(Errc::kCancelled, "the client has stopped");
  while (self->link_ != nullptr) co_await self->events_.Wait();
  self->loop_running_ = false;
  if (self->refused_ || self->stopped_) {
    self->FailAll(self->stopped_ ? Error(Errc::kCancelled,
                                         self->options_.server_name + ": the client has stopped")
                                 : *self->refused_);
  }
  self->Wake();
}

async::Task<Status> Client::State::ConnectOnce() {
  if (options_.addresses.empty()) {
    co_return Fail(Errc::kUnavailable, options_.server_name + ": its address is not known");
  }
  const Address address = options_.addresses[address_index_++ % options_.addresses.size()];
  const Nanos limit = std::min(options_.connect_timeout, kTcpConnectMax);
  auto connected = co_await transport_->Connect(address, limit);
  if (!connected) co_return std::unexpected(std::move(connected).error());
  if (stopped_) co_return Fail(Errc::kCancelled, "the client has stopped");
  link_ = std::move(*connected);
  link_->SetHandler(this);
  phase_ = Phase::kHandshake;
  Status established = co_await Handshake();
  if (established) co_return established;
  if (established.error().code() == Errc::kAgain) {
    // A goodbye is on its way, which closing would drop.
    hello_reply_.reset();
    const Nanos until = shard_->Now() + kGoodbyeMax;
    while (link_ != nullptr && !hello_reply_ && !stopped_ && shard_->Now() < until) {
      co_await WaitEvent(until);
    }
  }
  // The link may hold buffers until its OnClosed.
  CloseLink(Errc::kDisconnected, "the handshake failed");
  while (link_ != nullptr) co_await events_.Wait();
  co_return std::unexpected(
      Annotate(established.error(), options_.server_name + " at " + address.ToString() + ": "));
}

Message Client::State::HelloMessage(const ServerSession& session) {
  v1::Hello hello;
  hello.set_version_oldest(kProtocolVersionOldest);
  hello.set_version_newest(kProtocolVersion);
  hello.set_client_uuid(identity_->uuid().bytes.data(), identity_->uuid().bytes.size());
  hello.set_fsname(identity_->fsname());
  hello.set_server_name(options_.server_name);
  hello.set_client_name(options_.client_name);
  hello.set_features(options_.features);
  hello.set_link(link_number_);
  if (session.session_id != 0) {
    hello.set_session_id(session.session_id);
    hello.set_session_secret(session.secret.data(), session.secret.size());
    hello.set_server_boot_seen(session.server_boot);
  }
  for (const auto& [target, transno] : committed_seen_) {
    v1::TargetCommit* const seen = hello.add_committed_seen();
    seen->set_target(target);
    seen->set_transno(transno);
  }
  Message message;
  message.header.opcode = Opcode::kHello;
  message.header.flags = CrcFlags();
  message.header.xid = identity_->NextXid();
  message.body = hello.SerializeAsString();
  return message;
}

async::Task<Status> Client::State::Handshake() {
  const ServerSession before = identity_->Session(options_.server_name);
  hello_reply_.reset();
  link_->Send(HelloMessage(before));
  const Nanos until = shard_->Now() + options_.connect_timeout;
  while (link_ != nullptr && !hello_reply_ && !stopped_) {
    if (shard_->Now() >= until) co_return Fail(Errc::kTimedOut, "no answer to the handshake");
    co_await WaitEvent(until);
  }
  if (stopped_) co_return Fail(Errc::kCancelled, "the client has stopped");
  if (link_ == nullptr) co_return std::unexpected(close_reason_);
  co_return AcceptHello(*hello_reply_, before);
}

Status Client::State::AcceptHello(const Message& message, const ServerSession& before) {
  const FrameHeader& header = message.header;
  if (!header.is_reply() || header.opcode != Opcode::kHello) {
    return Fail(Errc::kProtocol,
                "the handshake was answered by a " + std::string(NameOf(header.opcode)) + " frame");
  }
  if (header.status == Errc::kAccess && before.session_id != 0) {
    // Not our session any more: another store, or ids used again. A new one at the next attempt.
    identity_->ReplaceSession(options_.server_name, before.session_id, ServerSession{});
  }
  if (header.status != Errc::kOk) return Fail(header.status, message.body);
  v1::HelloReply reply;
  if (!reply.ParseFromString(message.body)) {
    return Fail(Errc::kProtocol, "the handshake's answer cannot be read");
  }
  if (reply.version() < kProtocolVersionOldest || reply.version() > kProtocolVersion) {
    return Fail(Errc::kBadVersion, "the server chose protocol version " +
                                       std::to_string(reply.version()) + ", which is not known");
  }
  ServerSession session = before;
  session.session_id = reply.session_id();
  session.server_boot = reply.server_boot();
  session.recovered_transno = reply.recovered_transno();
  session.features = reply.features();
  if (!reply.session_resumed()) {
    session.first_boot = reply.server_boot();
    if (reply.session_id() == 0 || reply.session_secret().size() != session.secret.size()) {
      return Fail(Errc::kProtocol, "the handshake's answer has no session");
    }
    std::copy_n(reply.session_secret().begin(), session.secret.size(), session.secret.begin());
  } else if (reply.session_id() != before.session_id) {
    return Fail(Errc::kProtocol, "the server resumed a session that is not ours");
  }
  if (!identity_->AdoptSession(options_.server_name, before, session)) {
    // Another shard was first: all of a client's links are of one session, and of one life.
    link_->SetEstablished();
    SendPing(reply.session_resumed() ? Opcode::kPing : Opcode::kGoodbye);
    return Fail(Errc::kAgain, "another shard has just got a session");
  }
  link_->SetEstablished();
  last_heard_ = shard_->Now();
  ++handshakes_;
  const bool new_boot = server_boot_ != 0 && server_boot_ != session.server_boot;
  const bool new_session = session_id_ != 0 && session_id_ != session.session_id;
  // Of a server that other shards knew before it restarted.
  const bool joins_late = server_boot_ == 0 && reply.session_resumed() &&
                          session.first_boot != session.server_boot;
  recovers_ = handshakes_ > 1 || joins_late;
  restarted_ = restarted_ || new_boot || new_session || joins_late;
  server_boot_ = session.server_boot;
  session_id_ = session.session_id;
  SHEEN_LOG(Info, "{}: connected to {}, session {:x} ({})", options_.server_name, link_->peer(),
            session_id_, reply.session_resumed() ? "resumed" : "new");
  if (new_boot || new_session || joins_late) SendCredentials();
  if (new_session) OnNewSession();
  return {};
}

bool Client::State::EndEarlierBoot(uint64_t boot) {
  // While hands are shaken it is not known yet which boot it is.
  const bool shaken = phase_ == Phase::kReady || phase_ == Phase::kRecovering;
  if (link_ == nullptr || !shaken || server_boot_ >= boot) return false;
  CloseLink(Errc::kDisconnected, "the server has restarted");
  return true;
}

void Client::State::CloseLink(Errc code, std::string reason) {
  if (link_ == nullptr) return;
  closing_ = true;
  link_->Close(Error(code, std::move(reason)));
}

void Client::State::OnMessage(Message message) {
  const std::shared_ptr<State> self = shared_from_this();
  last_heard_ = shard_->Now();
  if (phase_ == Phase::kHandshake) {
    if (hello_reply_) return;  // e.g. an answer to a goodbye
    hello_reply_ = std::move(message);
    Wake();
    return;
  }
  if (message.header.is_reply()) {
    if (const auto fault = HitFault(FaultStep::kClientAnswered, message.header.opcode)) {
      MeetAnswer(std::move(message), *fault);
    } else {
      OnReply(std::move(message));
    }
  } else {
    HandleServerRequest(message);
  }
}

void Client::State::HandleServerRequest(const Message& request) {
  const FrameHeader& header = request.header;
  if (header.opcode == Opcode::kPing || !on_server_request_) {
    SendAnswer(header);
    return;
  }
  if (const auto fault = HitFault(FaultStep::kClientAsked, header.opcode)) {
    Message copy;
    copy.header = header;
    copy.body = request.body;
    MeetAsked(std::move(copy), *fault);
  } else {
    TakeServerRequest(request);
  }
}

void Client::State::TakeServerRequest(const Message& request) {
  const FrameHeader& header = request.header;
  const uint64_t link = pulse_->ended_count.load(std::memory_order_relaxed);
  const ServerRequestFunction function = on_server_request_;
  function(header.opcode, request.body, [weak = weak_from_this(), header, link] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    const bool same = self->pulse_->ended_count.load(std::memory_order_relaxed) == link;
    if (same) self->AnswerServer(header);
  });
}

void Client::State::AnswerServer(const FrameHeader& request) {
  if (const auto fault = HitFault(FaultStep::kClientAnswering, request.opcode)) {
    MeetAnswering(request, *fault);
  } else {
    SendAnswer(request);
  }
}

void Client::State::SendAnswer(const FrameHeader& request) {
  if (link_ == nullptr) return;
  Message reply;
  reply.header.opcode = request.opcode;
  reply.header.flags = static_cast<uint16_t>(kReply | CrcFlags());
  reply.header.xid = request.xid;
  reply.header.target = request.target;
  link_->Send(std::move(reply));
}

void Client::State::OnClosed(const Error& reason) {
  const std::shared_ptr<State> self = shared_from_this();
  close_reason_ = reason;
  if (phase_ == Phase::kReady && !stopping_) {
    last_error_ = reason;
    SHEEN_LOG(Warn, "{}: connection to {} ended: {}", options_.server_name, link_->peer(),
              reason.ToString());
  }
  phase_ = Phase::kDisconnected;
  pulse_->ended_count.fetch_add(1);
  link_.reset();
  closing_ = false;
  std::vector<Pending*> given_up;
  for (Pending* pending = active_.head(); pending != nullptr; pending = pending->next) {
    pending->in_sink = false;
    if (pending->phase == Pending::Phase::kSent) {
      pending->phase = Pending::Phase::kHeld;
      pending->lost_answer = true;
    }
    // What comes back may be another boot, which has lost what was replayed before this.
    if (pending->replay || pending->call.this_connection) pending->give_up = reason;
    if (!options_.names_slots && !pending->give_up && MayHaveBeenExecuted(*pending)) {
      pending->give_up = OutcomeUnknown(*pending);
    }
    if (pending->give_up) given_up.push_back(pending);
  }
  for (Pending* pending : given_up) {
    if (pending->slot != 0) LeaveOrphan(pending);
    if (pending->phase != Pending::Phase::kDone) Unlink(pending);
  }
  for (Pending* pending : given_up) Resume(pending, std::unexpected(*pending->give_up));
  Wake();
}

void Client::State::LogFailure(const Error& error) {
  if (error.code() == Errc::kAgain) return;
  const Nanos now = shard_->Now();
  if (last_logged_ != Nanos::min() && now - last_logged_ < kLogEvery) return;
  last_logged_ = now;
  SHEEN_LOG(Warn, "{}: cannot connect: {}; trying on", options_.server_name, error.ToString());
}

async::Task<void> Client::State::WaitEvent(Nanos until) {
  if (until == Nanos::max()) {
    co_await events_.Wait();
    co_return;
  }
  const async::TimerId timer = shard_->AddTimer(until, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->Wake();
  });
  co_await events_.Wait();
  shard_->CancelTimer(timer);
}

LinkLook Client::State::Look() const {
  LinkLook look;
  look.connected = ready();
  look.recovering = phase_ == Phase::kRecovering;
  look.wanted = loop_running_ || handshakes_ > 0;
  if (linked()) look.peer = link_->peer();
  look.handshakes = handshakes_;
  look.boot = server_boot_;
  look.committed = last_committed_;
  look.calls = by_xid_.size();
  return look;
}

async::Task<Status> Client::State::Connect(std::shared_ptr<State> self, Nanos deadline) {
  while (true) {
    if (self->stopping_) {
      co_return Fail(Errc::kCancelled, self->options_.server_name + ": the client has stopped");
    }
    if (self->ready()) co_return Status{};
    self->StartLoop();
    if (self->shard_->Now() >= deadline) break;
    co_await self->WaitEvent(deadline);
    if (self->refused_) co_return std::unexpected(*self->refused_);
  }
  if (self->last_error_.code() != Errc::kOk) co_return std::unexpected(self->last_error_);
  co_return Fail(Errc::kTimedOut, self->options_.server_name + ": not connected in time");
}

async::Task<void> Client::State::Stop(std::shared_ptr<State> self, Nanos timeout, bool goodbye) {
  const Nanos until = self->shard_->Now() + timeout;
  self->stopping_ = true;
  self->Wake();
  while (self->shard_->Now() < until && !self->stopped_) {
    if (std::ranges::all_of(self->Lists(), &List::empty)) break;
    co_await self->WaitEvent(until);
  }
  const uint64_t session = self->identity_->Session(self->options_.server_name).session_id;
  if (goodbye && session != 0 && !self->stopped_) {
    Call call;
    call.opcode = Opcode::kGoodbye;
    call.deadline = until;
    const Result<Answer> answer = co_await self->Execute(self, std::move(call));
    if (answer) {
      self->identity_->ReplaceSession(self->options_.server_name, session, ServerSession{});
    } else {
      SHEEN_LOG(Warn, "{}: could not end the session: {}; it ends there by itself",
                self->options_.server_name, answer.error().ToString());
    }
  }
  self->stopped_ = true;
  self->CloseLink(Errc::kCancelled, "the client has stopped");
  self->Wake();
  while (self->loop_running_ || self->link_ != nullptr) co_await self->events_.Wait();
  self->FailAll(Error(Errc::kCancelled, self->options_.server_name + ": the client has stopped"));
}

}  // namespace sheen::rpc
