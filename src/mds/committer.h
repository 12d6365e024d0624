// Committer: group commit. Whoever needs durability waits for a transno; one sync on the blocking
// pool serves all who wait, and the next begins when the first ends.
//
// Thread-safe; a waiter resumes on its own shard.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <vector>

#include "async/blocking_pool.h"
#include "async/sync.h"
#include "mdt/mdt.h"

namespace sheen::mds {

class Committer final {
 public:
  // Both must outlive it, and every sync must have ended (Drain) before it goes.
  Committer(mdt::Mdt* mdt, async::BlockingPool* pool) : mdt_(mdt), pool_(pool) {}

  // Everything up to `transno` survives power loss when it answers well.
  async::Task<Status> WaitCommitted(uint64_t transno);
  // Starts a sync if something is dirty and none runs.
  void Kick();
  // Blocks until no sync runs. Not on a shard.
  void Drain();

 private:
  struct Waiter {
    uint64_t transno;
    async::Shard* shard;
    async::OneShot<Status>* done;
  };
  void RunSyncs();

  mdt::Mdt* const mdt_;
  async::BlockingPool* const pool_;
  std::mutex mutex_;  // guards running_, waiters_
  std::condition_variable idle_;
  bool running_ = false;
  std::vector<Waiter> waiters_;
};

}  // namespace sheen::mds
