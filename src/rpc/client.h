// rpc::Client: one shard's calls to one server. It connects, proves its session, multiplexes calls
// by xid, and when the connection ends it reconnects and sends again what was not answered, until
// the call's deadline: callers see a pause. Mutating calls keep their slot and xid when resent, so
// the server executes them once.
//
// ClientIdentity is what all shards of one client share: the UUID, the xid counter, and per server
// the session (id and secret given at the first connect).
#pragma once

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
#include "rpc/link.h"

namespace sheen::rpc {

struct ServerSession {
  uint64_t session_id = 0;       // 0: not connected yet
  std::array<uint8_t, 16> secret{};
  uint64_t server_boot = 0;      // the server's boot epoch at the last handshake
  uint64_t recovered_transno = 0;
};

// Thread-safe.
class ClientIdentity final {
 public:
  explicit ClientIdentity(std::string fsname, Uuid uuid = Uuid::Random());
  const std::string& fsname() const { return fsname_; }
  const Uuid& uuid() const { return uuid_; }
  uint64_t NextXid() { return next_xid_.fetch_add(1, std::memory_order_relaxed); }
  // `server` is the server's name in the cluster map ("mds0", "oss1").
  ServerSession Session(const std::string& server) const;
  void SetSession(const std::string& server, const ServerSession& session);

 private:
  const std::string fsname_;
  const Uuid uuid_;
  std::atomic<uint64_t> next_xid_{1};
  mutable std::mutex mutex_;  // guards sessions_
  std::map<std::string, ServerSession> sessions_;
};

struct Call {
  Opcode opcode = Opcode::kPing;
  uint32_t target = 0;
  std::string body;
  ByteSpan bulk;              // sent; must stay valid until Execute returns
  MutableByteSpan bulk_sink;  // reply's bulk goes straight here when it fits
  uint32_t credential = 0;
  // Give up at this shard time: kTimedOut. Nanos::max(): wait as long as it takes.
  Nanos deadline = Nanos::max();
};

struct Answer {
  std::string body;
  io::Buffer bulk;            // when it did not fit the sink
  size_t bulk_bytes = 0;      // received, in the sink or in `bulk`
  uint64_t transno = 0;
  uint64_t last_committed = 0;
};

struct ClientOptions {
  std::string server_name;            // as in the cluster map
  std::vector<Address> addresses;     // of one server; tried in turn
  uint32_t slot_base = 1;             // slots [slot_base, slot_base + slot_count) are this shard's
  uint32_t slot_count = 64;
  bool checksums = true;              // body and bulk CRCs
  Nanos connect_timeout = std::chrono::seconds(5);
  Nanos reconnect_wait_max = std::chrono::milliseconds(500);
};

// Shard-confined.
class Client final : private LinkHandler {
 public:
  // Requests a server makes of this client (kMapChanged): answered OK after the function returns.
  using ServerRequestFunction = std::function<void(Opcode, const std::string& body)>;

  Client(async::Shard* shard, Transport* transport, ClientIdentity* identity,
         ClientOptions options);
  ~Client();

  // An error's code is the server's, its message too; or kTimedOut, kCancelled (after Stop),
  // kWrongFilesystem and kBadVersion (refused at the handshake).
  async::Task<Result<Answer>> Execute(Call call);
  // Connects now if not connected. Errors: the last connection attempt's.
  async::Task<Status> Connect(Nanos deadline);
  void OnServerRequest(ServerRequestFunction function) { on_server_request_ = std::move(function); }
  // Called on each handshake after the first, with the new server boot epoch when it changed:
  // the place to declare open handles again. Calls made from it go before the waiting ones.
  void OnReconnect(std::function<async::Task<void>(bool server_restarted)> function) {
    on_reconnect_ = std::move(function);
  }
  void SetAddresses(std::vector<Address> addresses);
  // Ends the session at the server (unmount), waiting at most `timeout`; then fails what is left.
  async::Task<void> Stop(Nanos timeout, bool goodbye);
  bool connected() const;
  // Cancels the call (by the xid reported through `xid_out`); Execute returns kInterrupted.
  const std::string& server_name() const { return options_.server_name; }
  // Highest last_committed seen in any reply.
  uint64_t last_committed() const { return last_committed_; }

 private:
  struct Pending;
  struct State;

  MutableByteSpan SinkFor(const FrameHeader& header) override;
  void OnMessage(Message message) override;
  void OnClosed(const Error& reason) override;

  async::Shard* const shard_;
  Transport* const transport_;
  ClientIdentity* const identity_;
  ClientOptions options_;
  ServerRequestFunction on_server_request_;
  std::function<async::Task<void>(bool)> on_reconnect_;
  uint64_t last_committed_ = 0;
  std::unique_ptr<State> state_;
};

}  // namespace sheen::rpc
