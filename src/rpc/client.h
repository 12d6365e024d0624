// rpc::Client: one shard's calls to one server. It connects, proves its session, multiplexes calls
// by xid, and when the connection ends it reconnects and sends again what was not answered, until
// the call's deadline: callers see a pause. Mutating calls keep their slot and xid when resent, so
// the server executes them once.
//
// ClientIdentity is what all shards of one client share: the UUID, the xid counter, and per server
// the session (id and secret given at the first connect).
#pragma once

#include <array>
#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "async/shard.h"
#include "async/sync.h"
#include "base/random.h"
#include "fid/fid.h"
#include "rpc/link.h"
#include "rpc/link_look.h"

namespace sheen::rpc {

class FaultPoints;

struct ServerSession {
  uint64_t session_id = 0;  // 0: not connected yet
  std::array<uint8_t, 16> secret{};
  uint64_t server_boot = 0;  // the server's boot epoch at the last handshake
  uint64_t first_boot = 0;   // and when the session began
  uint64_t recovered_transno = 0;
  uint64_t features = 0;  // rpc::Feature bits that both sides know
};

// The oldest unfinished xid of a client towards one server, over all its shards. Thread-safe.
//
// Each shard publishes a lower bound of its own unfinished xids before it draws a new one, so that
// Minimum() is never above an xid that is still to be sent. An old Minimum() stays a lower bound.
class XidFloor final {
 public:
  static constexpr uint64_t kNone = UINT64_MAX;
  struct alignas(64) Part {
    std::atomic<uint64_t> oldest{kNone};
  };
  std::shared_ptr<Part> Join();
  uint64_t Minimum(const std::atomic<uint64_t>& next_xid) const;

 private:
  mutable std::mutex mutex_;  // guards parts_
  mutable std::vector<std::weak_ptr<Part>> parts_;
};

// Thread-safe.
class ClientIdentity final {
 public:
  explicit ClientIdentity(std::string fsname, Uuid uuid = Uuid::Random());
  const std::string& fsname() const { return fsname_; }
  const Uuid& uuid() const { return uuid_; }
  uint64_t NextXid() { return next_xid_.fetch_add(1); }
  // `server` is the server's name in the cluster map ("mds0", "oss1").
  ServerSession Session(const std::string& server) const;
  void SetSession(const std::string& server, const ServerSession& session);
  // SetSession if the current one still has id `expected`; else false: another shard was first.
  bool ReplaceSession(const std::string& server, uint64_t expected, const ServerSession& session);
  // What a handshake has given that began when `before` was current. False: another shard's, of
  // since then, is of another session, or of a later life of the server.
  bool AdoptSession(const std::string& server, const ServerSession& before,
                    const ServerSession& session);

  // Credentials that were set at `server` by kSetCredential calls (id, request body), to be set
  // again when it has forgotten them.
  void RememberCredential(const std::string& server, uint32_t id, std::string body);
  std::map<uint32_t, std::string> Credentials(const std::string& server) const;

  const std::atomic<uint64_t>& next_xid() const { return next_xid_; }
  std::shared_ptr<XidFloor> Floor(const std::string& server);

 private:
  struct PerServer {
    ServerSession session;
    std::map<uint32_t, std::string> credentials;
    std::shared_ptr<XidFloor> floor;
  };
  const std::string fsname_;
  const Uuid uuid_;
  std::atomic<uint64_t> next_xid_{1};
  mutable std::mutex mutex_;  // guards servers_
  std::map<std::string, PerServer> servers_;
};

// Signs of life of one Client's connection, for what is held under locks that came by it: the
// server takes them away without an answer only from a connection that has ended. Thread-safe.
struct LinkPulse {
  std::atomic<uint64_t> ended_count{0};  // connections that have ended
  // When the request was sent that was answered last (monotonic): the connection lived then.
  std::atomic<int64_t> proved_ns{INT64_MIN};
  // Until then (monotonic) somebody counts on the connection: the Client asks for a proof at least
  // once in kPulsePing.
  std::atomic<int64_t> relied_until_ns{INT64_MIN};
};
inline constexpr Nanos kPulsePing = std::chrono::seconds(1);

struct Call {
  Opcode opcode = Opcode::kPing;
  uint32_t target = 0;
  std::string body;
  ByteSpan bulk;              // sent; must stay valid until Execute returns
  // Of `bulk`, which may be kept after it then: it does not change. Null: it is the caller's.
  std::shared_ptr<const void> bulk_owner;
  MutableByteSpan bulk_sink;  // reply's bulk goes straight here when it fits
  uint32_t credential = 0;
  Fid file;  // of a change that its caller keeps after the answer: whose bytes it changes
  // Give up at this shard time: kTimedOut. Nanos::max(): wait as long as it takes.
  Nanos deadline = Nanos::max();
  // Set for calls that OnReconnect's function makes when it has awaited something else than this
  // client's calls before (else that is noticed): sent before the calls that wait.
  bool recovery = false;
  // It is about this connection (what a server that has restarted is to be told): it ends with it,
  // kDisconnected, and is not sent by the next, where it might come before what must come first.
  // Without a slot only.
  bool this_connection = false;
  // A change that may be executed twice: it has no slot.
  bool needs_slot = true;
  // A change that others wait for, who may have all slots: it has one of the list apart of this
  // number, from 1 to ClientOptions::slot_lists_apart. 0: one of the ordinary slots.
  uint32_t slot_list_apart = 0;
  // Lives until the server cannot be executing the call any more, although Execute has returned.
  std::shared_ptr<void> keep;
  // Gets the call's ticket before Execute first waits: for Cancel().
  uint64_t* ticket_out = nullptr;
  // A request that was answered before and that the server may have lost: goes out as it was, with
  // this xid and slot (Answer's) and kReplay, as part of the recovery; ends with the connection
  // (kDisconnected). 0: an ordinary call.
  uint64_t replay_xid = 0;
  uint32_t replay_slot = 0;
};

struct Answer {
  std::string body;
  io::Buffer bulk;        // when it did not fit the sink
  size_t bulk_bytes = 0;  // received, in the sink or in `bulk`
  uint64_t transno = 0;
  uint64_t last_committed = 0;
  uint64_t link = 0;  // LinkPulse::ended_count of the connection that it came by
  uint64_t boot = 0;  // of the server that answered
  uint64_t xid = 0;   // the request's, and its slot: for a replay
  uint32_t slot = 0;
};

struct ClientOptions {
  FaultPoints* faults = nullptr;   // outlives the Client
  std::string server_name;         // as in the cluster map
  std::vector<Address> addresses;  // of one server; tried in turn
  uint32_t slot_base = 1;          // slots [slot_base, slot_base + slot_count) are this shard's
  uint32_t slot_count = 64;
  // And behind them so many lists of so many for calls with `slot_list_apart`; for those of each
  // target the same ones.
  uint32_t slot_lists_apart = 0;
  uint32_t slot_count_apart = 0;  // of each list
  // False: no request names its slot, so the server keeps no answers, and a change whose answer is
  // lost with its connection is not sent again: kIo, its outcome is not known.
  bool names_slots = true;
  bool checksums = true;    // body and bulk CRCs
  std::string client_name;  // host and mount point, for the server's log
  uint64_t features = 0;    // rpc::Feature bits that this side knows
  std::shared_ptr<LinkPulse> pulse;  // null: nobody looks at it
  Nanos connect_timeout = std::chrono::seconds(5);
  Nanos reconnect_wait_max = std::chrono::milliseconds(500);
};

// Shard-confined.
class Client final {
 public:
  // Requests a server makes of this client (kMapChanged, kLockCallback). Calling `answer`, once, at
  // once or later, on this shard, answers OK, unless the connection has ended meanwhile.
  using AnswerFunction = std::function<void()>;
  using ServerRequestFunction =
      std::function<void(Opcode, const std::string& body, AnswerFunction answer)>;

  Client(async::Shard* shard, Transport* transport, ClientIdentity* identity,
         ClientOptions options);
  ~Client();

  // An error's code is the server's, its message too; or kTimedOut, kCancelled (after Stop),
  // kWrongFilesystem and kBadVersion (refused at the handshake).
  async::Task<Result<Answer>> Execute(Call call);
  // Connects now if not connected. Errors: the last connection attempt's.
  async::Task<Status> Connect(Nanos deadline);
  void OnServerRequest(ServerRequestFunction function);
  // Called on each handshake after the first, and on a first that resumes the session of a server
  // that has restarted since; "restarted" says that the boot epoch changed: the place to declare
  // open handles again. Calls made from it go before the waiting ones, which are held until it has
  // returned, or has got no answer for 20 s and waits for none of a replay. "restarted" also when
  // the session was lost; then they are held until ReplayDone at least, however long that takes.
  using ReconnectFunction = std::function<async::Task<void>(bool server_restarted)>;
  void OnReconnect(ReconnectFunction function);
  // That function comes further without calls of this client, say by another shard's.
  void StillRecovering();
  // That function has repeated all that a restarted server had lost: what waits may overtake what
  // it does after this.
  void ReplayDone();
  // Gets the answers of changes that nobody waits for any more (a deadline, Cancel), with the call:
  // they were made. What is not answered before the connection ends is not told.
  using LateAnswerFunction = std::function<void(const Call& call, const Answer& answer)>;
  void OnLateAnswer(LateAnswerFunction function);
  void SetAddresses(std::vector<Address> addresses);
  // No new calls; waits at most `timeout` for those in flight; with `goodbye` ends the session at
  // the server (unmount; one shard's Client is enough, the last); then fails what is left.
  // REQUIRES: awaited before the Client is destroyed, unless the whole shard ends with it.
  async::Task<void> Stop(Nanos timeout, bool goodbye);
  bool connected() const;
  // There is a connection, perhaps not ready yet; answers may still come by it.
  bool linked() const;
  // The server's boot epoch at the last handshake; 0: none yet.
  uint64_t server_boot() const;
  // Ends a connection to an earlier boot than this, which cannot live any more: what came by it and
  // was not read yet is asked for again. False: there is none (any more).
  bool EndEarlierBoot(uint64_t boot);
  // Ends the connection, if there is one: the next begins with OnReconnect's function.
  void EndConnection(std::string reason);
  // The call with this ticket (Call::ticket_out) returns kInterrupted, soon; its slot stays taken
  // until the real answer comes. Nothing when it has returned.
  void Cancel(uint64_t ticket);
  // Begins a new session at the server, as a client that it does not know. Changes that the old
  // one was asked for and has not answered fail with `lost`: they must not be executed in the new.
  void RenewSession(const Error& lost);
  const std::string& server_name() const;
  // Highest last_committed seen in any reply.
  uint64_t last_committed() const;
  LinkLook Look() const;

 private:
  struct Pending;
  class State;
  // Shared with the coroutines and timers at work.
  std::shared_ptr<State> state_;
};

}  // namespace sheen::rpc
