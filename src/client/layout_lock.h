// LayoutLock: whether the layout of an open file may be used for I/O.
//
//   held      the MDS's lock on it (lock::kLayout) came with an answer: it does not change
//   going on  the MDS is away: what was held lately goes on being used (kGrace)
//   own       a handle of this mount has the layout in its hold (migrate): it goes on reading
//
// I/O goes by the layout that is kept here, never by OpenFile::layout(): answers to open, getattr
// and the like may bring one whose generation somebody's hold has raised, and the fence at that
// generation would let it pass. A layout that is used although it was replaced does no harm for
// kGrace: the OSSs refuse requests to objects that were fenced or destroyed, and remember the
// destroyed for longer than that. A lock belongs to the connection that brought it, as those of
// LockCache.
//
// Thread-safe. The mutex is a leaf.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>

#include "async/task.h"
#include "base/clock.h"
#include "client/lock_cache.h"
#include "client/types.h"

namespace sheen::client {

class OpenFile;
class State;

class LayoutLock final {
 public:
  // Shorter than the OSTs keep tombstones (60 s), by more than a request takes to arrive.
  static constexpr Nanos kGrace = std::chrono::seconds(40);
  // How long nobody asks again after the MDS did not answer.
  static constexpr Nanos kAskPause = std::chrono::seconds(5);

  void Take(const LockOrigin& origin, LayoutPtr layout);
  void Drop();
  // Where it came from, if it was not called back since.
  std::optional<LockOrigin> origin() const;
  // The MDS has said, to nobody's hold, that it is this one: a component came into being.
  void Renew(const LayoutPtr& layout);
  // The layout (null: the file has none yet) while its lock is held; notes that it was.
  std::optional<LayoutPtr> Held(const LockCache& locks, Nanos now);
  // It was held within kGrace; the MDS may be asked for it for a short time only.
  bool InGrace(Nanos now) const;
  // The MDS did not answer a moment ago.
  bool AskedInVain(Nanos now) const;
  // Then the one to go on with.
  std::optional<LayoutPtr> GoesOn(Nanos now) const;
  void GoOn(Nanos now);

  // Until EndOwn `handle` uses this one.
  void SetOwn(uint64_t handle, LayoutPtr layout);
  void EndOwn(uint64_t handle);
  LayoutPtr Own(uint64_t handle) const;

 private:
  bool InGraceLocked(Nanos now) const;
  bool AskedInVainLocked(Nanos now) const;

  mutable std::mutex mutex_;  // guards what follows
  bool taken_ = false;
  LayoutPtr layout_;
  LockOrigin origin_;
  Nanos held_at_{Nanos::min()};
  Nanos asked_at_{Nanos::min()};
  uint64_t own_handle_ = 0;
  LayoutPtr own_;
};

// An answer brought `bits` of the file, asked for at `sent` (LockCache::Moment). REQUIRES: its
// layout is in the file already.
void TakeLayoutLock(State* state, OpenFile* file, uint64_t sent, const LockOrigin& origin,
                    uint32_t bits);
// From now on nothing new goes by the known layout, nor is held back for its objects. The MDS has
// let go of the lock, or is about to be told.
void DropLayoutLock(OpenFile* file);
// As DropLayoutLock; the MDS, which does not know of it, is told sooner or later.
void GiveUpLayoutLock(State* state, OpenFile* file);
// As DropLayoutLock; and no answer to what was asked until now brings the lock: the MDS lets go of
// it by itself, with the last handle that it knows.
void ForgetLayoutLock(State* state, OpenFile* file);
// OpenFile::layout() is the newest one, as far as the MDS is there to tell: what is said of objects
// (size, durability) is said of those that the file has now. Not for I/O. While the MDS is away
// only one call in kAskPause waits for it, not for long.
async::Task<void> LearnLayout(State* state, OpenFile* file);
// The newest layout, once nobody is about to replace it. Takes no lock.
async::Task<Result<LayoutPtr>> LayoutAfterHold(State* state, OpenFile* file);
// The layout that may be used now (null: the file has none yet); nullopt: none may.
std::optional<LayoutPtr> HeldLayout(State* state, OpenFile* file);
// Whose I/O it is: a handle that has the layout in its hold reads by it, and writes no more than
// others do.
enum class IoKind : uint8_t { kRead, kChange };
// The layout for I/O through `handle`; null: the file has none yet. Waits while somebody replaces
// it. Errors: those of the MDS.
async::Task<Result<LayoutPtr>> LayoutForIo(State* state, OpenFile* file, uint64_t handle,
                                           IoKind kind);
// An OSS has refused a request that `used` was the layout of. Success: it is another one now, try
// again. Errors: `refusal`, when that has nothing to do with it.
async::Task<Status> AfterRefusal(State* state, OpenFile* file, uint64_t handle, LayoutPtr used,
                                 Error refusal, IoKind kind);
// The layout was replaced, or a component's objects were destroyed.
inline bool MayBeReplaced(Errc code) {
  return code == Errc::kLayoutChanged || code == Errc::kStale;
}

}  // namespace sheen::client
