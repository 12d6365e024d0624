#include "client/imports.h"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>

#include "client/state.h"
#include "rpc/address.h"

namespace sheen::client {
namespace {

constexpr std::chrono::milliseconds kPatience{500};

// What the shards have answered; they may do so when nobody waits for it any more.
struct Looks {
  std::mutex mutex;  // guards what follows
  std::condition_variable changed;
  size_t awaited = 0;
  std::map<std::string, std::vector<rpc::LinkLook>> by_server;
};

ImportState StateOf(const rpc::LinkLook& look) {
  if (look.connected) return ImportState::kFull;
  if (!look.wanted) return ImportState::kIdle;
  if (look.recovering) return ImportState::kRecover;
  return look.handshakes > 0 ? ImportState::kDisconnected : ImportState::kConnecting;
}

void Add(const rpc::LinkLook& look, Import* import) {
  // The worst of them, in the order of the enumeration.
  import->state = std::max(import->state, StateOf(look));
  if (import->peer.empty()) import->peer = look.peer;
  import->connections += look.connected ? 1 : 0;
  import->handshakes += look.handshakes;
  import->boot = std::max(import->boot, look.boot);
  import->committed = std::max(import->committed, look.committed);
  import->calls += look.calls;
}

// False: a shard did not answer.
bool Ask(State* state, const std::vector<std::string>& servers,
         const std::shared_ptr<Looks>& looks) {
  std::vector<ShardContext*> contexts;
  for (const std::unique_ptr<ShardContext>& context : state->contexts) {
    if (context) contexts.push_back(context.get());
  }
  looks->awaited = contexts.size();
  for (ShardContext* const context : contexts) {
    context->shard()->Post([context, servers, looks] {
      const std::scoped_lock lock(looks->mutex);
      for (const std::string& server : servers) {
        if (const auto look = context->LookAt(server)) looks->by_server[server].push_back(*look);
      }
      if (--looks->awaited == 0) looks->changed.notify_all();
    });
  }
  std::unique_lock lock(looks->mutex);
  return looks->changed.wait_for(lock, kPatience, [&looks] { return looks->awaited == 0; });
}

}  // namespace

std::string_view NameOf(ImportState state) {
  switch (state) {
    case ImportState::kIdle:
      return "IDLE";
    case ImportState::kFull:
      return "FULL";
    case ImportState::kRecover:
      return "RECOVER";
    case ImportState::kConnecting:
      return "CONNECTING";
    case ImportState::kDisconnected:
      return "DISCONN";
    case ImportState::kUnknown:
      break;
  }
  return "UNKNOWN";
}

std::string Import::Nid() const {
  if (!peer.empty()) return rpc::HostOfPeer(peer) + "@tcp";
  return (addresses.empty() ? "0.0.0.0" : addresses.front().host) + "@tcp";
}

Imports ImportsOf(Filesystem* filesystem) {
  State* const state = filesystem->state();
  std::map<std::string, Import> by_server;
  by_server[kMdsName].addresses = state->options.mgs;
  const std::shared_ptr<const Cluster> cluster = state->cluster.Get();
  for (const auto& [server, addresses] : cluster->servers) {
    if (by_server[server].addresses.empty()) by_server[server].addresses = addresses;
  }
  std::vector<std::string> servers;
  for (const auto& [server, import] : by_server) servers.push_back(server);
  const auto looks = std::make_shared<Looks>();
  const bool all = Ask(state, servers, looks);
  {
    const std::scoped_lock lock(looks->mutex);
    for (auto& [server, import] : by_server) {
      for (const rpc::LinkLook& look : looks->by_server[server]) Add(look, &import);
      if (!all) import.state = ImportState::kUnknown;
      import.features = state->identity.Session(server).features;
    }
  }
  Imports imports;
  imports.mdt = by_server[kMdsName];
  for (const auto& [index, server] : cluster->ost_servers) imports.osts[index] = by_server[server];
  return imports;
}

}  // namespace sheen::client
