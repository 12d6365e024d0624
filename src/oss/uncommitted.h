// Uncommitted: which client wrote which bytes of an object that would not survive power loss yet. A
// client repeats its own after a power cut; so that no repeated write lands on another client's
// newer one, bytes are committed before somebody else changes them.
//
//   Begin   nobody else has uncommitted bytes there: the change may go on, and counts from now on
//           somebody has: commit, ask again; from now on it has its place before those who come
//           later, so that a change of a whole object does not wait for ever behind steady writers
//   End     the change has this transno, or was not made
//
// Bytes are dropped when the target has committed them. Thread-safe; mutexes are leaves.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "lock/extent.h"
#include "oss/object_locks.h"

namespace sheen::oss {

class Uncommitted final {
 public:
  // Of one object; beyond them the bytes between are counted too.
  static constexpr size_t kRangesMax = 512;

  enum class Answer : uint8_t { kGoOn, kCommit, kWait };
  // kWait: a change of somebody else is under way there, or waits since before this one. `*id` 0:
  // asked for the first time; else what the last call gave. Whatever the answer: End.
  Answer Begin(const ObjectKey& key, uint64_t session, const lock::Extent& extent,
               uint64_t last_committed, uint64_t* id);
  // `transno` 0: nothing was changed.
  void End(const ObjectKey& key, uint64_t id, uint64_t transno);
  // Drops what `target` has committed.
  void Committed(uint32_t target, uint64_t last_committed);
  size_t size() const;

 private:
  struct Range {
    uint64_t id = 0;
    uint64_t session = 0;
    lock::Extent extent;
    uint64_t transno = 0;  // 0: under way, or it waits
    bool waits = false;
  };
  struct KeyHash {
    size_t operator()(const ObjectKey& key) const {
      return std::hash<Fid>()(key.id.fid) * 31 + key.id.stripe + key.id.birth + key.target;
    }
  };
  using Objects = std::unordered_map<ObjectKey, std::vector<Range>, KeyHash>;
  struct Bucket {
    mutable std::mutex mutex;  // guards what follows
    Objects objects;
    uint64_t next_id = 1;
  };
  static constexpr size_t kBuckets = 32;
  static void Prune(std::vector<Range>* ranges, uint64_t last_committed);
  static void Merge(std::vector<Range>* ranges, size_t index);

  std::array<Bucket, kBuckets> buckets_;
  Bucket& BucketOf(const ObjectKey& key) { return buckets_[KeyHash()(key) % kBuckets]; }
};

}  // namespace sheen::oss
