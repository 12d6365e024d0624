// Tombstones: objects destroyed a short time ago, so that a late write does not bring one back.
// The rows in the index are the caller's; this is what is looked up at each creation.
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <deque>
#include <mutex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "layout/layout.h"
#include "ost/object_table.h"

namespace sheen::ost {

// A destroyed object is remembered at least so long: longer than a client may take to come back
// with a request that it has sent before (its lease, 60 s, ends first).
inline constexpr int64_t kTombstoneNs = 60'000'000'000;

class Tombstones final {
 public:
  void Add(const layout::ObjectId& id, int64_t destroyed_ns);
  bool Contains(const layout::ObjectId& id) const;
  // Takes out those destroyed before `before_ns`.
  std::vector<layout::ObjectId> Expire(int64_t before_ns);
  size_t size() const;

 private:
  mutable std::mutex mutex_;  // guards both
  std::unordered_map<layout::ObjectId, int64_t, ObjectIdHash> by_id_;
  std::deque<std::pair<int64_t, layout::ObjectId>> by_time_;
};

}  // namespace sheen::ost
