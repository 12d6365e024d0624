// Background: the work of one MDS that no request waits for. It commits every commit_interval,
// sends durable outbox rows to the OSSs and deletes what they have committed, destroys
// open-unlinked files when the time for clients to come back is over (evicting who did not), and
// looks at the MDT's own space.
//
// Shard-confined: it lives on the shard given at construction.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "async/sync.h"
#include "mds/core.h"

namespace sheen::mds {

// Durable rows for one OST, as many as one order may carry.
struct OutboxOrders {
  std::vector<std::string> keys;  // of the rows that the order covers
  mdt::OutboxRow order;
};

// The OSTs that have rows. Blocks.
Result<std::vector<uint32_t>> OstsWithOrders(mdt::Mdt* mdt);
// The oldest rows of one kind for `ost_index` up to what is committed; no keys: none. Blocks.
Result<OutboxOrders> ReadOrders(mdt::Mdt* mdt, uint32_t ost_index);

class Background final {
 public:
  Background(Core* core, async::Shard* shard) : core_(core), shard_(shard) {}
  void Start();
  // Returns when nothing of it runs any more.
  async::Task<void> Stop();

 private:
  async::Task<void> Loop();
  async::Task<void> WaitTick();
  void EvictSilent();
  async::Task<void> SettleOrphans();
  async::Task<void> NoteRecovered();
  async::Task<void> ReapOrphans();
  async::Task<void> StartSenders();
  async::Task<void> SendAll(uint32_t ost_index);
  // False: nothing left to send, or the OSS could not take it now.
  async::Task<bool> SendSome(uint32_t ost_index);
  async::Task<void> RefreshSpace();
  async::Task<void> CollectChangelogUser();
  async::Task<void> TendSpace();

  Core* const core_;
  async::Shard* const shard_;
  async::Gate gate_;
  async::WaitQueue tick_;
  bool stopping_ = false;
  bool orphans_reaped_ = false;
  bool tending_ = false;
  Nanos changelog_looked_{0};  // when users of the changelog were last looked at
  std::set<uint32_t> sending_;  // OSTs that have a sender
};

}  // namespace sheen::mds
