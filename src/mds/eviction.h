// How sessions end. With a goodbye: EndSession. Without one, because the server ends it: Eviction,
// which makes sure that no write of the client can arrive any more before anything that the client
// had is given to others or destroyed:
//
//   refuse its requests -> row "evicted", durable -> FenceSession at every OSS of the cluster map
//        -> drop its handles, destroy what nobody else has open -> delete its rows
//
// The fences are tried again until each OSS has answered or left the map, also after a restart of
// this server: until then its files stay open, and files that it may have had open before the
// restart are not destroyed (Recovery::HandlesUnknown).
//
// Shard-confined to the shard given at construction, but for Evict: any shard.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/sync.h"
#include "sheen/result.h"

namespace sheen::mds {

struct Core;
class ClientSession;

// Drops the session's handles, destroys what was open nowhere else and has no name, deletes its
// rows, drops its file locks and forgets it. On any shard. Errors: the store's.
async::Task<Status> EndSession(Core* core, std::shared_ptr<ClientSession> session);

class Eviction final {
 public:
  Eviction(Core* core, async::Shard* shard) : core_(core), shard_(shard) {}
  // Goes on with what an earlier boot has begun. On the shard, or before it runs.
  void Start();
  // Returns when nothing of it runs any more; whoever waits gets kCancelled.
  async::Task<void> Stop();

  // Answers when all of the above is done: at once for a session that is not known (any more) or is
  // saying goodbye, else not before every OSS is fenced. `reason` is for the log: what the client
  // did not do. REQUIRES: Start was called. Errors: kCancelled (the server stops; its next start
  // goes on), the store's.
  async::Task<Status> Evict(uint64_t session_id, std::string reason);
  // The same, and nobody waits. On any shard.
  void Request(uint64_t session_id, std::string reason);
  // The same on the shard, and nobody waits.
  void Begin(uint64_t session_id, std::string reason);

 private:
  struct Waiter {
    async::Shard* shard = nullptr;
    async::OneShot<Status>* done = nullptr;
  };
  void Join(uint64_t session_id, std::string reason, Waiter waiter);
  async::Task<void> Run(std::shared_ptr<ClientSession> session);
  async::Task<Status> RunSteps(std::shared_ptr<ClientSession> session);
  // False: the session's row is gone.
  async::Task<Result<bool>> NoteDurably(uint64_t session_id);
  async::Task<Status> FenceEverywhere(ClientSession* session);
  // Which of `servers` have answered well. `first`: a failure is news.
  async::Task<std::set<std::string>> FenceAt(ClientSession* session,
                                             std::vector<std::string> servers, bool first);
  async::Task<void> WaitRetry();

  Core* const core_;
  async::Shard* const shard_;
  async::Gate gate_;
  async::WaitQueue retry_;
  bool stopping_ = false;
  std::map<uint64_t, std::vector<Waiter>> running_;  // by session
};

}  // namespace sheen::mds
