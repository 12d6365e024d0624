// LockTable: which connection of which client holds which bits of which inode (src/lock), and the
// changes that wait for them.
//
//   reader   Grant, then read          refused while a change of these bits is announced
//   change   Announce -> nobody else holds them: write, Finish
//                     -> somebody does: call them back, wait, run again
//
// Announcing and granting of one inode exclude each other, so a reader either comes before the
// change, which then waits for it, or gets no lock. A lock belongs to one connection: when that has
// ended, its client stops using it at once or, cut off, after its lease; DropPeer comes later.
//
// Thread-safe. A bucket's mutex comes before that of the holds; functions given are called without
// any held.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "fid/fid.h"
#include "lock/inode_bits.h"
#include "rpc/server.h"

namespace sheen::mds {

using PeerPtr = std::shared_ptr<rpc::Peer>;

// A holder that has not been called back for these bits yet.
struct LockCall {
  PeerPtr peer;
  Fid fid;
  uint32_t bits = 0;
};

// An open handle of a session.
struct HoldOwner {
  uint64_t session = 0;
  uint64_t handle = 0;
  bool empty() const { return session == 0; }
  bool operator==(const HoldOwner&) const = default;
};

class LockTable final {
 public:
  using Owner = uint64_t;  // names a running operation
  // The locks of `session` on the FIDs in `fids` do not conflict: the client has set them aside.
  struct SetAside {
    uint64_t session = 0;
    std::span<const Fid> fids;
  };

  // At most so many (connection, inode) pairs; then nothing is granted.
  explicit LockTable(uint64_t locks_max) : locks_max_(locks_max) {}
  // More are not granted: who asks is answered without one, and has to ask again each time.
  uint64_t locks_max() const { return locks_max_.load(std::memory_order_relaxed); }
  void SetLocksMax(uint64_t locks_max) { locks_max_.store(locks_max); }

  // Gives the bits granted: all of `bits`, or 0. `owner`: its own announced changes do not count.
  uint32_t Grant(const Fid& fid, uint32_t bits, const PeerPtr& peer, Owner owner);

  // From now until Finish(owner, fid) nobody else is granted `bits`. True: nobody holds them
  // either. Else whom to call is added to `calls`. Again with the same arguments: looks again.
  bool Announce(Owner owner, const Fid& fid, uint32_t bits, const SetAside& aside,
                std::vector<LockCall>* calls);
  // `gone`: the inode does not exist any more, nor will it.
  void Finish(Owner owner, const Fid& fid, bool gone);
  // Calls `wake` once something about `fid` has changed, if anybody's hold still conflicts with
  // what `owner` announced; false when nothing does.
  bool Wait(Owner owner, const Fid& fid, const SetAside& aside, std::function<void()> wake);
  // All who wait are woken, and from now on Wait gives false at once: the server ends.
  void EndWaiting();

  // Given back by the client.
  void Release(uint64_t peer_id, const Fid& fid, uint32_t bits);
  // By all connections of a session.
  void ReleaseSession(uint64_t session_id, const Fid& fid, uint32_t bits);
  // All of a connection that ended.
  void DropPeer(uint64_t peer_id);
  void DropSession(uint64_t session_id);

  // ---- holds: a layout that one open handle is about to replace ----
  // Until EndHold nobody is granted kLayout of the inode, and nobody else may change its layout.
  // Called by the operation that has announced a change of it. False: another handle has it.
  bool Hold(const Fid& fid, const HoldOwner& owner, Nanos now);
  // Whoever has it is still at it. False: it has ended.
  bool RenewHold(const Fid& fid, const HoldOwner& owner, Nanos now);
  // Nothing when another handle has it.
  void EndHold(const Fid& fid, const HoldOwner& owner);
  bool IsHeld(const Fid& fid) const { return !HolderOf(fid).empty(); }
  HoldOwner HolderOf(const Fid& fid) const;
  // A hold may end at any time: what rests on it (an exchange of layouts) is refused then. All
  // users of the file wait for it, so it ends with the connections of its session, and when it was
  // not renewed for so long. Gives their files.
  static constexpr Nanos kHoldMax = std::chrono::seconds(10);
  std::vector<Fid> EndHoldsOf(uint64_t session);
  std::vector<Fid> EndSilentHolds(Nanos now);

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }

 private:
  struct Holder {
    PeerPtr peer;
    uint32_t bits = 0;
    uint32_t called = 0;  // of them, asked back
  };
  struct Change {
    Owner owner = 0;
    uint32_t bits = 0;
  };
  struct Resource {
    std::vector<Holder> holders;
    std::vector<Change> changes;
    std::vector<std::function<void()>> waiters;
  };
  static constexpr size_t kBuckets = 256;
  struct Bucket {
    std::mutex mutex;  // guards resources
    std::unordered_map<Fid, Resource> resources;
  };
  using Wakes = std::vector<std::function<void()>>;

  Bucket& BucketOf(const Fid& fid) { return buckets_[std::hash<Fid>()(fid) % kBuckets]; }
  static bool Conflicts(const Holder& holder, const Fid& fid, uint32_t bits,
                        const SetAside& aside);
  // Takes out the holders that `matches` names; adds the waiters of what changed to `wakes`.
  template <class Matches>
  void DropWhere(Matches matches);
  void Remove(Resource* resource, size_t index, Wakes* wakes);

  std::atomic<uint64_t> locks_max_;
  std::atomic<uint64_t> size_{0};
  std::array<Bucket, kBuckets> buckets_;
  std::atomic<bool> waiting_ended_{false};
  std::atomic<size_t> hold_count_{0};
  mutable std::mutex holds_mutex_;  // guards holds_; a bucket's may be held
  struct LayoutHold {
    HoldOwner owner;
    Nanos renewed{0};
  };
  template <class Matches>
  std::vector<Fid> EndHoldsWhere(Matches matches);
  std::unordered_map<Fid, LayoutHold> holds_;
};

}  // namespace sheen::mds
