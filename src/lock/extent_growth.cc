// How much more than it asked for a lock is given.
//
// Asking costs a round trip, so a lone user gets all there is: one lock an object instead of one a
// write. With several writers the same generosity is what makes every write call back somebody's
// lock. So, in this order:
//   1. As asked: requests marked exact, group locks, and all requests while the object has two
//      writers: owners with a write lock, with a request for one, or who lost one to somebody
//      within kWriterMemory. (Grant adds: a lock that is in a waiter's way, since it is given back
//      at once.)
//   2. Otherwise up to the start of the next lock or request that conflicts, to the end of file
//      when there is none: files are mostly written upwards.
//   3. Downwards to the end of the nearest request that conflicts and waits, to 0 when there is
//      none; but not at all when conflicting locks are granted or more than 4 such requests wait.
//   4. With more than 32 conflicts not beyond 32 MiB from where it starts.
// 2 to 4 with their numbers are Lustre's (ldlm_extent.c, ldlm_extent_internal_policy_*). Readers
// without a writer conflict with nobody and each get the whole object.
#include <algorithm>

#include "lock/extent_locks.h"

namespace sheen::lock {
namespace {

constexpr size_t kWaitingForDownwardMax = 4;
constexpr size_t kConflictsForUnlimitedMax = 32;
constexpr uint64_t kGrownBytesMax = 32 << 20;

}  // namespace

// `lock` is being granted and in neither tree; its owner counts as a writer if it asks to write.
bool ExtentLocks::HasTwoWriters(const Lock& lock, Nanos now) const {
  const auto writes_now = [this](uint64_t id) {
    const auto owner = owners_.find(id);
    return owner != owners_.end() && owner->second.writing_count > 0;
  };
  const bool asks = IsWriting(lock.mode);
  size_t count = writing_owner_count_;
  if (asks && !writes_now(lock.owner)) ++count;
  for (const PastWriter& past : past_writers_) {
    const bool counted = writes_now(past.owner) || (asks && past.owner == lock.owner);
    if (past.until > now && !counted) ++count;
  }
  return count >= 2;
}

// Others' locks or requests on this object, wherever they are, of modes that conflict.
size_t ExtentLocks::ConflictCount(Side side, const Lock& lock) const {
  const auto owner = owners_.find(lock.owner);
  size_t count = 0;
  for (const Mode mode : kModes) {
    if (Compatible(lock.mode, mode)) continue;
    count += trees_[side][IndexOf(mode)].size();
    if (mode != Mode::kGroup && owner != owners_.end())
      count -= owner->second.counts[side][IndexOf(mode)];
  }
  return count;
}

Extent ExtentLocks::Grown(const Lock& lock, Nanos now) const {
  const Extent asked = lock.request.extent;
  if (lock.request.exact || lock.mode == Mode::kGroup || HasTwoWriters(lock, now)) return asked;
  const size_t granted = ConflictCount(kGranted, lock);
  const size_t waiting = ConflictCount(kWaiting, lock);
  Extent grown = Extent::Whole();
  for (const Mode mode : kModes) {
    if (Compatible(lock.mode, mode)) continue;
    const auto not_of = mode == Mode::kGroup ? std::nullopt : std::optional(lock.owner);
    for (const Trees& trees : trees_)
      grown.end = std::min(grown.end, trees[IndexOf(mode)].NextStart(asked.end, not_of));
  }
  if (granted > 0 || waiting > kWaitingForDownwardMax) {
    grown.start = asked.start;
  } else if (waiting > 0 && asked.start > 0) {
    Lock below = lock;
    below.extent = {0, asked.start};
    VisitConflicts(kWaiting, below, [&grown](Lock* waiter) {
      grown.start = std::max(grown.start, waiter->extent.end);
      return false;
    });
  }
  if (granted + waiting > kConflictsForUnlimitedMax)
    grown.end = std::min(grown.end, std::max(asked.end, asked.start + kGrownBytesMax));
  return grown;
}

}  // namespace sheen::lock
