// ExtentLocks: the lock table of one object. Who may read or write which bytes, who has to wait,
// and who is to be asked to give something back.
//
//   A: PW [0,EOF)  granted          Enqueue(B: PW [8,9)) -> waits, callbacks: {A's lock}
//   B: PW [8,9)    waits            Cancel(A's lock)     -> granted: {B: [8,9)}
//
// A lock is named by its client before it is asked for, so that a callback finds a request that is
// still under way and a request that is sent again changes nothing.
//
// Rules
//  - Conflict: extents overlap, modes are not compatible, owners differ. Group locks conflict with
//    everything outside their group, of the same owner too: its other processes must wait as well.
//  - Order: a request waits for the locks granted that conflict with it and for the requests that
//    came before it and conflict with it. Waiting ones keep their places.
//  - Except: an owner that has been asked to give a lock back and has not yet is never queued
//    behind a waiter, since giving back may need what it asks for (a page that is locked by a read
//    in flight). What it gets that way is as asked and to be given back at once.
//  - Each lock is called back once; again only after a Convert that leaves it in somebody's way. A
//    lock that is in a waiter's way when it is granted comes with `recalled` set: the grant is the
//    callback, so that no callback can overtake its grant.
//  - Growth: see extent_growth.cc.
//
// Not thread-safe: the object's latch is the caller's. Pure: times are passed in and must not go
// back. Lists of callbacks and grants are for the caller to send, in their order.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "lock/extent.h"
#include "lock/interval_tree.h"
#include "lock/mode.h"
#include "sheen/result.h"

namespace sheen::lock {

struct LockName {
  uint64_t owner = 0;  // the session
  uint64_t id = 0;     // made by the client, unique in its session
  auto operator<=>(const LockName&) const = default;
};

struct ExtentRequest {
  LockName name;
  Mode mode = Mode::kPr;
  Extent extent;
  uint64_t group_id = 0;  // of kGroup; 0 otherwise
  bool exact = false;     // do not grow
  bool no_wait = false;   // refuse rather than wait or call anybody back
  bool brief = false;     // ends by itself, soon: is never called back
  bool operator==(const ExtentRequest&) const = default;
};

struct ExtentGrant {
  LockName name;
  Mode mode = Mode::kPr;
  Extent extent;
  uint64_t group_id = 0;
  bool recalled = false;  // to be given back as soon as the request that needed it is done
  bool operator==(const ExtentGrant&) const = default;
};

// Ask `name` to give back what conflicts: cancel, or convert to what does not.
struct ExtentCallback {
  LockName name;
  Mode wanted = Mode::kPr;
  Extent wanted_extent;
  bool operator==(const ExtentCallback&) const = default;
};

struct ExtentChanges {
  std::vector<ExtentGrant> granted;  // requests that waited
  std::vector<ExtentCallback> callbacks;
};

struct ExtentEnqueued {
  std::optional<ExtentGrant> grant;  // none: it waits
  ExtentChanges changes;
};

class ExtentLocks final {
 public:
  // How long an owner that lost a write lock to somebody counts as a writer still: in that time it
  // comes back if it is one of several who write in turns. Lustre's contention window is as long.
  static constexpr Nanos kWriterMemory = std::chrono::seconds(4);

  ExtentLocks() = default;
  ExtentLocks(const ExtentLocks&) = delete;
  ExtentLocks& operator=(const ExtentLocks&) = delete;

  // A name that is known gives the lock's present state and changes nothing (a resend). After a
  // restart a client re-asserts what it held: exact, no_wait, the extent that was granted.
  // Errors: kInvalid (extent, mode or group id; the name is of a different request); kAgain
  // (no_wait, and it would have to).
  Result<ExtentEnqueued> Enqueue(const ExtentRequest& request, Nanos now);
  // Gives a lock back, or takes a waiting request out of the queue.
  // Errors: kNoEntry: there is none (a resend, or evicted).
  Result<ExtentChanges> Cancel(LockName name, Nanos now);
  // Keeps a part of a granted lock: an extent inside the present one, a mode no stronger.
  // Errors: kNoEntry; kInvalid (it waits, or that would be more than it has).
  Result<ExtentChanges> Convert(LockName name, Mode mode, const Extent& extent, Nanos now);
  // All locks and requests of an owner whose session ended.
  ExtentChanges CancelOwner(uint64_t owner, Nanos now);
  // Calls back what conflicts with an access that takes no lock: others' locks on these bytes, for
  // writes of mapped pages, which must not wait. Locks called back before are not listed again;
  // the caller waits for all that Conflicting lists.
  ExtentChanges Recall(uint64_t owner, Mode mode, const Extent& extent, Nanos now);

  // ---- looking ----
  std::vector<LockName> Conflicting(uint64_t owner, Mode mode, const Extent& extent) const;
  // Glimpse: granted write locks that reach beyond `size`, from the highest down, at most
  // `count_max`. PW locks are asked from the top until one says that it was written under; modes
  // that share (CW, GROUP) are all asked.
  std::vector<ExtentGrant> HighestWriters(uint64_t size, size_t count_max) const;
  std::optional<ExtentGrant> Find(LockName name) const;  // granted
  bool Waits(LockName name) const;
  // Locks and requests of an owner.
  std::vector<LockName> NamesOf(uint64_t owner) const;
  // Who has locks or requests here, each once.
  std::vector<uint64_t> Owners() const;
  size_t granted_count() const { return locks_.size() - waiting_count_; }
  size_t waiting_count() const { return waiting_count_; }
  bool empty() const { return locks_.empty(); }
  // Work done so far, in tree nodes looked at.
  uint64_t steps() const;

 private:
  // Its extent is as granted, and as asked while it waits; its sequence is the order of arrival.
  struct Lock : IntervalItem {
    ExtentRequest request;
    Mode mode = Mode::kPr;  // as granted
    bool granted = false;
    bool recalled = false;
  };
  using Trees = std::array<IntervalTree, kModeCount>;  // by mode
  using ByArrival = std::map<uint64_t, Lock*>;
  // One side of the table: what is granted, or what waits. Here and in Owner.
  enum Side : size_t { kGranted = 0, kWaiting = 1 };
  struct Owner {
    std::array<std::array<uint32_t, kModeCount>, 2> counts{};  // by side and mode
    uint32_t lock_count = 0;
    uint32_t writing_count = 0;   // of the locks: those of writing modes, waiting ones too
    uint32_t recalled_count = 0;  // of the locks: called back and not yet given back
    ByArrival waiting;
  };
  struct PastWriter {
    uint64_t owner = 0;
    Nanos until{0};
  };

  // Calls visit(Lock*) for what conflicts on one side, until it returns true. Whether it did.
  template <class F>
  bool VisitConflicts(Side side, const Lock& lock, F&& visit) const;
  bool Blocked(const Lock& lock) const;
  Extent Grown(const Lock& lock, Nanos now) const;          // extent_growth.cc
  bool HasTwoWriters(const Lock& lock, Nanos now) const;    // extent_growth.cc
  size_t ConflictCount(Side side, const Lock& lock) const;  // extent_growth.cc

  void Insert(Lock* lock);
  void TakeOut(Lock* lock);
  void Grant(Lock* lock, Nanos now, ByArrival* candidates);
  void MarkRecalled(Lock* lock, ByArrival* candidates);
  void ClearRecalled(Lock* lock);
  void CallBackConflicts(const Lock& wanted, bool own_too, ExtentChanges* changes,
                         ByArrival* candidates);
  void Remove(LockName name, ByArrival* candidates);
  void AddWaitingConflicts(const Lock& lock, ByArrival* candidates) const;
  void RememberWriter(const Lock& lock, Nanos now);
  void ForgetWriter(uint64_t owner);
  void Settle(ByArrival candidates, Nanos now, ExtentChanges* changes);
  static Lock LockOf(const ExtentRequest& request);
  static ExtentGrant GrantOf(const Lock& lock);

  std::map<LockName, std::unique_ptr<Lock>> locks_;
  std::unordered_map<uint64_t, Owner> owners_;  // those that have a lock or a request here
  std::array<Trees, 2> trees_;                  // by side
  size_t waiting_count_ = 0;
  size_t writing_owner_count_ = 0;  // with writing_count > 0
  uint64_t next_sequence_ = 1;
  std::vector<PastWriter> past_writers_;  // the last two: they are as good as many
};

template <class F>
bool ExtentLocks::VisitConflicts(Side side, const Lock& lock, F&& visit) const {
  for (const Mode mode : kModes) {
    if (Compatible(lock.mode, mode)) continue;
    const bool group = lock.mode == Mode::kGroup || mode == Mode::kGroup;
    const auto not_of = group ? std::nullopt : std::optional(lock.owner);
    const auto visit_other = [&](IntervalItem* item) {
      Lock* const other = static_cast<Lock*>(item);
      if (other == &lock) return false;
      const bool same_group = other->request.group_id == lock.request.group_id;
      if (Compatible(lock.mode, mode, same_group)) return false;
      return visit(other);
    };
    if (trees_[side][IndexOf(mode)].Visit(lock.extent, not_of, visit_other)) return true;
  }
  return false;
}

}  // namespace sheen::lock
