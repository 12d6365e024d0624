// LockCache: what this mount may answer without asking the MDS, since it holds the lock that covers
// it (src/lock/inode_bits.h): attributes under kUpdate, names under the child's kLookup, absent
// names and whole listings under the directory's kUpdate.
//
//   question   sent = Moment(), ask, Take*(sent, ...)     kept unless something came in between
//   change     Change(fids), ask, Keep* / Failed          nothing of `fids` is answered meanwhile
//   callback   Callback(fid, bits)                        forgotten at once
//
// A reply and a callback may overtake each other on their ways: a reply is kept only if no callback
// for the inode came since its question left. Replies to changes of our own are ordered by ctime,
// which every change raises. A lock belongs to the connection that brought it: it is worth nothing
// when that has ended, nor, until the next answer, when nothing proves that it lives.
//
// Thread-safe. The mutexes of two buckets are never held together.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "client/types.h"
#include "lock/inode_bits.h"
#include "rpc/client.h"

namespace sheen::client {

// The MDS drops the locks of a connection 3 s after its end; by then its client has stopped.
inline constexpr Nanos kLockLease = std::chrono::milliseconds(2500);

// Where a lock came from.
struct LockOrigin {
  uint32_t shard = 0;
  uint64_t link = 0;  // rpc::Answer::link
  Nanos at{0};        // when the answer came (monotonic)
};

struct HeldLock {
  Fid fid;
  uint32_t bits = 0;
};

class LockCache final {
 public:
  enum class NameState : uint8_t { kUnknown, kAbsent, kPresent };
  struct NameAnswer {
    NameState state = NameState::kUnknown;
    Attr attr;  // kPresent
  };

  // At most about so many inodes are kept; 0: nothing is.
  explicit LockCache(uint64_t inodes_max) : inodes_max_(inodes_max) {}

  // The pulse of the shard's connection to the MDS.
  void SetPulse(uint32_t shard, std::shared_ptr<rpc::LinkPulse> pulse);

  // ---- answers; `now` is the monotonic time ----
  std::optional<Attr> FindAttr(const Fid& fid, Nanos now);
  NameAnswer FindName(const Fid& directory, const std::string& name, Nanos now);
  // The child, if the name is known; empty otherwise. For setting its locks aside.
  Fid PeekName(const Fid& directory, const std::string& name);

  // What of an answer the locks cover, and the connection that they came by.
  struct Coverage {
    bool attr = false;
    bool name = false;  // by the child's kLookup: `name` in `directory` leads to it
    uint32_t shard = 0;
  };
  Coverage Covers(const Fid& directory, const std::string& name, const Attr& attr, Nanos now);
  // Null: no such shard.
  const std::shared_ptr<rpc::LinkPulse>& PulseOf(uint32_t shard) const { return pulses_[shard]; }

  // ---- questions ----
  uint64_t Moment() const { return sequence_.load(); }
  void TakeAttr(uint64_t sent, const LockOrigin& origin, const Attr& attr, uint32_t bits);
  // `bits`: of the child (kLookup), or 0: the name is covered by the directory's kUpdate.
  void TakeName(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                const std::string& name, const Fid& child, uint32_t bits);
  // A name of a listing, whose directory's kUpdate came with it and was taken; `bits`: the child's.
  void TakeListed(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                  const std::string& name, const Fid& child, uint32_t bits);
  // REQUIRES: kUpdate of the directory came with it.
  void TakeAbsent(uint64_t sent, const LockOrigin& origin, const Fid& directory,
                  const std::string& name);
  // kUpdate of a directory, before the names of a listing are taken.
  void TakeDirectory(uint64_t sent, const LockOrigin& origin, const Fid& directory);

  // ---- changes ----
  // From its making until its end nothing of the inodes is answered from here.
  class Change final {
   public:
    // `fids`: attributes change, or names in them. `renamed`: what names lead to changes.
    explicit Change(LockCache* cache, std::vector<Fid> fids, std::vector<Fid> renamed = {});
    // Not ended before: what became of it is not known, and everything is forgotten.
    ~Change();
    Change(const Change&) = delete;
    Change& operator=(const Change&) = delete;

    const std::vector<Fid>& fids() const { return fids_; }
    // The server refused: nothing has changed.
    void Refused();
    // Of one of the inodes, with the locks of the answer. Without them: forgets the inode.
    // Gives the generation of the kLookup that came with it, or 0.
    uint64_t Keep(const LockOrigin& origin, const Attr& attr, uint32_t bits);
    // Names of one of the inodes, after its Keep. `lookup_generation`: from Keep or TakeNew of the
    // child, whose lock covers the name; 0: the name is there, but what it is must be asked.
    void SetName(const Fid& directory, const std::string& name, const Fid& child,
                 uint64_t lookup_generation);
    void SetAbsent(const Fid& directory, const std::string& name);
    // Forgets what was not kept, and ends.
    void Done();

   private:
    void End(bool forget);

    LockCache* const cache_;
    std::vector<Fid> fids_;     // renamed_ too
    std::vector<Fid> renamed_;
    std::vector<Fid> kept_;
    const uint64_t began_;
    bool ended_ = false;
  };
  // As long as it lives nothing of the inodes is answered from here, then they are forgotten: for a
  // change that was given up, which the server may execute yet.
  class Hold final {
   public:
    Hold(LockCache* cache, std::vector<Fid> fids);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    LockCache* const cache_;
    const std::vector<Fid> fids_;
  };
  // A new inode of our own making: nobody else knows it. `empty`: a directory, all its names
  // (none) are known.
  // Gives the generation of its kLookup, or 0.
  uint64_t TakeNew(uint64_t sent, const LockOrigin& origin, const Attr& attr, uint32_t bits,
                   bool empty);

  void Callback(const Fid& fid, uint32_t bits);

  // ---- layouts: their locks are kept with the open files (layout_lock.h) ----
  // The lock on a layout was called back since, or perhaps that of another inode.
  bool LayoutCalledSince(const Fid& fid, uint64_t moment);
  // It was given back, or the server has let go of it: as when it was called back.
  void NoteLayoutGone(const Fid& fid);
  bool IsTrusted(const LockOrigin& origin, Nanos now) const;
  // Until then the life of the shard's connection is to be proved again and again.
  void Rely(uint32_t shard, Nanos until) const;
  void Forget(const Fid& fid);
  void Clear();

  // Locks to be given back because there are too many, of this shard's connection. GivenBack must
  // follow when the server has answered (or not): nothing of them is taken before.
  std::vector<HeldLock> TakeSurplus(uint32_t shard);
  void GivenBack(const std::vector<HeldLock>& locks);
  // These could not be given back: the next TakeSurplus has them again.
  void PutBack(uint32_t shard, const std::vector<HeldLock>& locks);
  std::vector<uint32_t> ShardsWithSurplus();
  bool HasSurplus() const { return surplus_.load(std::memory_order_relaxed) >= kSurplusMin; }

  uint64_t size() const { return size_.load(std::memory_order_relaxed); }
  uint64_t inodes_max() const { return inodes_max_.load(std::memory_order_relaxed); }
  void SetInodesMax(uint64_t inodes_max) { inodes_max_.store(inodes_max); }
  // Gives back until at most so many are kept.
  void Trim(uint64_t inodes_max);
  // A bucket that has nothing else to give up takes one too many.
  bool HasTooMany() const { return size() > inodes_max() + inodes_max() / 8 + kTooManyMin; }

 private:
  enum class NameKind : uint8_t { kAbsent, kByLookup, kByListing, kAsk };
  struct Name {
    Fid child;
    uint64_t generation = 0;  // of the child's kLookup, or of the directory's kUpdate
    NameKind kind = NameKind::kAsk;
  };
  using Names = std::unordered_map<std::string, Name>;
  struct Node {
    uint32_t bits = 0;
    bool has_attr = false;
    bool complete = false;  // a directory: a name that is not in `names` does not exist
    bool used = false;      // since the hand of the clock passed
    LockOrigin origin;
    uint64_t lookup_generation = 0;
    uint64_t update_generation = 0;
    Attr attr;
    std::unique_ptr<Names> names;
  };
  struct Bucket {
    std::mutex mutex;          // guards the rest
    uint64_t called_at = 0;    // moment of the last callback or forgetting
    uint64_t layout_called_at = 0;
    uint64_t changed_at = 0;   // moment a change of ours last began or ended
    uint32_t changing = 0;     // changes of ours under way
    uint32_t giving_back = 0;  // locks on their way back
    std::unordered_map<Fid, Node> nodes;
  };
  static constexpr size_t kBuckets = 4096;
  static constexpr size_t kShardsMax = 256;
  static constexpr size_t kNamesMax = 200'000;  // of one directory
  static constexpr uint64_t kSurplusMin = 256;
  static constexpr uint64_t kTooManyMin = 16;

  static size_t IndexOf(const Fid& fid) { return std::hash<Fid>()(fid) % kBuckets; }
  Bucket& BucketOf(const Fid& fid) { return buckets_[IndexOf(fid)]; }
  uint64_t NextMoment() { return sequence_.fetch_add(1) + 1; }
  bool Alive(const LockOrigin& origin) const;
  bool Trusted(const Node& node, Nanos now) const;
  static bool MayTake(const Bucket& bucket, uint64_t sent);
  Node* Adopt(Bucket* bucket, const Fid& fid, const LockOrigin& origin, uint32_t bits);
  Node* FindLocked(Bucket* bucket, const Fid& fid);
  void DropBits(Node* node, uint32_t bits);
  void EraseLocked(Bucket* bucket, const Fid& fid);
  void EvictLocked(Bucket* bucket, const Fid& keep);
  static void PutName(Node* node, const std::string& name, Name value);

  std::atomic<uint64_t> inodes_max_;
  std::atomic<uint64_t> sequence_{1};
  std::atomic<uint64_t> size_{0};
  std::atomic<uint64_t> surplus_{0};
  std::atomic<size_t> trim_hand_{0};
  std::array<std::shared_ptr<rpc::LinkPulse>, kShardsMax> pulses_;  // set before first use
  std::array<Bucket, kBuckets> buckets_;
  std::mutex surplus_mutex_;  // guards surplus_locks_
  std::array<std::vector<HeldLock>, kShardsMax> surplus_locks_;
};

}  // namespace sheen::client
