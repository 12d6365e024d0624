// Inside of rpc::Server: one accepted link, from its hello to its end.
//
//   kAwaitHello -> kHandshaking -> kEstablished -> kClosed
//        |              |
//        +--------------+-> kRefused: the reason is on its way, the client closes
//
// Requests run as coroutines that share the connection; one whose link has ended runs to its end
// and its answer is dropped (the client sends it again, the Service has the reply slots). Requests
// beyond requests_in_flight_max wait in a list, and the link stops reading when that fills up.
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "rpc/fault_points.h"
#include "rpc/server.h"
#include "rpc/socket_address.h"
#include "rpc/xid_tracker.h"
#include "sheen/v1/common.pb.h"

namespace sheen::rpc {

// What a shard's connections share.
struct Server::State final : std::enable_shared_from_this<State> {
  State(async::Shard* shard_in, SessionTable* sessions_in, Service* service_in,
        ServerOptions options_in);

  void Forget(uint64_t connection);
  // A session lost a link: starts disconnect_grace when it was the last.
  void LinkEnded(const std::shared_ptr<Session>& session);
  void ScheduleSilenceCheck();
  void CheckSilence();
  void Wake() { events.WakeAll(shard); }

  async::Shard* const shard;
  SessionTable* const sessions;
  Service* const service;
  const ServerOptions options;
  const CidrList allow;
  std::map<uint64_t, std::shared_ptr<Connection>> connections;  // by number
  uint64_t next_connection = 1;
  async::Gate gate;  // requests being executed
  async::WaitQueue events;
  uint64_t next_xid = 1;  // of requests to clients
  bool stopping = false;
  bool ended = false;  // the Server is gone, and perhaps its Service
  bool silence_check_running = false;
};

class Server::Connection final : public LinkHandler,
                                 public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<State> server, std::unique_ptr<Link> link);
  // Takes the link's messages from now on.
  void Start();
  void Close(Errc code, std::string reason);
  // Peer::Ask, on the shard.
  void Ask(Opcode opcode, std::string body, AnswerTime time, std::function<void(bool)> answered);
  void AwaitAnswer(uint64_t xid);
  // A request of the server's; the answer is ignored.
  void SendRequest(Opcode opcode, const std::string& body, uint64_t xid);
  uint64_t number() const { return number_; }  // in the order of acceptance
  bool established() const { return phase_ == Phase::kEstablished; }
  const std::shared_ptr<Session>& session() const { return session_; }
  const std::string& peer() const { return peer_; }
  Nanos last_heard() const { return last_heard_; }
  size_t queued_bytes() const { return link_ == nullptr ? 0 : link_->queued_bytes(); }

 private:
  enum class Phase : uint8_t { kAwaitHello, kHandshaking, kRefused, kEstablished, kClosed };
  struct Queued {
    Message message;
    Nanos arrived{0};
  };
  struct Asked {
    Opcode opcode = Opcode::kPing;
    std::string name;
    std::function<void(bool)> answered;
    AnswerTime time;
    async::TimerId timer;
  };
  class ConnectionPeer;

  MutableByteSpan SinkFor(const FrameHeader& header) override;
  void OnMessage(Message message) override;
  void OnClosed(const Error& reason) override;

  // ---- handshake (server_handshake.cc) ----
  static async::Task<void> Handshake(std::shared_ptr<Connection> self, Message message);
  Status CheckHello(const v1::Hello& hello) const;
  Result<std::shared_ptr<Session>> FindSession(const v1::Hello& hello) const;
  static async::Task<Result<std::shared_ptr<Session>>> NewSession(std::shared_ptr<Connection> self,
                                                                  Uuid client);
  void Establish(const v1::Hello& hello, std::shared_ptr<Session> session, bool resumed,
                 const FrameHeader& header);
  void Refuse(const FrameHeader& header, const Error& error);

  // ---- requests (server_connection.cc) ----
  void OnRequest(Message message);
  void Receive(Message message);
  void OnSessionRequest(Message message);
  void SetCredential(const Message& message);
  static async::Task<void> Goodbye(std::shared_ptr<Connection> self, FrameHeader header);
  void Enqueue(Message message);
  bool MayStart() const;
  void StartQueued();
  void UpdateReceiving();
  static async::Task<void> Serve(std::shared_ptr<Connection> self, Message message);
  static async::Task<void> Execute(std::shared_ptr<Connection> self, Message message);
  // Until no request `xid` of this session is being executed on any link.
  static async::Task<void> WaitForOthers(std::shared_ptr<Connection> self, uint64_t xid);
  void ReplyTo(const FrameHeader& header, Response response);
  void ReplyError(const FrameHeader& header, Errc code, std::string message);
  uint16_t CrcFlags() const;
  void OnAnswer(uint64_t xid);
  void TakeAnswer(uint64_t xid);
  void EndPeer();
  void LeaveSession();

  // ---- fault points (server_faults.cc) ----
  std::optional<FaultOrder> HitFault(FaultStep step, Opcode opcode) const;
  void MeetReceived(Message message, FaultOrder fault);
  // False: the request goes no further.
  static async::Task<bool> MeetRunning(std::shared_ptr<Connection> self, FaultOrder fault,
                                       FrameHeader header);
  void MeetAsking(Opcode opcode, std::string body, uint64_t xid, FaultOrder fault);
  void MeetHeard(uint64_t xid, FaultOrder fault);
  void After(uint64_t delay_ms, std::function<void(Connection*)> then);

  const std::shared_ptr<State> server_;
  std::unique_ptr<Link> link_;
  const std::string peer_;
  const uint64_t number_;
  Phase phase_ = Phase::kAwaitHello;
  std::shared_ptr<Session> session_;
  const std::shared_ptr<XidTracker> tracker_ = std::make_shared<XidTracker>();
  std::shared_ptr<ConnectionPeer> connection_peer_;  // once established
  std::map<uint64_t, Asked> asked_;                  // by xid
  std::string client_name_;
  async::TimerId phase_timer_;
  bool phase_timer_set_ = false;
  Nanos last_heard_{0};
  std::deque<Queued> queue_;
  uint64_t in_flight_ = 0;
  bool receiving_ = true;
  bool retry_timer_set_ = false;
  bool starting_ = false;    // StartQueued is on the stack
  bool in_session_ = false;  // counted in the session's link_count
};

class Server::Connection::ConnectionPeer final : public Peer {
 public:
  ConnectionPeer(Connection* connection, uint64_t session_id, uint64_t features);
  void Ask(Opcode opcode, std::string body, AnswerTime time,
           std::function<void(bool)> answered) override;
  void End() { SetEnded(); }

 private:
  async::Shard* const shard_;
  const std::weak_ptr<Connection> connection_;  // used on the shard only
};

}  // namespace sheen::rpc
