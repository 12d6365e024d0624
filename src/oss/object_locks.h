// ObjectLocks: who may be at which bytes of which object, over all targets of a server. Every
// request that looks at data or changes it enters; a client may keep a write lock after it, under
// which it holds data back (write-behind).
//
//   Enter    nobody else holds what conflicts: go on
//            somebody does: call them back (kExtentCallback), wait, go on
//   EnterHeld  data that was held back under a lock: goes on at once, or is refused for good
//   RecallPages  after a change: others' kernels forget the pages that they have of the object.
//              What was held back needs none: nobody has had pages of it since the lock was given
//
// The rules are lock::ExtentLocks's. An access without a lock of its own counts as a lock while it
// lasts. While nobody keeps locks on an object its accesses are only counted.
//
// A holder answers a callback within kCallbackTimeout (counted anew while it writes what it holds:
// slow is not dead), or within kReturnGrace of losing its last connection; else it loses all its
// locks here, and what it still writes under them is refused.
// After a restart nobody's access begins before those who may have held locks have declared them
// (Declare), or kRecoveryMax has passed: who comes later has lost its locks.
//
// Thread-safe; on the shards of the server. Mutexes are leaves.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "async/task.h"
#include "layout/layout.h"
#include "lock/extent_locks.h"
#include "oss/page_readers.h"
#include "rpc/server.h"

namespace sheen::oss {

class ObjectLocks final {
 public:
  static constexpr Nanos kCallbackTimeout = std::chrono::seconds(20);
  static constexpr Nanos kReturnGrace = std::chrono::seconds(3);
  static constexpr Nanos kRecoveryMax = std::chrono::seconds(20);

  struct Wish {
    uint64_t session = 0;
    lock::Mode mode = lock::Mode::kPr;
    lock::Extent extent;
    uint64_t keep = 0;  // id of a lock to be kept afterwards if nobody is in the way; 0: none
  };

  // An access under way; ends with its destruction.
  class Access final {
   public:
    Access() = default;
    Access(Access&& other) noexcept { *this = std::move(other); }
    Access& operator=(Access&& other) noexcept;
    ~Access() { End(); }
    // Nobody keeps a lock on any part of the object while it lasts.
    bool unlocked() const { return owner_ != nullptr && !name_; }
    // What stays locked for the client; the request that began it has to tell.
    const std::optional<lock::Extent>& kept() const { return kept_; }
    // It is given up with the access after all.
    void DoNotKeep() { kept_.reset(); }
    void End();

   private:
    friend class ObjectLocks;
    ObjectLocks* owner_ = nullptr;
    ObjectKey key_;
    std::optional<lock::LockName> name_;  // none: only counted
    uint64_t held_by_ = 0;                // of EnterHeld: the session
    std::optional<lock::Extent> kept_;
  };

  ObjectLocks() = default;
  ~ObjectLocks();

  // Sessions that may hold locks of the server's earlier life. Before the first request.
  void BeginRecovery(std::set<uint64_t> sessions);
  // How that stands.
  struct RecoveryLook {
    size_t known = 0;    // sessions that might come back
    size_t awaited = 0;  // have not yet
    size_t lost = 0;     // did not in time
    // Until those awaited are given up; it begins with the first request that waits for them.
    Nanos left{0};
  };
  RecoveryLook LookAtRecovery(Nanos now);
  // Awaited before what sessions have lost is given to others: they must not be among those of
  // BeginRecovery after the next restart. Before the first request.
  using ForgetFunction = std::function<async::Task<void>(std::set<uint64_t>)>;
  void OnLost(ForgetFunction forget) { forget_ = std::move(forget); }

  // Returns when the access may begin. Errors: kUnavailable (the server stops).
  async::Task<Result<Access>> Enter(ObjectKey key, Wish wish);
  // Of what was held back under a lock of `name`. Errors: kLockLost, kUnavailable.
  async::Task<Result<Access>> EnterHeld(ObjectKey key, lock::LockName name, lock::Extent extent);
  // Does the session hold this write lock over all of `extent`?
  bool Holds(const ObjectKey& key, lock::LockName name, const lock::Extent& extent);
  void Release(const ObjectKey& key, lock::LockName name);
  struct Held {
    ObjectKey key;
    uint64_t id = 0;
    lock::Extent extent;
  };
  // What the session holds; nothing while it is at work, is about to lose it, or has still to say
  // what it held before a restart.
  std::optional<std::vector<Held>> HeldBy(uint64_t session);
  // The same for many, with one look at all objects. By session; those without an answer are not
  // in it.
  std::map<uint64_t, std::vector<Held>> HeldByEach(const std::set<uint64_t>& sessions);
  // What it held in an earlier life of the server, which noted it when the client had gone. Before
  // the first request.
  void Reinstate(uint64_t session, const std::vector<Held>& held);

  // What a client says that it holds, after it has come back. The locks refused are lost.
  std::vector<uint64_t> Declare(uint64_t session, const std::vector<Held>& held);

  // Clients are still to say what they hold.
  bool recovering() const { return recovering_.load(std::memory_order_acquire); }
  // The session is among those that the restart waits for; it is being waited for longer.
  bool MayReplay(uint64_t session);

  // A connection by which its session can be called back.
  void AddPeer(const std::shared_ptr<rpc::Peer>& peer);
  void DropPeer(const rpc::Peer& peer);
  // All locks of a session.
  void DropSession(uint64_t session);
  // And its pages: it has ended, or was fenced off.
  void EndSession(uint64_t session);

  // Whose kernels may have pages of what: added before the bytes are looked at.
  PageReaders* pages() { return &pages_; }
  // After a change: returns when all but `by` have forgotten their pages, or after `limit`, or when
  // they are given up (kCallbackTimeout, kReturnGrace).
  async::Task<void> RecallPages(ObjectKey key, uint64_t by, Nanos limit = Nanos::max());

  // Before the rpc::Servers stop: who waits is refused. Any thread.
  void BeginStop();
  // No callbacks any more; returns when those under way have ended. On a shard.
  async::Task<void> Stop();

  // Locks that clients keep over their accesses, and how many may be; then no new ones are kept,
  // and their writes go through at once.
  uint64_t kept_count() const { return kept_count_.load(std::memory_order_relaxed); }
  uint64_t kept_max() const { return kept_max_.load(std::memory_order_relaxed); }
  void SetKeptMax(uint64_t kept_max) { kept_max_.store(kept_max); }

 private:
  struct Object {
    uint64_t plain_accesses = 0;  // while there is no table
    std::unique_ptr<lock::ExtentLocks> table;
  };
  struct Waiter;
  struct Bucket {
    std::mutex mutex;  // guards what follows
    std::map<ObjectKey, Object> objects;
    std::map<std::pair<ObjectKey, lock::LockName>, std::shared_ptr<Waiter>> waiters;
  };
  struct Callback {
    ObjectKey key;
    lock::LockName name;
  };
  // What is to be done when the bucket's mutex is free again.
  struct Work {
    std::vector<std::shared_ptr<Waiter>> wakes;
    std::vector<Callback> callbacks;
  };
  static constexpr size_t kBuckets = 64;

  Bucket& BucketOf(const ObjectKey& key);
  static void Take(Bucket* bucket, const ObjectKey& key, lock::ExtentChanges changes, Work* work);
  void Do(Work work);
  bool EnterCounted(Bucket* bucket, const ObjectKey& key, const Wish& wish, Access* access);
  // The access's place in the table; a waiter when it has to wait.
  std::shared_ptr<Waiter> EnterTable(Bucket* bucket, const ObjectKey& key, const Wish& wish,
                                     Access* access, Work* work);
  void Leave(const ObjectKey& key, const std::optional<lock::LockName>& name);
  async::Task<void> CallBack(Callback callback);
  async::Task<void> CallBackReader(ObjectKey key, PageReaders::CallPtr call);
  // The session's answer to one call; false: the connection ended, or there is none.
  async::Task<bool> Ask(Callback callback);
  std::shared_ptr<rpc::Peer> PeerOf(uint64_t session);
  // It has had no peer for kReturnGrace.
  bool IsAway(uint64_t session);
  // A session writes what it held back. MovesOf is another number each time while it does, and
  // after it did.
  void BeginMove(uint64_t session);
  void EndMove(uint64_t session);
  uint64_t MovesOf(uint64_t session);
  bool IsHeld(const Callback& callback);
  bool HoldsLocked(Bucket* bucket, const ObjectKey& key, lock::LockName name,
                   const lock::Extent& extent);
  void WakeToStop(Waiter* waiter, const ObjectKey& key, lock::LockName name);
  async::Task<void> Evict(uint64_t session);
  // False: the server stops.
  async::Task<bool> AwaitRecovery();
  bool IsAwaited(uint64_t session);
  bool IsLosing(uint64_t session);

  std::array<Bucket, kBuckets> buckets_;
  PageReaders pages_;
  std::atomic<uint64_t> next_access_{1};
  std::atomic<uint64_t> kept_count_{0};
  std::atomic<uint64_t> kept_max_{1'000'000};
  std::atomic<bool> recovering_{false};
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> callbacks_running_{0};
  ForgetFunction forget_;          // fixed after set-up
  std::set<uint64_t> returning_;   // of BeginRecovery; fixed after set-up
  std::mutex mutex_;  // guards what follows
  std::map<uint64_t, std::vector<std::shared_ptr<rpc::Peer>>> peers_;  // by session
  std::map<uint64_t, Nanos> alone_since_;  // by session: its last peer has ended
  struct Moves {
    uint64_t count = 0;
    uint64_t under_way = 0;
  };
  std::map<uint64_t, Moves> moves_;                                    // by session
  std::set<uint64_t> awaited_;                                         // sessions, in recovery
  std::set<uint64_t> late_;    // sessions that did not come in time
  std::set<uint64_t> losing_;  // sessions about to lose their locks: they are given no new ones
  Nanos recovery_until_{0};
};

}  // namespace sheen::oss
