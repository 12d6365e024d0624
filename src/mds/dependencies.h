// Dependencies: whose uncommitted changes the rows of the store carry. An answer that rests on
// another client's change waits until that is durable: so what is lost in a power cut together with
// a client that died was nobody else's ground, and what clients repeat after one does not depend on
// other clients.
//
//   Note      a batch has changed these rows
//   Foreign   highest uncommitted transno among rows that somebody else changed
//
// Rows are named by hashes of their keys (mdt::Txn); a collision costs a wait. Thread-safe; mutexes
// are leaves.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <unordered_map>
#include <vector>

namespace sheen::mds {

class Dependencies final {
 public:
  void Note(const std::vector<uint64_t>& rows, uint64_t session, uint64_t transno,
            uint64_t last_committed) {
    for (const uint64_t row : rows) {
      Bucket& bucket = buckets_[row % kBuckets];
      const std::scoped_lock lock(bucket.mutex);
      Change& change = bucket.rows[row];
      if (change.session != session) change.foreign = change.transno;
      change.session = session;
      change.transno = transno;
      if (bucket.rows.size() < bucket.prune_at) continue;
      std::erase_if(bucket.rows, [last_committed](const auto& entry) {
        return entry.second.transno <= last_committed;
      });
      bucket.prune_at = bucket.rows.size() * 2 + kPruneMin;
    }
  }

  // 0: none.
  uint64_t Foreign(const std::vector<uint64_t>& rows, uint64_t session,
                   uint64_t last_committed) const {
    uint64_t highest = 0;
    for (const uint64_t row : rows) {
      const Bucket& bucket = buckets_[row % kBuckets];
      const std::scoped_lock lock(bucket.mutex);
      const auto found = bucket.rows.find(row);
      if (found == bucket.rows.end()) continue;
      const Change& change = found->second;
      const uint64_t other = change.session == session ? change.foreign : change.transno;
      if (other > last_committed && other > highest) highest = other;
    }
    return highest;
  }

 private:
  struct Change {
    uint64_t session = 0;  // of the last change
    uint64_t transno = 0;
    uint64_t foreign = 0;  // the last of another session before it
  };
  static constexpr size_t kPruneMin = 256;
  struct Bucket {
    mutable std::mutex mutex;  // guards what follows
    std::unordered_map<uint64_t, Change> rows;
    size_t prune_at = kPruneMin;
  };
  static constexpr size_t kBuckets = 64;
  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace sheen::mds
