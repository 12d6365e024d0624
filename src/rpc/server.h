// rpc::Server: accepts links on one shard, does the handshake, dispatches requests to a Service and
// sends its answers. Several shards of a daemon have one Server each and share a SessionTable.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "async/shard.h"
#include "async/sync.h"
#include "base/random.h"
#include "base/stats.h"
#include "rpc/credential.h"
#include "rpc/link.h"

namespace sheen::rpc {

class FaultPoints;
class XidTracker;

// A client as this server knows it: (client UUID, epoch, secret). Links come and go under it.
// Thread-safe.
class Session final {
 public:
  Session(uint64_t id, Uuid client_uuid, std::array<uint8_t, 16> secret)
      : id_(id), client_uuid_(client_uuid), secret_(secret) {}
  uint64_t id() const { return id_; }
  const Uuid& client_uuid() const { return client_uuid_; }
  const std::array<uint8_t, 16>& secret() const { return secret_; }

  // Errors: kInvalid (id 0), kNoSpace (kCredentialsMax are set).
  Status SetCredential(uint32_t id, Credential credential);
  // Id 0 is uid 0, gid 0. nullopt: never set in this session.
  std::optional<Credential> FindCredential(uint32_t id) const;
  std::optional<Origin> FindOrigin(uint32_t id) const;
  // Highest "oldest unfinished xid" a request carried: reply slots below it may go.
  std::atomic<uint64_t> oldest_xid{0};
  std::atomic<uint32_t> link_count{0};
  std::atomic<int64_t> last_heard_ns{0};  // monotonic
  std::atomic<int64_t> wanted_until_ns{0};  // others wait for what its client holds; monotonic
  // When link_count became 0; monotonic.
  std::atomic<int64_t> idle_since_ns{0};
  // What the client has asked for so far.
  struct Use {
    Counter requests;
    Counter read_bytes;     // bulk of answers
    Counter written_bytes;  // bulk of requests
    Counter in_flight;      // being worked on now
    Counter queued;         // that have waited for others of their connection
  };
  Use use;
  // As the client calls itself, or its address.
  void SetClientName(std::string name);
  std::string client_name() const;
  // Host of its latest connection: "10.0.0.5"; empty: it has not come by the network.
  void SetAddress(std::string address);
  std::string address() const;
  // Ended by goodbye or eviction (SessionTable::Erase): requests that still come get kEvicted.
  std::atomic<bool> ended{false};

  // For Server: what is in flight on the session's links, on whatever shard. AddLink fences the
  // links with the same nonzero number, which their client has given up: requests of theirs that
  // have not begun never will. And it calls their `end`, on any thread, to close them.
  void AddLink(uint64_t link, std::shared_ptr<XidTracker> tracker, std::function<void()> end);
  void RemoveLink(const XidTracker* tracker);
  std::vector<std::shared_ptr<XidTracker>> Links() const;

  static constexpr size_t kCredentialsMax = 65536;

 private:
  struct LinkEntry {
    uint64_t link = 0;
    std::shared_ptr<XidTracker> tracker;
    std::function<void()> end;
  };
  const uint64_t id_;
  const Uuid client_uuid_;
  const std::array<uint8_t, 16> secret_;
  mutable std::mutex mutex_;  // guards what follows
  std::string client_name_;
  std::string address_;
  std::unordered_map<uint32_t, Credential> credentials_;
  std::vector<LinkEntry> links_;
};

// One connection of a client, for requests that the server makes of it. Thread-safe.
struct AnswerTime {
  Nanos timeout;
  // Called when that has passed, on the connection's shard; true: the client is about it, it has as
  // much time again. Empty: it has not.
  std::function<bool()> moving = {};
};

class Peer {
 public:
  Peer(uint64_t id, uint64_t session_id, uint64_t features)
      : id_(id), session_id_(session_id), features_(features) {}
  virtual ~Peer() = default;
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  uint64_t id() const { return id_; }  // never used again while the process runs
  uint64_t session_id() const { return session_id_; }
  uint64_t features() const { return features_; }  // what both sides know (rpc::Feature)
  // True the first time it is called.
  bool MarkMet() { return !met_.load(std::memory_order_relaxed) && !met_.exchange(true); }
  // The connection has ended; true before Service::OnPeerEnded is called.
  bool ended() const { return ended_.load(); }
  // `answered` runs once, on the connection's shard: true when the client has answered, false when
  // the connection ended. One that does not answer in time is disconnected.
  virtual void Ask(Opcode opcode, std::string body, AnswerTime time,
                   std::function<void(bool)> answered) = 0;

 protected:
  void SetEnded() { ended_.store(true); }

 private:
  const uint64_t id_;
  const uint64_t session_id_;
  const uint64_t features_;
  std::atomic<bool> ended_{false};
  std::atomic<bool> met_{false};
};

struct Request {
  FrameHeader header;
  std::string body;
  io::Buffer bulk;  // received bytes; CRC checked if the frame had one
  std::shared_ptr<Session> session;
  std::shared_ptr<Peer> peer;  // the connection it came by
};

struct Response {
  Errc status = Errc::kOk;
  std::string body;  // of a failure: the message for people (UTF-8)
  io::Buffer bulk;
  uint64_t transno = 0;

  static Response Of(const Error& error) { return {error.code(), error.message(), {}, 0}; }
};

class Service {
 public:
  virtual ~Service() = default;
  // Runs on the shard whose Server received the request. Every request gets exactly one response.
  // Opcodes below 100 never get here.
  virtual async::Task<Response> Handle(Request request) = 0;
  // For the reply header; called as the reply is sent. Thread-safe.
  virtual uint64_t LastCommitted(uint32_t target) const = 0;
  // At a handshake: the client has seen `transno` as last_committed of `target`. A target whose own
  // is lower went back in time (a restored snapshot, a wrong disk) and must not serve this client:
  // give an error that says so. Runs on the server's shard.
  virtual Status CheckCommitted(uint32_t /*target*/, uint64_t /*transno*/) { return {}; }
  // All links of the session ended disconnect_grace ago; it is kept, the client may come back.
  virtual void OnSessionIdle(std::shared_ptr<Session> /*session*/) {}
  // A connection ended. Runs on its shard.
  virtual void OnPeerEnded(std::shared_ptr<Peer> /*peer*/) {}
};

// Durable knowledge of clients (hazard: after a restart the server must know who may come back).
// Calls come from any shard.
class SessionStore {
 public:
  virtual ~SessionStore() = default;
  virtual async::Task<Status> Save(uint64_t session_id, Uuid client,
                                   std::array<uint8_t, 16> secret) = 0;
  // The client of a known session has come back by a new connection, before it is answered.
  virtual async::Task<Status> Resumed(uint64_t /*session_id*/) { co_return Status(); }
  // After unmount or eviction: open handles and locks of the session are to be dropped.
  virtual async::Task<Status> Remove(uint64_t session_id) = 0;
};

struct ServerIdentity {
  std::string fsname;
  std::string server_name;  // "mds0", "oss1"
  uint64_t boot = 0;        // boot count of the store (the highest of its targets)
  uint64_t recovered_transno = 0;
  uint64_t features = 0;
};

// Thread-safe; shared by the shards' Servers.
class SessionTable final {
 public:
  // `store` may be nullptr: sessions are not kept over a restart.
  SessionTable(ServerIdentity identity, SessionStore* store);
  const ServerIdentity& identity() const { return identity_; }
  // Sessions known from the store at start.
  void Load(std::vector<std::shared_ptr<Session>> sessions);
  std::shared_ptr<Session> Find(uint64_t id) const;
  std::shared_ptr<Session> FindClient(const Uuid& client) const;
  void Insert(std::shared_ptr<Session> session);
  // Marks it ended too: its links are closed at their next request.
  void Erase(uint64_t id);
  std::vector<std::shared_ptr<Session>> All() const;
  SessionStore* store() const { return store_; }
  uint64_t NextId() { return next_id_.fetch_add(1); }

 private:
  const ServerIdentity identity_;
  SessionStore* const store_;
  std::atomic<uint64_t> next_id_;
  mutable std::mutex mutex_;  // guards the maps
  std::map<uint64_t, std::shared_ptr<Session>> by_id_;
  std::map<Uuid, std::shared_ptr<Session>> by_client_;
};

struct ServerOptions {
  bool checksums = true;
  FaultPoints* faults = nullptr;  // outlives the Server
  // "127.0.0.0/8" ...: other peers are closed before a byte is parsed. Empty: loopback only.
  std::vector<std::string> allow;
  uint32_t connections_max = 4096;
  Nanos handshake_timeout = std::chrono::seconds(10);
  uint32_t requests_in_flight_max = 1024;  // per connection; more are left in the socket
  // When the links of a session have all ended for so long, Service::OnSessionIdle is called. The
  // session is kept.
  Nanos disconnect_grace = std::chrono::seconds(3);
  // A link on which nothing came for so long is closed; clients ping every 10 s. The second: of a
  // client of whom something is asked, or whom others wait for.
  Nanos silent_timeout = std::chrono::seconds(60);
  Nanos wanted_silent_timeout = std::chrono::seconds(20);
};

// Shard-confined.
class Server final {
 public:
  Server(async::Shard* shard, SessionTable* sessions, Service* service, ServerOptions options);
  ~Server();
  // For a Transport's Listen.
  void Accept(std::unique_ptr<Link> link);
  // Sends `opcode` to every connected session once, on one of this shard's links. Not answered for.
  void Broadcast(Opcode opcode, const std::string& body);
  // No new requests; waits for those in flight; closes the links. REQUIRES: awaited before the
  // Server is destroyed, unless the whole shard ends with it.
  async::Task<void> Stop();
  uint64_t connection_count() const;

 private:
  class Connection;
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace sheen::rpc
