#include "mds/lock_table.h"

#include <algorithm>
#include <utility>

namespace sheen::mds {
namespace {

void Call(const std::vector<std::function<void()>>& functions) {
  for (const std::function<void()>& function : functions) function();
}

template <class To, class From>
void Append(To* to, From* from) {
  to->insert(to->end(), std::make_move_iterator(from->begin()),
             std::make_move_iterator(from->end()));
  from->clear();
}

}  // namespace

bool LockTable::Conflicts(const Holder& holder, const Fid& fid, uint32_t bits,
                          const SetAside& aside) {
  if ((holder.bits & bits) == 0) return false;
  if (holder.peer->session_id() != aside.session) return true;
  return std::ranges::find(aside.fids, fid) == aside.fids.end();
}

uint32_t LockTable::Grant(const Fid& fid, uint32_t bits, const PeerPtr& peer, Owner owner) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  // After this test a connection that ends finds its locks here: DropPeer takes the mutex later.
  if (peer->ended()) return 0;
  if ((bits & lock::kLayout) != 0 && IsHeld(fid)) return 0;
  const auto found = bucket.resources.find(fid);
  if (found != bucket.resources.end()) {
    for (const Change& change : found->second.changes) {
      if (change.owner != owner && (change.bits & bits) != 0) return 0;
    }
    for (Holder& holder : found->second.holders) {
      if (holder.peer->id() != peer->id()) continue;
      // Being asked back: the answer on its way would take away what is granted now.
      if ((holder.called & bits) != 0) return 0;
      holder.bits |= bits;
      return bits;
    }
  }
  if (size_.load(std::memory_order_relaxed) >= locks_max()) return 0;
  size_.fetch_add(1, std::memory_order_relaxed);
  bucket.resources[fid].holders.push_back({peer, bits, 0});
  return bits;
}

bool LockTable::Announce(Owner owner, const Fid& fid, uint32_t bits, const SetAside& aside,
                         std::vector<LockCall>* calls) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  Resource& resource = bucket.resources[fid];
  const auto own = std::ranges::find(resource.changes, owner, &Change::owner);
  if (own == resource.changes.end()) {
    resource.changes.push_back({owner, bits});
  } else {
    own->bits |= bits;
  }
  bool free = true;
  for (Holder& holder : resource.holders) {
    if (!Conflicts(holder, fid, bits, aside)) continue;
    free = false;
    const uint32_t wanted = holder.bits & bits & ~holder.called;
    if (wanted == 0) continue;
    holder.called |= wanted;
    calls->push_back({holder.peer, fid, wanted});
  }
  return free;
}

void LockTable::Finish(Owner owner, const Fid& fid, bool gone) {
  Wakes wakes;
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.resources.find(fid);
    if (found == bucket.resources.end()) return;
    Resource& resource = found->second;
    std::erase_if(resource.changes, [owner](const Change& c) { return c.owner == owner; });
    if (gone) {
      size_.fetch_sub(resource.holders.size(), std::memory_order_relaxed);
      resource.holders.clear();
      Append(&wakes, &resource.waiters);
    }
    if (resource.holders.empty() && resource.changes.empty()) bucket.resources.erase(found);
  }
  Call(wakes);
}

bool LockTable::Wait(Owner owner, const Fid& fid, const SetAside& aside,
                     std::function<void()> wake) {
  Bucket& bucket = BucketOf(fid);
  const std::scoped_lock lock(bucket.mutex);
  const auto found = bucket.resources.find(fid);
  if (found == bucket.resources.end()) return false;
  Resource& resource = found->second;
  const auto own = std::ranges::find(resource.changes, owner, &Change::owner);
  if (own == resource.changes.end()) return false;
  const bool waits = std::ranges::any_of(resource.holders, [&](const Holder& holder) {
    return Conflicts(holder, fid, own->bits, aside);
  });
  if (!waits || waiting_ended_.load()) return false;
  resource.waiters.push_back(std::move(wake));
  return true;
}

void LockTable::EndWaiting() {
  waiting_ended_.store(true);
  for (Bucket& bucket : buckets_) {
    Wakes wakes;
    {
      const std::scoped_lock lock(bucket.mutex);
      for (auto& [fid, resource] : bucket.resources) Append(&wakes, &resource.waiters);
    }
    for (const auto& wake : wakes) wake();
  }
}

void LockTable::Remove(Resource* resource, size_t index, Wakes* wakes) {
  resource->holders[index] = std::move(resource->holders.back());
  resource->holders.pop_back();
  size_.fetch_sub(1, std::memory_order_relaxed);
  Append(wakes, &resource->waiters);
}

void LockTable::Release(uint64_t peer_id, const Fid& fid, uint32_t bits) {
  Wakes wakes;
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.resources.find(fid);
    if (found == bucket.resources.end()) return;
    Resource& resource = found->second;
    for (size_t i = 0; i < resource.holders.size(); ++i) {
      Holder& holder = resource.holders[i];
      if (holder.peer->id() != peer_id) continue;
      holder.bits &= ~bits;
      holder.called &= ~bits;
      if (holder.bits == 0) {
        Remove(&resource, i, &wakes);
      } else {
        Append(&wakes, &resource.waiters);
      }
      break;
    }
    if (resource.holders.empty() && resource.changes.empty()) bucket.resources.erase(found);
  }
  Call(wakes);
}

void LockTable::ReleaseSession(uint64_t session_id, const Fid& fid, uint32_t bits) {
  std::vector<uint64_t> peers;
  {
    Bucket& bucket = BucketOf(fid);
    const std::scoped_lock lock(bucket.mutex);
    const auto found = bucket.resources.find(fid);
    if (found == bucket.resources.end()) return;
    for (const Holder& holder : found->second.holders) {
      // What was called back goes with the answer: a later one would take a new grant for it.
      const bool called = (holder.called & bits) != 0;
      if (holder.peer->session_id() == session_id && !called) peers.push_back(holder.peer->id());
    }
  }
  for (const uint64_t peer : peers) Release(peer, fid, bits);
}

bool LockTable::Hold(const Fid& fid, const HoldOwner& owner, Nanos now) {
  const std::scoped_lock lock(holds_mutex_);
  LayoutHold& hold = holds_[fid];
  hold_count_.store(holds_.size());
  if (!hold.owner.empty() && hold.owner != owner) return false;
  hold = {owner, now};
  return true;
}

bool LockTable::RenewHold(const Fid& fid, const HoldOwner& owner, Nanos now) {
  const std::scoped_lock lock(holds_mutex_);
  const auto found = holds_.find(fid);
  if (found == holds_.end() || found->second.owner != owner) return false;
  found->second.renewed = now;
  return true;
}

template <class Matches>
std::vector<Fid> LockTable::EndHoldsWhere(Matches matches) {
  std::vector<Fid> ended;
  if (hold_count_.load() == 0) return ended;
  const std::scoped_lock lock(holds_mutex_);
  for (auto at = holds_.begin(); at != holds_.end();) {
    const bool ends = matches(at->second);
    if (ends) ended.push_back(at->first);
    at = ends ? holds_.erase(at) : std::next(at);
  }
  hold_count_.store(holds_.size());
  return ended;
}

std::vector<Fid> LockTable::EndHoldsOf(uint64_t session) {
  return EndHoldsWhere([session](const auto& hold) { return hold.owner.session == session; });
}

std::vector<Fid> LockTable::EndSilentHolds(Nanos now) {
  return EndHoldsWhere([now](const auto& hold) { return now - hold.renewed >= kHoldMax; });
}

void LockTable::EndHold(const Fid& fid, const HoldOwner& owner) {
  if (hold_count_.load() == 0) return;
  const std::scoped_lock lock(holds_mutex_);
  const auto found = holds_.find(fid);
  if (found == holds_.end() || found->second.owner != owner) return;
  holds_.erase(found);
  hold_count_.store(holds_.size());
}

HoldOwner LockTable::HolderOf(const Fid& fid) const {
  if (hold_count_.load() == 0) return {};
  const std::scoped_lock lock(holds_mutex_);
  const auto found = holds_.find(fid);
  return found == holds_.end() ? HoldOwner() : found->second.owner;
}

template <class Matches>
void LockTable::DropWhere(Matches matches) {
  for (Bucket& bucket : buckets_) {
    Wakes wakes;
    {
      const std::scoped_lock lock(bucket.mutex);
      for (auto at = bucket.resources.begin(); at != bucket.resources.end();) {
        Resource& resource = at->second;
        for (size_t i = resource.holders.size(); i-- > 0;) {
          if (matches(*resource.holders[i].peer)) Remove(&resource, i, &wakes);
        }
        const bool empty = resource.holders.empty() && resource.changes.empty();
        at = empty ? bucket.resources.erase(at) : std::next(at);
      }
    }
    Call(wakes);
  }
}

void LockTable::DropPeer(uint64_t peer_id) {
  DropWhere([peer_id](const rpc::Peer& peer) { return peer.id() == peer_id; });
}

void LockTable::DropSession(uint64_t session_id) {
  DropWhere([session_id](const rpc::Peer& peer) { return peer.session_id() == session_id; });
}

}  // namespace sheen::mds
