#include "rpc/sim_transport.h"

#include <algorithm>
#include <bit>

#include "base/crc32c.h"
#include "rpc/sim_connection.h"

namespace sheen::rpc {

class SimListener final : public Listener {
 public:
  SimListener(SimNetwork* network, std::string node, uint16_t port, uint64_t id)
      : network_(network), node_(std::move(node)), port_(port), id_(id) {}
  ~SimListener() override {
    const auto found = network_->listening_.find({node_, port_});
    // After a Kill another may listen in its place.
    if (found != network_->listening_.end() && found->second.id == id_) {
      network_->listening_.erase(found);
    }
  }
  uint16_t port() const override { return port_; }

 private:
  SimNetwork* const network_;
  const std::string node_;
  const uint16_t port_;
  const uint64_t id_;
};

namespace {

std::pair<std::string, std::string> InOrder(const std::string& a, const std::string& b) {
  return a < b ? std::pair(a, b) : std::pair(b, a);
}

}  // namespace

SimNetwork::SimNetwork(async::Shard* shard, SimNetworkOptions options)
    : shard_(shard), options_(options), random_(options.seed) {}

SimNetwork::~SimNetwork() = default;

void SimNetwork::Partition(const std::string& a, const std::string& b) {
  partitions_.insert(InOrder(a, b));
}

void SimNetwork::Heal(const std::string& a, const std::string& b) {
  partitions_.erase(InOrder(a, b));
  Resume();
}

void SimNetwork::HealOneWay(const std::string& from, const std::string& to) {
  cut_.erase({from, to});
  Resume();
}

void SimNetwork::Resume() {
  for (const auto& weak : connections_) {
    if (const auto connection = weak.lock()) connection->Resume();
  }
}

void SimNetwork::Break(const std::string& a, const std::string& b) { BreakWhere(a, &b); }

void SimNetwork::Kill(const std::string& node) {
  std::erase_if(listening_, [&](const auto& entry) { return entry.first.first == node; });
  BreakWhere(node, nullptr);
}

void SimNetwork::BreakWhere(const std::string& a, const std::string* b) {
  std::vector<std::shared_ptr<SimConnection>> broken;
  for (const auto& weak : connections_) {
    const auto connection = weak.lock();
    if (connection == nullptr) continue;
    const std::string& node0 = connection->node(0);
    const std::string& node1 = connection->node(1);
    if (node0 != a && node1 != a) continue;
    if (b != nullptr && InOrder(node0, node1) != InOrder(a, *b)) continue;
    broken.push_back(connection);
  }
  for (const auto& connection : broken) connection->Break("the simulation broke it");
}

void SimNetwork::SetNodeIp(const std::string& node, std::string ip) {
  node_ips_[node] = std::move(ip);
}

Nanos SimNetwork::Delay() {
  const auto spread = static_cast<uint64_t>((options_.delay_max - options_.delay_min).count());
  return options_.delay_min + Nanos(random_.Below(spread + 1));
}

bool SimNetwork::Cut(const std::string& from, const std::string& to) const {
  return (!cut_.empty() && cut_.contains({from, to})) ||
         (!partitions_.empty() && partitions_.contains(InOrder(from, to)));
}

void SimNetwork::NoteDelivered(const std::string& to, const FrameHeader& header) {
  ++frames_delivered_;
  const auto bytes = EncodeHeader(header);  // with the checksums of body and bulk
  const auto mix = [this](uint64_t word) {
    digest_ = std::rotl((digest_ ^ word) * 0x9E3779B97F4A7C15ULL, 29);
  };
  mix(static_cast<uint64_t>(shard_->Now().count()));
  mix(Crc32c(AsBytes(to)));
  mix(Crc32c(bytes));
}

std::string SimNetwork::PeerName(const std::string& node) {
  auto [found, added] = node_ips_.try_emplace(node);
  if (added) found->second = "127.0.0." + std::to_string(node_ips_.size());
  return Address{found->second, next_port_++}.ToString();
}

SimTransport::SimTransport(SimNetwork* network, std::string node)
    : network_(network), node_(std::move(node)) {}

async::Task<Result<std::unique_ptr<Link>>> SimTransport::Connect(Address address, Nanos timeout) {
  SimNetwork* const network = network_;
  async::Shard* const shard = network->shard_;
  if (network->Cut(node_, address.host) || network->Cut(address.host, node_)) {
    co_await shard->Sleep(timeout);
    co_return Fail(Errc::kTimedOut, "connecting to " + address.ToString() + " timed out");
  }
  co_await shard->Sleep(network->Delay());
  const uint64_t refuse_one_in = network->options_.refuse_one_in;
  const bool refused = refuse_one_in != 0 && network->random_.OneIn(refuse_one_in);
  const auto listening = network->listening_.find({address.host, address.port});
  if (refused || listening == network->listening_.end()) {
    co_return Fail(Errc::kConnectionRefused, "nothing listens on " + address.ToString());
  }
  auto connection = std::make_shared<SimConnection>(network, node_, address.host);
  std::erase_if(network->connections_, [](const auto& weak) { return weak.expired(); });
  network->connections_.push_back(connection);
  auto link = std::make_unique<SimLink>(connection, 0);
  const AcceptFunction accept = listening->second.accept;
  accept(std::make_unique<SimLink>(connection, 1));
  co_await shard->Sleep(network->Delay());
  if (connection->broken()) {
    co_return Fail(Errc::kConnectionRefused, "connection to " + address.ToString() + " was reset");
  }
  co_return link;
}

Result<std::unique_ptr<Listener>> SimTransport::Listen(const Address& address,
                                                       AcceptFunction accept) {
  uint16_t port = address.port;
  if (port == 0) port = network_->next_port_++;
  const uint64_t id = network_->next_id_++;
  const bool added =
      network_->listening_.try_emplace({node_, port}, SimNetwork::Listening{std::move(accept), id})
          .second;
  if (!added) {
    return Fail(Errc::kBusy, Address{node_, port}.ToString() + " is in use");
  }
  return std::make_unique<SimListener>(network_, node_, port, id);
}

}  // namespace sheen::rpc
