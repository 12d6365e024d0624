// The simulated network: nodes by name, connections between them, delays and faults from one seed.
// Everything runs on one shard with a virtual clock (async/sim_poller.h), so a run repeats exactly.
//
//   SimNetwork network(&shard, {.seed = 7, .break_one_in = 50});
//   SimTransport mds(&network, "mds0"), alice(&network, "alice");
//   auto listener = mds.Listen({"mds0", 7988}, accept);      // in the server's code
//   co_await alice.Connect({"mds0", 7988}, timeout);         // in the client's
//   network.Partition("alice", "mds0");  ...  network.Heal("alice", "mds0");
//
// Frames pass through EncodeHeader and DecodeHeader, so that limits and checksums hold as on a
// wire. Frames of a connection arrive in order. Bulk that goes to a sink is written there in two
// steps with time between them, as a socket would.
//
// Shard-confined. The network must outlive its transports, links and listeners.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "base/random.h"
#include "rpc/link.h"

namespace sheen::rpc {

struct SimNetworkOptions {
  uint64_t seed = 1;
  Nanos delay_min = std::chrono::microseconds(50);  // of one frame, one way
  Nanos delay_max = std::chrono::microseconds(500);
  // A frame sent breaks its connection a moment later, once in so many on average; what has not
  // arrived by then is lost, in both directions. 0: never.
  uint64_t break_one_in = 0;
  // An attempt to connect is refused, once in so many. 0: never.
  uint64_t refuse_one_in = 0;
};

class SimConnection;

class SimNetwork final {
 public:
  SimNetwork(async::Shard* shard, SimNetworkOptions options);
  ~SimNetwork();
  SimNetwork(const SimNetwork&) = delete;
  SimNetwork& operator=(const SimNetwork&) = delete;

  // From now on; e.g. to end the faults before a test checks what is left. `seed` is ignored.
  void SetOptions(const SimNetworkOptions& options) { options_ = options; }
  // Nothing passes between the two: frames wait, connecting times out. Nobody is told.
  void Partition(const std::string& a, const std::string& b);
  void Heal(const std::string& a, const std::string& b);
  // Frames from the one to the other wait, the other way they pass.
  void CutOneWay(const std::string& from, const std::string& to) { cut_.insert({from, to}); }
  void HealOneWay(const std::string& from, const std::string& to);
  // Breaks the connections between two nodes; they may connect again at once.
  void Break(const std::string& a, const std::string& b);
  // As if the node's process had died: its connections break and its listeners are gone, until a
  // new Listen of that node. The node's objects are the caller's to destroy.
  void Kill(const std::string& node);
  // The address others see as this node's; 127.0.0.N by default, so that servers let it in.
  void SetNodeIp(const std::string& node, std::string ip);

  uint64_t frames_delivered() const { return frames_delivered_; }
  // Of every frame delivered so far: between whom, when, and its bytes. Equal: the same run.
  uint64_t digest() const { return digest_; }
  uint64_t connections_broken() const { return connections_broken_; }
  async::Shard* shard() const { return shard_; }

 private:
  friend class SimTransport;
  friend class SimConnection;
  friend class SimListener;
  struct Listening {
    AcceptFunction accept;
    uint64_t id = 0;
  };

  Nanos Delay();
  // Does nothing pass from the one to the other?
  bool Cut(const std::string& from, const std::string& to) const;
  void NoteDelivered(const std::string& to, const FrameHeader& header);
  void Resume();
  std::string PeerName(const std::string& node);
  void BreakWhere(const std::string& a, const std::string* b);

  async::Shard* const shard_;
  SimNetworkOptions options_;
  Random random_;
  std::map<std::pair<std::string, uint16_t>, Listening> listening_;  // (node, port)
  std::set<std::pair<std::string, std::string>> partitions_;         // each pair in order
  std::set<std::pair<std::string, std::string>> cut_;                // (from, to)
  std::map<std::string, std::string> node_ips_;
  std::vector<std::weak_ptr<SimConnection>> connections_;
  uint64_t next_id_ = 1;
  uint16_t next_port_ = 40000;
  uint64_t frames_delivered_ = 0;
  uint64_t digest_ = 0;
  uint64_t connections_broken_ = 0;
};

// One node's way into the network.
class SimTransport final : public Transport {
 public:
  // `node` is the host name that others connect to.
  SimTransport(SimNetwork* network, std::string node);
  async::Task<Result<std::unique_ptr<Link>>> Connect(Address address, Nanos timeout) override;
  // The address' host is ignored: a node listens as itself.
  Result<std::unique_ptr<Listener>> Listen(const Address& address, AcceptFunction accept) override;

 private:
  SimNetwork* const network_;
  const std::string node_;
};

}  // namespace sheen::rpc
