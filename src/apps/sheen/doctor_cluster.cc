#include "apps/sheen/doctor_cluster.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "rpc/grpc_control.h"
#include "rpc/grpc_repositories.h"
#include "rpc/socket_address.h"

namespace sheen::apps {
namespace {

constexpr int kConnectMs = 3000;
constexpr Nanos kS3Patience = std::chrono::seconds(60);

Status Connect(const rpc::SocketAddress& address) {
  const int fd = ::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return FailErrno(errno, "socket");
  int error = ::connect(fd, address.get(), address.size) == 0 ? 0 : errno;
  if (error == EINPROGRESS) {
    pollfd wait{.fd = fd, .events = POLLOUT, .revents = 0};
    socklen_t size = sizeof error;
    error = ETIMEDOUT;
    if (::poll(&wait, 1, kConnectMs) > 0) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  ::close(fd);
  return error == 0 ? Status() : FailErrno(error, address.ToString() + ": " + std::strerror(error));
}

// One of the host's addresses is enough: clients try them in turn.
Status ConnectToAny(const std::vector<std::string>& hosts, uint16_t port) {
  Status last = Fail(Errc::kInvalid, "it has told no address");
  for (const std::string& host : hosts) {
    const auto addresses = rpc::ResolveBlocking({host, port});
    if (!addresses) last = std::unexpected(addresses.error());
    if (!addresses) continue;
    for (const rpc::SocketAddress& address : *addresses) {
      last = Connect(address);
      if (last) return last;
    }
  }
  return last;
}

class Ports final {
 public:
  template <class Entry>  // v1::ServerEntry, v1::AgentEntry
  void Try(const Entry& entry) {
    const std::vector<std::string> hosts(entry.hosts().begin(), entry.hosts().end());
    for (const uint32_t port : {entry.data_port(), entry.control_port()}) {
      ++tried_;
      const Status connected = ConnectToAny(hosts, static_cast<uint16_t>(port));
      if (connected) continue;
      failed_.push_back({Health::kBad, "ports",
                         fmt::format("{}, port {}: {}", entry.name(), port,
                                     connected.error().message()),
                         "start the daemon there if it is down; else let this host through the "
                         "firewall to this TCP port"});
    }
  }
  void Tell(std::vector<Finding>* findings) const {
    findings->insert(findings->end(), failed_.begin(), failed_.end());
    if (!failed_.empty()) return;
    findings->push_back({Health::kGood, "ports",
                         fmt::format("all {} of the servers and agents can be reached", tried_),
                         ""});
  }

 private:
  uint64_t tried_ = 0;
  std::vector<Finding> failed_;
};

void CheckS3(const v1::ListRepositoriesReply& all, std::vector<Finding>* findings) {
  if (all.repositories().empty()) return;
  if (all.agents().empty()) {
    findings->push_back({Health::kBad, "S3",
                         fmt::format("{} directories are linked, and no agent is there",
                                     all.repositories_size()),
                         "start one: sheen-agent --mgs HOST:CONTROLPORT"});
  }
  for (const v1::AgentEntry& agent : all.agents()) {
    const std::string host = agent.hosts().empty() ? "127.0.0.1" : agent.hosts(0);
    rpc::AgentControlClient client({host, static_cast<uint16_t>(agent.control_port())},
                                   kS3Patience);
    for (const v1::Repository& repository : all.repositories()) {
      v1::CheckRepositoryRequest request;
      *request.mutable_repository() = repository;
      const auto checked = client.CheckRepository(request);
      const std::string what = fmt::format("{} as s3://{}/{}, by agent {}", repository.path(),
                                           repository.bucket(), repository.prefix(), agent.name());
      if (checked) {
        findings->push_back({Health::kGood, "S3",
                             fmt::format("{}: may be listed; keys from {}", what,
                                         checked->keys_from()),
                             ""});
        continue;
      }
      findings->push_back({Health::kBad, "S3", what + ": " + checked.error().message(),
                           "the agent's keys need s3:ListBucket of the bucket and s3:GetObject of "
                           "what is below the prefix; docs/operations/s3.md"});
    }
  }
}

}  // namespace

void CheckCluster(const rpc::Address& mgs, std::vector<Finding>* findings) {
  const Result<v1::ClusterMap> map = rpc::MgsClient({mgs}).GetClusterMap(0);
  if (!map) {
    findings->push_back({Health::kBad, "cluster", mgs.ToString() + ": " + map.error().message(),
                         "--server is HOST:CONTROLPORT of the MDS (control port 7989 unless it was "
                         "given another)"});
    return;
  }
  Ports ports;
  for (const v1::ServerEntry& server : map->servers()) ports.Try(server);
  const auto repositories = rpc::RepositoryClient(mgs).ListRepositories();
  if (repositories) {
    for (const v1::AgentEntry& agent : repositories->agents()) ports.Try(agent);
  }
  ports.Tell(findings);
  if (repositories) {
    CheckS3(*repositories, findings);
  } else {
    findings->push_back({Health::kWarning, "S3",
                         "the data repositories cannot be asked for: " +
                             repositories.error().message(),
                         "run this on a host that the MDS allows"});
  }
}

}  // namespace sheen::apps
