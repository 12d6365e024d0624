// What is counted and limited, for those who look at the mount from outside.

#include "client/state.h"

namespace sheen::client {

ClientStats* Filesystem::stats() const { return &state_->stats; }

Filesystem::LockNumbers Filesystem::inode_locks() const {
  return {state_->locks.size(), state_->locks.inodes_max()};
}

void Filesystem::SetInodeLocksMax(uint64_t inodes_max) {
  state_->locks.SetInodesMax(inodes_max);
  state_->locks.Trim(inodes_max);
  if (ShardContext* const context = state_->contexts[0].get()) context->TrimLocks(true);
}

void Filesystem::DropInodeLocks() {
  state_->locks.Trim(0);
  if (ShardContext* const context = state_->contexts[0].get()) context->TrimLocks(true);
}

Filesystem::HeldNumbers Filesystem::held() const {
  return {state_->held_budget.bytes.load(std::memory_order_relaxed), HeldBudget::kBytesMax};
}

uint64_t Filesystem::GrantedBytes(uint32_t ost) const { return state_->grants.Have(ost); }

std::vector<std::pair<uint32_t, std::string>> Filesystem::OstServers() const {
  const std::shared_ptr<const Cluster> cluster = state_->cluster.Get();
  return {cluster->ost_servers.begin(), cluster->ost_servers.end()};
}

}  // namespace sheen::client
