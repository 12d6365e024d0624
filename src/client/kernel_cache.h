// KernelCache: what the caller of this library, the kernel, was told that it may keep without
// asking: names and attributes that a lock of this mount covers, for 20 s at most.
//
//   reply      PromiseEntry / PromiseAttr: noted here first, then the lock is looked at once more
//   callback   LockCache::Callback, then Recall: the kernel is told, then the lock is given back
//
// So a callback either finds the promise here, or the reply finds the lock gone and promises
// nothing. A reply that is still on its way when the kernel is told:
//   attributes of an inode that it knows   are older than what it was told: it drops them
//   an inode that it does not know yet     it says so, and is told again until it does (MayKnow)
//   a name looked up for the first time    the directory is locked until the name is in place
//   a known name asked for again           told kSettle after the last reply, and twice more later
// Not covered: between the answer to a removal or rename of our own and the kernel's thread that
// takes it, other processes here may still see the name, although others have it anew.
// Never promised: absent names, whose recall would be one notice a name; attributes of
// files that are being written, here or elsewhere; names of a directory in which another client
// has lately removed or renamed (their recall waits for changes of our own in that directory).
// Listings are in pages of the directory, which every opening keeps or drops (OpenListing) and a
// recall of its attributes drops.
//
// Locks are worth nothing when their connection has ended or was not proved to live for
// kLockLease: Tick then has everything dropped. The MDS waits for longer.
//
// Thread-safe. A bucket's mutex is a leaf.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "client/lock_cache.h"
#include "client/types.h"

namespace sheen::client {

struct KernelName {
  Fid directory;
  std::string name;
};

// What the kernel is to forget.
struct KernelNotice {
  Fid fid;
  bool attributes = false;
  // Pages of these bytes, in which there may be what was written and is lost.
  uint64_t data_offset = 0;
  uint64_t data_length = 0;  // 0: none
  std::vector<KernelName> names;
  Nanos names_not_before{0};   // monotonic
  std::function<void()> done;  // once, on any thread, when it has

  bool tells() const { return attributes || data_length > 0 || !names.empty(); }
};

// The way to the kernel; the FUSE front end's, or a test's.
class KernelNotifier {
 public:
  virtual ~KernelNotifier() = default;
  // Returns at once.
  virtual void Notify(KernelNotice notice) = 0;
};

class KernelCache final {
 public:
  // How long the kernel may keep what it was told: not longer than the MDS waits for the answer to
  // a callback, so that it ends when a client that does not answer is given up.
  static constexpr Nanos kKeep = std::chrono::seconds(20);
  static constexpr Nanos kTick = std::chrono::milliseconds(100);
  static constexpr Nanos kIdleTick = std::chrono::seconds(1);
  // From a reply until the kernel's thread has surely put it in place, on a machine that is not
  // overloaded.
  static constexpr Nanos kSettle = std::chrono::milliseconds(3);
  // Names of a directory are not promised for so long after another client removed one.
  static constexpr Nanos kShared = std::chrono::seconds(10);

  // `locks` outlives this.
  explicit KernelCache(LockCache* locks) : locks_(locks) {}

  // Before requests come. Without one nothing is promised.
  void SetNotifier(KernelNotifier* notifier);
  // From now on nothing is promised, and who waits for a notice is let go.
  void Stop();

  // A reply that makes the kernel count one more lookup of `attr.fid` is about to be sent. `name`
  // empty: attributes only. `settled`: nobody of this mount is writing it.
  KernelPromise PromiseEntry(const Fid& directory, const std::string& name, const Attr& attr,
                       bool settled, Nanos now);
  // As PromiseEntry, of a reply that makes it count none.
  Nanos PromiseAttr(const Attr& attr, bool settled, Nanos now);
  // A file is opened here, with attributes as of now; `settled`: nobody, here or elsewhere, is
  // writing it. True: the pages that the kernel may have of it are of this very version, since
  // every change of data moves the ctime, and the last opening found the same.
  bool KeepPages(const Attr& attr, bool settled);
  // A directory is opened here, with attributes as of now; `alone`: nobody of this mount had it
  // open before. kKeep: the kernel began the listing after an opening that found this very ctime,
  // which every change of names moves, and nobody who had opened it before that could bring an
  // older one in.
  KernelListing OpenListing(const Attr& attr, bool alone);
  // The kernel asks for a part of a listing. `bare`, without attributes: kept it would cost a
  // lookup for each name, so the next opening drops it.
  void NoteListing(const Fid& fid, bool bare);
  // A rename of this mount is about to give `fid` the name: the kernel moves what it keeps.
  void NoteMove(const Fid& fid, KernelName name, Nanos now);
  // The kernel has taken back so many lookups.
  void Forget(const Fid& fid, uint64_t lookups);

  // The kernel must forget what `bits` cover; `done` when it has, perhaps at once.
  // `by_others`: another client is about to change it.
  void Recall(const Fid& fid, uint32_t bits, Nanos now, bool by_others,
              std::function<void()> done);
  // Everything must go; `done` when it has, perhaps at once.
  void RecallAll(Nanos now, std::function<void()> done);
  // Attributes were changed by this mount in a way that the kernel has not seen.
  void ChangedHere(const Fid& fid, Nanos now) { Recall(fid, lock::kAttrBits, now, false, {}); }
  // Bytes of a write were not stored: the kernel may have them in pages all the same. It forgets
  // them soon.
  void DataLost(const Fid& fid, uint64_t offset, uint64_t length);
  // Another client has changed the file: all its pages must go; `done` when they have, perhaps at
  // once.
  void ForgetPages(const Fid& fid, std::function<void()> done);
  // A change of the file by this mount is under way for which the kernel may have locked pages of
  // it until it is answered; whom that waits for may be waiting for these.
  class OwnChange final {
   public:
    OwnChange(KernelCache* cache, const Fid& fid) : count_(cache->ChangesOf(fid)) {
      count_->fetch_add(1);
    }
    ~OwnChange() { count_->fetch_sub(1); }
    OwnChange(const OwnChange&) = delete;
    OwnChange& operator=(const OwnChange&) = delete;

   private:
    std::atomic<uint32_t>* const count_;
  };
  // Perhaps also of another file.
  bool IsChanging(const Fid& fid) { return ChangesOf(fid)->load() > 0; }
  // Somebody keeps what is answered: who does not need not be called back.
  bool tells() const { return notifier_.load(std::memory_order_relaxed) != nullptr; }

  // Might the kernel come to know the inode yet, by a reply that is on its way?
  bool MayKnow(const Fid& fid, Nanos now);
  // One thread only. How long to wait for the next: kTick while anything is promised.
  Nanos Tick(Nanos now);

 private:
  static constexpr int64_t kNoPages = INT64_MIN;
  struct Name {
    KernelName what;
    Nanos until{0};
    Nanos promised_at{0};
  };
  struct Node {
    uint64_t lookups = 0;
    Nanos attr_until{0};
    Nanos known_until{0};   // of the last promise, recalled or not
    Nanos shared_until{0};  // a directory: names are not promised
    uint32_t notices = 0;   // under way
    int64_t pages_ctime_ns = kNoPages;  // at the last opening, if it was settled
    int64_t begun_ctime_ns = kNoPages;  // of a new listing of which nothing was asked for yet
    bool listed = false;                // a directory: the kernel may have its listing
    std::vector<Name> names;
    std::vector<std::function<void()>> waiting;  // for `notices` to be 0
  };
  struct Bucket {
    std::mutex mutex;  // guards nodes
    std::unordered_map<Fid, Node> nodes;
  };
  static constexpr size_t kBuckets = 1024;
  static constexpr size_t kNamesMax = 16;  // of one inode: further hard links are not promised
  static constexpr uint32_t kShardsMax = 256;

  Bucket& BucketOf(const Fid& fid) { return buckets_[std::hash<Fid>()(fid) % kBuckets]; }
  bool IsShared(const Fid& directory, Nanos now);
  static bool NoteName(Node* node, KernelName name, Nanos now);
  void Rely(uint32_t shard, Nanos until);
  void Told(const Fid& fid);
  bool LinkLost(uint32_t shard, Nanos now);

  std::atomic<uint32_t>* ChangesOf(const Fid& fid) {
    return &changes_[std::hash<Fid>()(fid) % kBuckets];
  }

  std::array<std::atomic<uint32_t>, kBuckets> changes_{};
  LockCache* const locks_;
  std::atomic<KernelNotifier*> notifier_{nullptr};
  std::atomic<int64_t> promised_until_{0};
  // Tick's own: of each pulse the ended_count seen last, and the proved_ns whose lease was over
  // when everything was last recalled for it.
  std::array<uint64_t, kShardsMax> ended_seen_{};
  std::array<int64_t, kShardsMax> lease_over_{};
  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace sheen::client
