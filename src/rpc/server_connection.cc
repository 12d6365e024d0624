#include "rpc/server_connection.h"

#include <algorithm>

#include "base/log.h"

namespace sheen::rpc {
namespace {

// An answer waits for a client that does not read: from here on none of its requests is begun ...
constexpr size_t kUnsentBytesMax = size_t{64} << 20;
// ... and is looked at again after this.
constexpr Nanos kUnsentLook = std::chrono::milliseconds(5);
// Pings and the like are answered at once; this bounds what a client can pile up with them.
constexpr size_t kUnsentBytesClose = size_t{256} << 20;
// Requests that wait, as a multiple of those in flight, before the link stops reading, and before
// a link that cannot stop reading is closed.
constexpr size_t kQueuePause = 1;
constexpr size_t kQueueClose = 64;
// Users on Linux are in at most NGROUPS_MAX groups.
constexpr int kGroupsMax = 65536;

void RaiseTo(std::atomic<uint64_t>* value, uint64_t to) {
  uint64_t current = value->load(std::memory_order_relaxed);
  while (current < to && !value->compare_exchange_weak(current, to)) {
  }
}

uint64_t NextPeerId() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1);
}

bool IsServiceOpcode(Opcode opcode) {
  const auto number = static_cast<uint16_t>(opcode);
  return number >= 100 && (number < 300 || number >= 400) && IsKnown(opcode);
}

}  // namespace

Server::Connection::ConnectionPeer::ConnectionPeer(Connection* connection, uint64_t session_id,
                                                   uint64_t features)
    : Peer(NextPeerId(), session_id, features),
      shard_(connection->server_->shard),
      connection_(connection->weak_from_this()) {}

void Server::Connection::ConnectionPeer::Ask(Opcode opcode, std::string body, AnswerTime time,
                                             std::function<void(bool)> answered) {
  shard_->Post([weak = connection_, opcode, body = std::move(body), time = std::move(time),
                answered = std::move(answered)]() mutable {
    if (const auto connection = weak.lock()) {
      connection->Ask(opcode, std::move(body), std::move(time), std::move(answered));
    } else {
      answered(false);
    }
  });
}

Server::Connection::Connection(std::shared_ptr<State> server, std::unique_ptr<Link> link)
    : server_(std::move(server)),
      link_(std::move(link)),
      peer_(link_->peer()),
      number_(server_->next_connection++) {}

void Server::Connection::Start() {
  last_heard_ = server_->shard->Now();
  link_->SetHandler(this);
  phase_timer_set_ = true;
  phase_timer_ = server_->shard->AddTimer(
      last_heard_ + server_->options.handshake_timeout, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        self->phase_timer_set_ = false;
        SHEEN_LOG(Warn, "connection from {} closed: no handshake in time", self->peer_);
        self->Close(Errc::kTimedOut, "no handshake in time");
      });
}

void Server::Connection::Close(Errc code, std::string reason) {
  tracker_->Fence();
  if (link_ != nullptr) link_->Close(Error(code, std::move(reason)));
}

MutableByteSpan Server::Connection::SinkFor(const FrameHeader& /*header*/) { return {}; }

void Server::Connection::OnMessage(Message message) {
  const std::shared_ptr<Connection> self = shared_from_this();
  last_heard_ = server_->shard->Now();
  const FrameHeader& header = message.header;
  switch (phase_) {
    case Phase::kAwaitHello:
      if (header.is_reply() || header.opcode != Opcode::kHello) {
        Close(Errc::kProtocol, "the first frame is not a hello");
        return;
      }
      phase_ = Phase::kHandshaking;
      server_->shard->Spawn(Handshake(self, std::move(message)));
      return;
    case Phase::kHandshaking:
      Close(Errc::kProtocol, "a frame came before the handshake was answered");
      return;
    case Phase::kEstablished:
      if (header.is_reply()) {
        OnAnswer(header.xid);
      } else {
        OnRequest(std::move(message));
      }
      return;
    case Phase::kRefused:
    case Phase::kClosed:
      return;
  }
}

void Server::Connection::OnRequest(Message message) {
  if (const auto fault = HitFault(FaultStep::kServerReceived, message.header.opcode)) {
    MeetReceived(std::move(message), *fault);
  } else {
    Receive(std::move(message));
  }
}

void Server::Connection::Receive(Message message) {
  session_->last_heard_ns.store(last_heard_.count(), std::memory_order_relaxed);
  RaiseTo(&session_->oldest_xid, message.header.transno);
  if (link_->queued_bytes() > kUnsentBytesClose) {
    Close(Errc::kProtocol, "the client sends requests and does not read the answers");
    return;
  }
  if (static_cast<uint16_t>(message.header.opcode) < 100) {
    OnSessionRequest(std::move(message));
    return;
  }
  if (session_->ended.load(std::memory_order_relaxed)) {
    ReplyError(message.header, Errc::kEvicted, "the session has ended: the client must reconnect");
    return;
  }
  if (!IsServiceOpcode(message.header.opcode)) {
    const auto number = static_cast<uint16_t>(message.header.opcode);
    ReplyError(message.header, Errc::kNotSupported,
               server_->sessions->identity().server_name + " does not know opcode " +
                   std::to_string(number) + ": upgrade the server");
    return;
  }
  Enqueue(std::move(message));
}

void Server::Connection::OnSessionRequest(Message message) {
  switch (message.header.opcode) {
    case Opcode::kPing:
      if ((message.header.flags & kResend) != 0) {
        // Of a request that was given up: answered when nothing of it runs any more.
        Enqueue(std::move(message));
      } else {
        ReplyTo(message.header, {});
      }
      return;
    case Opcode::kGoodbye:
      server_->shard->Spawn(Goodbye(shared_from_this(), message.header));
      return;
    case Opcode::kSetCredential:
      SetCredential(message);
      return;
    case Opcode::kHello:
      Close(Errc::kProtocol, "a second hello came on one connection");
      return;
    default:
      ReplyError(message.header, Errc::kNotSupported,
                 "opcode " + std::to_string(static_cast<uint16_t>(message.header.opcode)) +
                     " is not supported here");
      return;
  }
}

void Server::Connection::SetCredential(const Message& message) {
  v1::SetCredential set;
  if (!set.ParseFromString(message.body) || set.groups_size() > kGroupsMax) {
    ReplyError(message.header, Errc::kInvalid, "set_credential cannot be read");
    return;
  }
  const Status stored = session_->SetCredential(
      set.id(), {.uid = set.uid(),
                 .gid = set.gid(),
                 .groups = {set.groups().begin(), set.groups().end()},
                 .job_id = set.job_id().substr(0, kJobIdBytesMax)});
  ReplyTo(message.header, stored ? Response{} : Response::Of(stored.error()));
}

async::Task<void> Server::Connection::Goodbye(std::shared_ptr<Connection> self,
                                              FrameHeader header) {
  State* const server = self->server_.get();
  if (!server->gate.Enter()) co_return;
  Status removed;
  // Said before by another of the client's connections: nothing is left to do.
  if (!self->session_->ended.exchange(true)) {
    if (server->sessions->store() != nullptr) {
      removed = co_await server->sessions->store()->Remove(self->session_->id());
    }
    server->sessions->Erase(self->session_->id());
    SHEEN_LOG(Info, "{}: client {} ({}) ended its session",
              server->sessions->identity().server_name, self->client_name_,
              self->session_->client_uuid().ToString());
  }
  self->ReplyTo(header, removed ? Response{} : Response::Of(removed.error()));
  server->gate.Leave(server->shard);
}

void Server::Connection::Enqueue(Message message) {
  if (queue_.empty() && MayStart()) {
    ++in_flight_;
    session_->use.in_flight.Add();
    server_->shard->Spawn(Serve(shared_from_this(), std::move(message)));
    return;
  }
  if (queue_.size() >= kQueueClose * server_->options.requests_in_flight_max) {
    Close(Errc::kProtocol, "the client has " + std::to_string(queue_.size()) +
                               " requests waiting, more than may be");
    return;
  }
  session_->use.queued.Add();
  queue_.push_back({std::move(message), last_heard_});
  StartQueued();
}

bool Server::Connection::MayStart() const {
  return link_ != nullptr && in_flight_ < server_->options.requests_in_flight_max &&
         link_->queued_bytes() <= kUnsentBytesMax;
}

void Server::Connection::StartQueued() {
  if (starting_) return;  // a request that ended at once: the loop below goes on
  starting_ = true;
  while (!queue_.empty() && MayStart()) {
    Queued next = std::move(queue_.front());
    queue_.pop_front();
    const FrameHeader& header = next.message.header;
    const Nanos waited = server_->shard->Now() - next.arrived;
    if (header.deadline_ms != 0 &&
        waited / std::chrono::milliseconds(1) >=
            static_cast<int64_t>(std::min<uint64_t>(header.deadline_ms, INT64_MAX))) {
      ReplyError(header, Errc::kTimedOut, "the request waited for its turn past its deadline");
      continue;
    }
    ++in_flight_;
    session_->use.in_flight.Add();
    server_->shard->Spawn(Serve(shared_from_this(), std::move(next.message)));
  }
  starting_ = false;
  UpdateReceiving();
  // Held back by unsent answers with nothing in flight: nobody else will come here.
  if (queue_.empty() || in_flight_ > 0 || retry_timer_set_ || link_ == nullptr) return;
  retry_timer_set_ = true;
  server_->shard->AddTimer(server_->shard->Now() + kUnsentLook, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    self->retry_timer_set_ = false;
    self->StartQueued();
  });
}

void Server::Connection::UpdateReceiving() {
  if (link_ == nullptr) return;
  const size_t pause = kQueuePause * server_->options.requests_in_flight_max;
  const bool receiving = receiving_ ? queue_.size() < pause : queue_.size() <= pause / 2;
  if (receiving == receiving_) return;
  receiving_ = receiving;
  link_->SetReceiving(receiving);
}

async::Task<void> Server::Connection::Serve(std::shared_ptr<Connection> self, Message message) {
  State* const server = self->server_.get();
  const FrameHeader header = message.header;
  if (server->gate.Enter()) {
    if ((header.flags & (kResend | kReplay)) != 0) co_await WaitForOthers(self, header.xid);
    if (header.opcode == Opcode::kPing) {
      self->ReplyTo(header, {});
    } else {
      co_await Execute(self, std::move(message));
    }
    server->gate.Leave(server->shard);
  }
  --self->in_flight_;
  self->session_->use.in_flight.Sub();
  if (self->phase_ == Phase::kClosed) {
    if (self->in_flight_ == 0) self->session_->RemoveLink(self->tracker_.get());
    co_return;
  }
  if (!self->queue_.empty()) self->StartQueued();
}

async::Task<void> Server::Connection::Execute(std::shared_ptr<Connection> self, Message message) {
  XidTracker::Entry entry;
  const FrameHeader header = message.header;
  // Fenced: the client has a newer connection, on which it has sent or will send this again.
  if (!self->tracker_->Begin(&entry, header.xid)) co_return;
  if (const auto fault = self->HitFault(FaultStep::kServerParsed, header.opcode)) {
    const bool goes_on = co_await MeetRunning(self, *fault, header);
    if (!goes_on) {
      self->tracker_->End(&entry);
      co_return;
    }
  }
  Request request;
  request.header = header;
  request.body = std::move(message.body);
  request.bulk = std::move(message.bulk);
  request.session = self->session_;
  request.peer = self->connection_peer_;
  Session::Use* const use = &self->session_->use;
  use->requests.Add();
  use->written_bytes.Add(request.bulk.size());
  Response response = co_await self->server_->service->Handle(std::move(request));
  use->read_bytes.Add(response.bulk.size());
  self->tracker_->End(&entry);
  std::optional<Response> again;
  if (const auto fault = self->HitFault(FaultStep::kServerExecuted, header.opcode)) {
    const bool goes_on = co_await MeetRunning(self, *fault, header);
    if (!goes_on) co_return;
    const bool twice = fault->action == FaultAction::kDuplicate;
    if (twice) again = Response{response.status, response.body, {}, response.transno};
  }
  self->ReplyTo(header, std::move(response));
  if (again) self->ReplyTo(header, std::move(*again));
  if (self->HitFault(FaultStep::kServerReplied, header.opcode)) {
    self->Close(Errc::kDisconnected, "a fault point ends the connection");
  }
}

async::Task<void> Server::Connection::WaitForOthers(std::shared_ptr<Connection> self,
                                                    uint64_t xid) {
  async::Shard* const shard = self->server_->shard;
  for (const std::shared_ptr<XidTracker>& tracker : self->session_->Links()) {
    async::OneShot<bool> done;
    const bool running =
        tracker->WhenFinished(xid, [&done, shard] { shard->Post([&done] { done.Set(true); }); });
    if (running) co_await done;
  }
}

void Server::Connection::ReplyTo(const FrameHeader& header, Response response) {
  if (link_ == nullptr || phase_ == Phase::kClosed) return;
  if (response.body.size() > kBodyBytesMax || response.bulk.size() > kBulkBytesMax) {
    SHEEN_LOG(Error, "answer to {} for {} is larger than a frame may be", NameOf(header.opcode),
              peer_);
    response = {Errc::kOverflow, "the answer is larger than a frame may be", {}, response.transno};
  }
  Message reply;
  reply.header.opcode = header.opcode;
  reply.header.flags = static_cast<uint16_t>(kReply | kFromServer | CrcFlags());
  reply.header.status = response.status;
  reply.header.target = header.target;
  reply.header.xid = header.xid;
  reply.header.slot = header.slot;
  reply.header.transno = response.transno;
  if (static_cast<uint16_t>(header.opcode) >= 100) {
    reply.header.last_committed = server_->service->LastCommitted(header.target);
  }
  reply.body = std::move(response.body);
  reply.bulk = std::move(response.bulk);
  link_->Send(std::move(reply));
}

void Server::Connection::ReplyError(const FrameHeader& header, Errc code, std::string message) {
  ReplyTo(header, {code, std::move(message), {}, 0});
}

void Server::Connection::SendRequest(Opcode opcode, const std::string& body, uint64_t xid) {
  if (link_ == nullptr) return;
  Message request;
  request.header.opcode = opcode;
  request.header.flags = static_cast<uint16_t>(kFromServer | CrcFlags());
  request.header.xid = xid;
  request.body = body;
  link_->Send(std::move(request));
}

void Server::Connection::Ask(Opcode opcode, std::string body, AnswerTime time,
                             std::function<void(bool)> answered) {
  if (link_ == nullptr || phase_ != Phase::kEstablished) {
    answered(false);
    return;
  }
  const uint64_t xid = server_->next_xid++;
  asked_.emplace(xid, Asked{opcode, std::string(NameOf(opcode)), std::move(answered),
                            std::move(time), {}});
  AwaitAnswer(xid);
  if (const auto fault = HitFault(FaultStep::kServerAsking, opcode)) {
    MeetAsking(opcode, std::move(body), xid, *fault);
  } else {
    SendRequest(opcode, body, xid);
  }
}

void Server::Connection::AwaitAnswer(uint64_t xid) {
  Asked& asked = asked_.at(xid);
  asked.timer = server_->shard->AddTimer(
      server_->shard->Now() + asked.time.timeout, [weak = weak_from_this(), xid] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        const Asked& late = self->asked_.at(xid);
        if (late.time.moving && late.time.moving()) {
          self->AwaitAnswer(xid);
          return;
        }
        SHEEN_LOG(Warn, "{}: {} timer expired: evicting client {} at {}",
                  self->server_->sessions->identity().server_name, late.name, self->client_name_,
                  self->peer_);
        self->Close(Errc::kTimedOut, "the client did not answer a " + late.name);
      });
}

void Server::Connection::OnAnswer(uint64_t xid) {
  const auto asked = asked_.find(xid);
  if (asked == asked_.end()) return;
  if (const auto fault = HitFault(FaultStep::kServerHeard, asked->second.opcode)) {
    MeetHeard(xid, *fault);
  } else {
    TakeAnswer(xid);
  }
}

void Server::Connection::TakeAnswer(uint64_t xid) {
  auto node = asked_.extract(xid);
  if (node.empty()) return;
  server_->shard->CancelTimer(node.mapped().timer);
  node.mapped().answered(true);
}

void Server::Connection::EndPeer() {
  std::map<uint64_t, Asked> left;
  left.swap(asked_);
  for (auto& [xid, asked] : left) {
    server_->shard->CancelTimer(asked.timer);
    asked.answered(false);
  }
  if (connection_peer_ == nullptr) return;
  connection_peer_->End();
  if (!server_->ended) server_->service->OnPeerEnded(connection_peer_);
}

uint16_t Server::Connection::CrcFlags() const {
  return server_->options.checksums ? static_cast<uint16_t>(kBodyCrc | kBulkCrc) : uint16_t{0};
}

void Server::Connection::OnClosed(const Error& reason) {
  const std::shared_ptr<Connection> self = shared_from_this();
  if (phase_ == Phase::kEstablished) {
    SHEEN_LOG(Info, "{}: client {} disconnected from {}: {}",
              server_->sessions->identity().server_name, client_name_, peer_, reason.ToString());
  } else if (phase_ != Phase::kRefused) {
    SHEEN_LOG(Info, "connection from {} ended before a handshake: {}", peer_, reason.ToString());
  }
  phase_ = Phase::kClosed;
  tracker_->Fence();
  queue_.clear();  // not begun: the client sends them again
  if (phase_timer_set_) server_->shard->CancelTimer(phase_timer_);
  phase_timer_set_ = false;
  link_.reset();
  EndPeer();
  LeaveSession();
  server_->Forget(number_);
}

void Server::Connection::LeaveSession() {
  if (!std::exchange(in_session_, false)) return;
  if (in_flight_ == 0) session_->RemoveLink(tracker_.get());
  server_->LinkEnded(session_);
}

}  // namespace sheen::rpc
