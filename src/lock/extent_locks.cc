#include "lock/extent_locks.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"

namespace sheen::lock {
namespace {

Status CheckRequest(const ExtentRequest& request) {
  if (!IsMode(static_cast<uint16_t>(request.mode)))
    return Fail(Errc::kInvalid, fmt::format("lock mode {}", static_cast<uint16_t>(request.mode)));
  if (!request.extent.Valid())
    return Fail(Errc::kInvalid,
                fmt::format("lock extent [{},{})", request.extent.start, request.extent.end));
  if ((request.mode == Mode::kGroup) != (request.group_id != 0))
    return Fail(Errc::kInvalid,
                fmt::format("group id {} with a {} lock", request.group_id, NameOf(request.mode)));
  return {};
}

}  // namespace

ExtentLocks::Lock ExtentLocks::LockOf(const ExtentRequest& request) {
  Lock lock;
  lock.extent = request.extent;
  lock.owner = request.name.owner;
  lock.request = request;
  lock.mode = request.mode;
  return lock;
}

ExtentGrant ExtentLocks::GrantOf(const Lock& lock) {
  return {lock.request.name, lock.mode, lock.extent, lock.request.group_id, lock.recalled};
}

// ---- the tables ----

void ExtentLocks::Insert(Lock* lock) {
  const Side side = lock->granted ? kGranted : kWaiting;
  const size_t mode = IndexOf(lock->mode);
  trees_[side][mode].Insert(lock);
  Owner& owner = owners_[lock->owner];
  ++owner.lock_count;
  ++owner.counts[side][mode];
  if (IsWriting(lock->mode) && owner.writing_count++ == 0) ++writing_owner_count_;
  if (side == kWaiting) {
    owner.waiting.emplace(lock->sequence, lock);
    ++waiting_count_;
  }
}

// Out of tree and counts; `recalled` is cleared. The caller puts it back or destroys it.
void ExtentLocks::TakeOut(Lock* lock) {
  ClearRecalled(lock);
  const Side side = lock->granted ? kGranted : kWaiting;
  const size_t mode = IndexOf(lock->mode);
  trees_[side][mode].Erase(*lock);
  const auto found = owners_.find(lock->owner);
  Owner& owner = found->second;
  --owner.counts[side][mode];
  if (IsWriting(lock->mode) && --owner.writing_count == 0) --writing_owner_count_;
  if (side == kWaiting) {
    owner.waiting.erase(lock->sequence);
    --waiting_count_;
  }
  if (--owner.lock_count == 0) owners_.erase(found);
}

// An owner that has something to give back goes before all waiters, so its own may be free to go.
void ExtentLocks::MarkRecalled(Lock* lock, ByArrival* candidates) {
  lock->recalled = true;
  Owner& owner = owners_[lock->owner];
  if (owner.recalled_count++ == 0) candidates->insert(owner.waiting.begin(), owner.waiting.end());
}

void ExtentLocks::ClearRecalled(Lock* lock) {
  if (!lock->recalled) return;
  lock->recalled = false;
  --owners_[lock->owner].recalled_count;
}

void ExtentLocks::AddWaitingConflicts(const Lock& lock, ByArrival* candidates) const {
  VisitConflicts(kWaiting, lock, [candidates](Lock* waiter) {
    candidates->emplace(waiter->sequence, waiter);
    return false;
  });
}

// What waited for the lock becomes a candidate; the lock itself is none any more.
void ExtentLocks::Remove(LockName name, ByArrival* candidates) {
  const auto found = locks_.find(name);
  Lock* const lock = found->second.get();
  TakeOut(lock);
  AddWaitingConflicts(*lock, candidates);
  candidates->erase(lock->sequence);
  locks_.erase(found);
}

// The older entry makes room: with two others in memory there are two writers, whoever asks.
void ExtentLocks::RememberWriter(const Lock& lock, Nanos now) {
  ForgetWriter(lock.owner);
  if (past_writers_.size() == 2) past_writers_.erase(past_writers_.begin());
  past_writers_.push_back({lock.owner, now + kWriterMemory});
}

void ExtentLocks::ForgetWriter(uint64_t owner) {
  std::erase_if(past_writers_, [owner](const PastWriter& past) { return past.owner == owner; });
}

// ---- waiting and granting ----

bool ExtentLocks::Blocked(const Lock& lock) const {
  if (VisitConflicts(kGranted, lock, [](Lock*) { return true; })) return true;
  const auto owner = owners_.find(lock.owner);
  if (owner != owners_.end() && owner->second.recalled_count > 0) return false;
  return VisitConflicts(kWaiting, lock,
                        [&lock](Lock* other) { return other->sequence < lock.sequence; });
}

// REQUIRES: not Blocked, and in no tree: new, or taken out of those that wait.
void ExtentLocks::Grant(Lock* lock, Nanos now, ByArrival* candidates) {
  const bool in_the_way = VisitConflicts(kWaiting, *lock, [](Lock*) { return true; });
  lock->extent = in_the_way ? lock->request.extent : Grown(*lock, now);
  lock->granted = true;
  Insert(lock);
  if (in_the_way && !lock->request.brief) MarkRecalled(lock, candidates);
}

void ExtentLocks::CallBackConflicts(const Lock& wanted, bool own_too, ExtentChanges* changes,
                                    ByArrival* candidates) {
  VisitConflicts(kGranted, wanted, [&](Lock* held) {
    if (held->recalled || held->request.brief) return false;
    if (!own_too && held->owner == wanted.owner) return false;
    MarkRecalled(held, candidates);
    changes->callbacks.push_back({held->request.name, wanted.mode, wanted.extent});
    return false;
  });
}

// Grants the earliest candidate that can be, again and again. A candidate that stays blocked is
// looked at again only when something adds it again.
void ExtentLocks::Settle(ByArrival candidates, Nanos now, ExtentChanges* changes) {
  while (!candidates.empty()) {
    Lock* const lock = candidates.begin()->second;
    candidates.erase(candidates.begin());
    if (Blocked(*lock)) continue;
    TakeOut(lock);
    Grant(lock, now, &candidates);
    changes->granted.push_back(GrantOf(*lock));
  }
}

// ---- what the caller asks ----

Result<ExtentEnqueued> ExtentLocks::Enqueue(const ExtentRequest& request, Nanos now) {
  SHEEN_TRY(CheckRequest(request));
  ExtentEnqueued result;
  if (const auto known = locks_.find(request.name); known != locks_.end()) {
    if (known->second->request != request)
      return Fail(Errc::kInvalid, fmt::format("lock {} of session {} is another request",
                                              request.name.id, request.name.owner));
    if (known->second->granted) result.grant = GrantOf(*known->second);
    return result;
  }
  auto made = std::make_unique<Lock>(LockOf(request));
  Lock* const lock = made.get();
  lock->sequence = next_sequence_++;
  const bool blocked = Blocked(*lock);
  if (blocked && request.no_wait) return Fail(Errc::kAgain);
  locks_.emplace(request.name, std::move(made));
  ByArrival candidates;
  if (blocked) {
    Insert(lock);
    CallBackConflicts(*lock, /*own_too=*/true, &result.changes, &candidates);
  } else {
    Grant(lock, now, &candidates);
    result.grant = GrantOf(*lock);
  }
  Settle(std::move(candidates), now, &result.changes);
  return result;
}

Result<ExtentChanges> ExtentLocks::Cancel(LockName name, Nanos now) {
  const auto found = locks_.find(name);
  if (found == locks_.end()) return Fail(Errc::kNoEntry);
  const Lock& lock = *found->second;
  if (lock.recalled && IsWriting(lock.mode)) RememberWriter(lock, now);
  ByArrival candidates;
  Remove(name, &candidates);
  ExtentChanges changes;
  Settle(std::move(candidates), now, &changes);
  return changes;
}

Result<ExtentChanges> ExtentLocks::Convert(LockName name, Mode mode, const Extent& extent,
                                           Nanos now) {
  const auto found = locks_.find(name);
  if (found == locks_.end()) return Fail(Errc::kNoEntry);
  Lock* const lock = found->second.get();
  if (!lock->granted || !IsMode(static_cast<uint16_t>(mode)) || !IsNoStronger(mode, lock->mode) ||
      !extent.Valid() || !lock->extent.Contains(extent)) {
    return Fail(Errc::kInvalid, fmt::format("lock {} of session {} cannot become [{},{})", name.id,
                                            name.owner, extent.start, extent.end));
  }
  if (lock->recalled && IsWriting(lock->mode) && !IsWriting(mode)) RememberWriter(*lock, now);
  ByArrival candidates;
  AddWaitingConflicts(*lock, &candidates);
  TakeOut(lock);
  lock->mode = mode;
  lock->extent = extent;
  Insert(lock);
  ExtentChanges changes;
  VisitConflicts(kWaiting, *lock, [&](Lock* waiter) {
    changes.callbacks.push_back({name, waiter->mode, waiter->extent});
    MarkRecalled(lock, &candidates);
    return true;
  });
  Settle(std::move(candidates), now, &changes);
  return changes;
}

ExtentChanges ExtentLocks::CancelOwner(uint64_t owner, Nanos now) {
  ByArrival candidates;
  for (const LockName& name : NamesOf(owner)) Remove(name, &candidates);
  ForgetWriter(owner);
  ExtentChanges changes;
  Settle(std::move(candidates), now, &changes);
  return changes;
}

ExtentChanges ExtentLocks::Recall(uint64_t owner, Mode mode, const Extent& extent, Nanos now) {
  SHEEN_ASSERT(extent.Valid());
  const Lock wanted = LockOf({.name = {owner, 0}, .mode = mode, .extent = extent});
  ExtentChanges changes;
  ByArrival candidates;
  CallBackConflicts(wanted, /*own_too=*/false, &changes, &candidates);
  Settle(std::move(candidates), now, &changes);
  return changes;
}

// ---- looking ----

std::vector<LockName> ExtentLocks::Conflicting(uint64_t owner, Mode mode,
                                               const Extent& extent) const {
  const Lock wanted = LockOf({.name = {owner, 0}, .mode = mode, .extent = extent});
  std::vector<LockName> names;
  VisitConflicts(kGranted, wanted, [&](Lock* held) {
    if (held->owner != owner) names.push_back(held->request.name);
    return false;
  });
  return names;
}

std::vector<ExtentGrant> ExtentLocks::HighestWriters(uint64_t size, size_t count_max) const {
  std::vector<ExtentGrant> writers;
  if (count_max == 0) return writers;
  for (const Mode mode : kModes) {
    if (!IsWriting(mode)) continue;
    size_t count = 0;
    trees_[kGranted][IndexOf(mode)].VisitDown(size, [&](IntervalItem* lock) {
      writers.push_back(GrantOf(*static_cast<Lock*>(lock)));
      return ++count == count_max;
    });
  }
  std::ranges::sort(writers, [](const ExtentGrant& a, const ExtentGrant& b) {
    return a.extent.start != b.extent.start ? a.extent.start > b.extent.start : a.name < b.name;
  });
  if (writers.size() > count_max) writers.resize(count_max);
  return writers;
}

std::optional<ExtentGrant> ExtentLocks::Find(LockName name) const {
  const auto found = locks_.find(name);
  if (found == locks_.end() || !found->second->granted) return std::nullopt;
  return GrantOf(*found->second);
}

bool ExtentLocks::Waits(LockName name) const {
  const auto found = locks_.find(name);
  return found != locks_.end() && !found->second->granted;
}

std::vector<LockName> ExtentLocks::NamesOf(uint64_t owner) const {
  std::vector<LockName> names;
  for (auto it = locks_.lower_bound({owner, 0}); it != locks_.end() && it->first.owner == owner;
       ++it) {
    names.push_back(it->first);
  }
  return names;
}

std::vector<uint64_t> ExtentLocks::Owners() const {
  std::vector<uint64_t> owners;
  auto it = locks_.begin();
  while (it != locks_.end()) {
    owners.push_back(it->first.owner);
    it = locks_.upper_bound({owners.back(), UINT64_MAX});
  }
  return owners;
}

uint64_t ExtentLocks::steps() const {
  uint64_t sum = 0;
  for (const Trees& trees : trees_) {
    for (const auto& tree : trees) sum += tree.steps();
  }
  return sum;
}

}  // namespace sheen::lock
