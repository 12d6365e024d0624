#include "lock/file_locks.h"

#include <fmt/core.h>

#include <utility>

#include "lock/deadlock.h"

namespace sheen::lock {
namespace {

Status Check(FileLockKind kind, FileLockType type, const Extent& extent) {
  if (kind > FileLockKind::kAppend || type > FileLockType::kUnlock)
    return Fail(Errc::kInvalid, fmt::format("file lock of kind {}, type {}", static_cast<int>(kind),
                                            static_cast<int>(type)));
  if (!extent.Valid())
    return Fail(Errc::kInvalid, fmt::format("file lock [{},{})", extent.start, extent.end));
  return {};
}

}  // namespace

FileLocks::FileLocks(DeadlockGraph* graph) : graph_(graph) {}

FileLocks::~FileLocks() {
  for (const auto& [name, waiter] : requests_) graph_->RemoveWait(&waiter->request);
}

bool FileLocks::Blocked(const FileLockRequest& request) const {
  return VisitBlockers(request, [](const FileLockOwner&) { return true; });
}

// ---- ranges of one owner ----

void FileLocks::AddRange(Owners::value_type* owner, const Extent& extent, FileLockType type,
                         uint32_t pid) {
  ++held_count_;
  Range& range = owner->second.ranges[extent.start];
  range.extent = extent;
  range.owner = owner->second.number;
  range.sequence = next_number_++;
  range.holder = &owner->first;
  range.type = type;
  range.pid = pid;
  WorldOf(owner->first.kind).held[static_cast<size_t>(type)].Insert(&range);
}

std::map<uint64_t, FileLocks::Range>::iterator FileLocks::EraseRange(
    Owner* owner, FileLockKind kind, std::map<uint64_t, Range>::iterator range) {
  --held_count_;
  WorldOf(kind).held[static_cast<size_t>(range->second.type)].Erase(range->second);
  return owner->ranges.erase(range);
}

// Takes `extent` out of what the owner has; what sticks out on both sides stays. Whether somebody
// else may have more now, `type` being what comes in its place.
bool FileLocks::Carve(Owners::value_type* owner, const Extent& extent, FileLockType type) {
  auto& ranges = owner->second.ranges;
  auto range = ranges.lower_bound(extent.start);
  if (range != ranges.begin() && std::prev(range)->second.extent.Overlaps(extent)) --range;
  bool weaker = false;
  while (range != ranges.end() && range->second.extent.Overlaps(extent)) {
    const Extent old = range->second.extent;
    const FileLockType old_type = range->second.type;
    const uint32_t pid = range->second.pid;
    range = EraseRange(&owner->second, owner->first.kind, range);
    if (old.start < extent.start) AddRange(owner, {old.start, extent.start}, old_type, pid);
    if (old.end > extent.end) AddRange(owner, {extent.end, old.end}, old_type, pid);
    weaker |= type == FileLockType::kUnlock ||
              (type == FileLockType::kRead && old_type == FileLockType::kWrite);
  }
  return weaker;
}

// Makes [extent) of the owner be of this type. Neighbours of the same type become one range, with
// the pid that came last. Whether somebody else may have more now.
bool FileLocks::Apply(const FileLockOwner& name, const Extent& extent, FileLockType type,
                      uint32_t pid) {
  auto found = owners_.find(name);
  if (found == owners_.end()) {
    if (type == FileLockType::kUnlock) return false;
    found = owners_.try_emplace(name).first;
    found->second.number = next_number_++;
  }
  const bool weaker = Carve(&*found, extent, type);
  auto& ranges = found->second.ranges;
  if (type == FileLockType::kUnlock) {
    if (ranges.empty()) owners_.erase(found);
    return weaker;
  }
  Extent merged = extent;
  auto next = ranges.lower_bound(extent.start);
  if (next != ranges.end() && next->second.type == type && next->first == extent.end) {
    merged.end = next->second.extent.end;
    next = EraseRange(&found->second, name.kind, next);
  }
  if (next != ranges.begin()) {
    const auto previous = std::prev(next);
    if (previous->second.type == type && previous->second.extent.end == extent.start) {
      merged.start = previous->first;
      EraseRange(&found->second, name.kind, previous);
    }
  }
  AddRange(&*found, merged, type, pid);
  return weaker;
}

// ---- waiting and granting ----

void FileLocks::Wait(const FileLockRequest& request) {
  auto made = std::make_unique<Waiter>();
  made->extent = request.extent;
  made->sequence = next_number_++;
  made->request = request;
  WorldOf(request.owner.kind).waiting.Insert(made.get());
  if (request.owner.kind == FileLockKind::kPosix) graph_->AddWait(this, &made->request);
  requests_.emplace(request.name(), std::move(made));
}

void FileLocks::StopWaiting(Waiter* waiter) {
  graph_->RemoveWait(&waiter->request);
  WorldOf(waiter->request.owner.kind).waiting.Erase(*waiter);
  requests_.erase(waiter->request.name());
}

void FileLocks::AddWaiting(FileLockKind kind, const Extent& extent, ByArrival* candidates) {
  WorldOf(kind).waiting.Visit(extent, {}, [candidates](IntervalItem* item) {
    candidates->emplace(item->sequence, static_cast<Waiter*>(item));
    return false;
  });
}

// REQUIRES: not Blocked, and not in requests_ any more.
void FileLocks::Grant(const FileLockRequest& request, ByArrival* candidates,
                      FileLockChanges* changes) {
  if (Apply(request.owner, request.extent, request.type, request.pid))
    AddWaiting(request.owner.kind, request.extent, candidates);
  if (request.type != FileLockType::kUnlock) BreakCircles(request, candidates, changes);
}

// Those who wait for what was granted just now wait for its owner from now on. If that one waits
// too, for another thread's request, this may have closed a circle.
void FileLocks::BreakCircles(const FileLockRequest& granted, ByArrival* candidates,
                             FileLockChanges* changes) {
  if (!graph_->IsWaiting(granted.owner)) return;
  ByArrival behind;
  AddWaiting(granted.owner.kind, granted.extent, &behind);
  for (const auto& [sequence, waiter] : behind) {
    const FileLockOwner& owner = waiter->request.owner;
    if (owner.kind != FileLockKind::kPosix || owner == granted.owner) continue;
    if (!Excludes(granted.type, waiter->request.type)) continue;
    if (!graph_->LeadsBack(*this, waiter->request)) continue;
    changes->deadlocked.push_back(waiter->request.name());
    candidates->erase(sequence);
    StopWaiting(waiter);
  }
}

// Grants the earliest candidate that can be, again and again.
void FileLocks::Settle(ByArrival candidates, FileLockChanges* changes) {
  while (!candidates.empty()) {
    Waiter* const waiter = candidates.begin()->second;
    candidates.erase(candidates.begin());
    if (Blocked(waiter->request)) continue;
    const FileLockRequest request = waiter->request;
    StopWaiting(waiter);
    changes->granted.push_back(request.name());
    Grant(request, &candidates, changes);
  }
}

// ---- what the caller asks ----

Result<FileLockAnswer> FileLocks::Set(const FileLockRequest& asked) {
  FileLockRequest request = asked;
  if (IsFlock(request.owner.kind)) request.extent = Extent::Whole();
  SHEEN_TRY(Check(request.owner.kind, request.type, request.extent));
  FileLockAnswer answer;
  if (requests_.contains(request.name())) {
    answer.outcome = FileLockOutcome::kWaiting;
    return answer;
  }
  ByArrival candidates;
  const bool free = request.type == FileLockType::kUnlock || !Blocked(request);
  if (!free && IsFlock(request.owner.kind) &&
      Apply(request.owner, request.extent, FileLockType::kUnlock, 0)) {
    AddWaiting(request.owner.kind, request.extent, &candidates);
  }
  if (free) {
    Grant(request, &candidates, &answer.changes);
  } else if (!request.wait) {
    answer.outcome = FileLockOutcome::kRefused;
  } else if (request.owner.kind == FileLockKind::kPosix && graph_->LeadsBack(*this, request)) {
    answer.outcome = FileLockOutcome::kDeadlock;
  } else {
    answer.outcome = FileLockOutcome::kWaiting;
    Wait(request);
  }
  Settle(std::move(candidates), &answer.changes);
  return answer;
}

Result<std::optional<FileLock>> FileLocks::Test(const FileLockOwner& owner, FileLockType type,
                                                Extent extent) const {
  if (IsFlock(owner.kind)) extent = Extent::Whole();
  SHEEN_TRY(Check(owner.kind, type, extent));
  if (type == FileLockType::kUnlock) return Fail(Errc::kInvalid, "a test for no lock");
  std::optional<FileLock> lowest;
  for (const FileLockType held : {FileLockType::kRead, FileLockType::kWrite}) {
    if (!Excludes(held, type)) continue;
    VisitHeld(owner, held, extent, [&lowest](const Range& range) {
      if (!lowest || range.extent.start < lowest->extent.start)
        lowest = FileLock{*range.holder, range.type, range.extent, range.pid};
      return true;  // by rising start: the first is the lowest
    });
  }
  return lowest;
}

bool FileLocks::Abandon(FileLockRequestName name) {
  const auto found = requests_.find(name);
  if (found == requests_.end()) return false;
  StopWaiting(found->second.get());
  return true;
}

FileLockChanges FileLocks::ReleaseOwner(const FileLockOwner& owner) {
  FileLockChanges changes;
  ByArrival candidates;
  if (Apply(owner, Extent::Whole(), FileLockType::kUnlock, 0))
    AddWaiting(owner.kind, Extent::Whole(), &candidates);
  Settle(std::move(candidates), &changes);
  return changes;
}

FileLockChanges FileLocks::ReleaseClient(uint64_t client) {
  for (auto it = requests_.lower_bound({client, 0});
       it != requests_.end() && it->first.client == client;) {
    StopWaiting((it++)->second.get());
  }
  FileLockChanges changes;
  ByArrival candidates;
  for (auto it = owners_.lower_bound({client, 0, FileLockKind::kFlock});
       it != owners_.end() && it->first.client == client;) {
    const FileLockOwner owner = (it++)->first;
    Apply(owner, Extent::Whole(), FileLockType::kUnlock, 0);
    AddWaiting(owner.kind, Extent::Whole(), &candidates);
  }
  Settle(std::move(candidates), &changes);
  return changes;
}

std::vector<FileLock> FileLocks::Held() const {
  std::vector<FileLock> held;
  for (const auto& [name, owner] : owners_) {
    for (const auto& [start, range] : owner.ranges)
      held.push_back({name, range.type, range.extent, range.pid});
  }
  return held;
}

}  // namespace sheen::lock
