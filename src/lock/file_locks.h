// FileLocks: the flock(2) and fcntl(2) locks of one file, for all clients.
//
//   P: write [0,100)          Set(P, unlock [40,60)) -> P: write [0,40), write [60,100)
//   Q waits: read [50,55)                              granted: {Q's request}
//
// There are three kinds that know nothing of each other: flock locks, of an open file description
// and always of the whole file; record locks, of a process (POSIX) or of a description (OFD), of
// byte ranges; and a client's own, for the time of an append, of the end of the file. Locks of one
// owner split, merge and replace each other as fcntl(2) says.
//
// Rules, Linux's (fs/locks.c) where the manual pages leave room
//  - A request waits for locks held, not for others that wait; waiting ones are tried in order of
//    arrival when something is let go.
//  - flock changes its type by letting go first: a request that is refused, or waits, has lost the
//    lock that its owner had.
//  - A wait of a POSIX lock that would close a circle of waits fails (EDEADLK); flock and OFD locks
//    are not looked at. See deadlock.h.
//  - These locks are never called back and never time out.
//
// Not thread-safe: all FileLocks of one DeadlockGraph are used under one lock, or on one shard.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "lock/extent.h"
#include "lock/interval_tree.h"
#include "sheen/result.h"

namespace sheen::lock {

class DeadlockGraph;

// Stable on the wire: never renumber.
enum class FileLockKind : uint8_t { kFlock = 0, kPosix = 1, kOfd = 2, kAppend = 3 };
enum class FileLockType : uint8_t { kRead = 0, kWrite = 1, kUnlock = 2 };

struct FileLockOwner {
  uint64_t client = 0;  // the session
  uint64_t owner = 0;   // the kernel's lock owner at that client
  FileLockKind kind = FileLockKind::kPosix;
  auto operator<=>(const FileLockOwner&) const = default;
};

// A request has a name of its client's making, by which its end is told and it can be given up.
struct FileLockRequestName {
  uint64_t client = 0;
  uint64_t id = 0;
  auto operator<=>(const FileLockRequestName&) const = default;
};

struct FileLockRequest {
  FileLockOwner owner;
  uint64_t id = 0;
  FileLockType type = FileLockType::kRead;
  Extent extent;     // of flock: taken as the whole file
  uint32_t pid = 0;  // for F_GETLK of others
  bool wait = false;
  FileLockRequestName name() const { return {owner.client, id}; }
};

struct FileLock {
  FileLockOwner owner;
  FileLockType type = FileLockType::kRead;
  Extent extent;
  uint32_t pid = 0;
  bool operator==(const FileLock&) const = default;
};

// What became of requests that waited.
struct FileLockChanges {
  std::vector<FileLockRequestName> granted;
  std::vector<FileLockRequestName> deadlocked;  // to be answered EDEADLK
};

enum class FileLockOutcome : uint8_t {
  kGranted,
  kWaiting,
  kRefused,   // EAGAIN
  kDeadlock,  // EDEADLK
};

struct FileLockAnswer {
  FileLockOutcome outcome = FileLockOutcome::kGranted;
  FileLockChanges changes;
};

class FileLocks final {
 public:
  // `graph` outlives it.
  explicit FileLocks(DeadlockGraph* graph);
  ~FileLocks();
  FileLocks(const FileLocks&) = delete;
  FileLocks& operator=(const FileLocks&) = delete;

  // F_SETLK, F_SETLKW (wait), flock. A request that waits already still does (a resend).
  // Errors: kInvalid: extent, type or kind; nothing changed.
  Result<FileLockAnswer> Set(const FileLockRequest& request);
  // F_GETLK: the lowest lock that would keep the owner from having this; none: it could.
  // Errors: kInvalid: extent, type or kind.
  Result<std::optional<FileLock>> Test(const FileLockOwner& owner, FileLockType type,
                                       Extent extent) const;
  // The requester does not wait any more (a signal). False: it does not wait, it may have been
  // granted: then the client has the lock and lets go of it itself.
  bool Abandon(FileLockRequestName name);
  // At close: what the owner holds, not what other threads of it wait for.
  FileLockChanges ReleaseOwner(const FileLockOwner& owner);
  // The session ended: all that it holds and waits for.
  FileLockChanges ReleaseClient(uint64_t client);

  // By owner and start.
  std::vector<FileLock> Held() const;
  // Ranges held, over all owners.
  size_t held_count() const { return held_count_; }
  size_t waiting_count() const { return requests_.size(); }
  bool empty() const { return owners_.empty() && requests_.empty(); }

  // For DeadlockGraph: calls visit(const FileLockOwner&) for each lock held that conflicts, until
  // it returns true. Whether it did.
  template <class F>
  bool VisitBlockers(const FileLockRequest& request, F&& visit) const;

 private:
  struct Range : IntervalItem {
    const FileLockOwner* holder = nullptr;
    FileLockType type = FileLockType::kRead;
    uint32_t pid = 0;
  };
  // Its sequence is the order of arrival.
  struct Waiter : IntervalItem {
    FileLockRequest request;
  };
  struct Owner {
    uint64_t number = 0;               // IntervalItem::owner of its ranges
    std::map<uint64_t, Range> ranges;  // by start; they do not overlap
  };
  using Owners = std::map<FileLockOwner, Owner>;
  using ByArrival = std::map<uint64_t, Waiter*>;
  // flock locks and record locks are two worlds.
  struct World {
    std::array<IntervalTree, 2> held;  // by type
    IntervalTree waiting;
  };

  static bool Excludes(FileLockType a, FileLockType b) {
    return a == FileLockType::kWrite || b == FileLockType::kWrite;
  }
  static bool IsFlock(FileLockKind kind) { return kind == FileLockKind::kFlock; }
  static size_t WorldIndex(FileLockKind kind) {
    if (IsFlock(kind)) return 0;
    return kind == FileLockKind::kAppend ? 2 : 1;
  }
  World& WorldOf(FileLockKind kind) { return worlds_[WorldIndex(kind)]; }
  const World& WorldOf(FileLockKind kind) const { return worlds_[WorldIndex(kind)]; }
  // Others' ranges held with this type.
  template <class F>
  bool VisitHeld(const FileLockOwner& owner, FileLockType held, const Extent& extent,
                 F&& visit) const;
  bool Blocked(const FileLockRequest& request) const;

  void AddRange(Owners::value_type* owner, const Extent& extent, FileLockType type, uint32_t pid);
  std::map<uint64_t, Range>::iterator EraseRange(Owner* owner, FileLockKind kind,
                                                 std::map<uint64_t, Range>::iterator range);
  bool Carve(Owners::value_type* owner, const Extent& extent, FileLockType type);
  bool Apply(const FileLockOwner& owner, const Extent& extent, FileLockType type, uint32_t pid);
  void Wait(const FileLockRequest& request);
  void StopWaiting(Waiter* waiter);
  void AddWaiting(FileLockKind kind, const Extent& extent, ByArrival* candidates);
  void Grant(const FileLockRequest& request, ByArrival* candidates, FileLockChanges* changes);
  void BreakCircles(const FileLockRequest& granted, ByArrival* candidates,
                    FileLockChanges* changes);
  void Settle(ByArrival candidates, FileLockChanges* changes);

  DeadlockGraph* const graph_;
  Owners owners_;  // those that hold something
  std::map<FileLockRequestName, std::unique_ptr<Waiter>> requests_;
  std::array<World, 3> worlds_;
  uint64_t next_number_ = 1;  // of owners, ranges and waiters
  size_t held_count_ = 0;
};

template <class F>
bool FileLocks::VisitHeld(const FileLockOwner& owner, FileLockType held, const Extent& extent,
                          F&& visit) const {
  const auto self = owners_.find(owner);
  const auto not_of =
      self == owners_.end() ? std::nullopt : std::optional<uint64_t>(self->second.number);
  const IntervalTree& tree = WorldOf(owner.kind).held[static_cast<size_t>(held)];
  return tree.Visit(extent, not_of, [&visit](IntervalItem* item) {
    return visit(*static_cast<const Range*>(item));
  });
}

template <class F>
bool FileLocks::VisitBlockers(const FileLockRequest& request, F&& visit) const {
  const auto visit_holder = [&visit](const Range& range) { return visit(*range.holder); };
  for (const FileLockType held : {FileLockType::kWrite, FileLockType::kRead}) {
    if (Excludes(held, request.type) &&
        VisitHeld(request.owner, held, request.extent, visit_holder))
      return true;
  }
  return false;
}

}  // namespace sheen::lock
