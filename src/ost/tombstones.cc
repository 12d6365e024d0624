#include "ost/tombstones.h"

namespace sheen::ost {

void Tombstones::Add(const layout::ObjectId& id, int64_t destroyed_ns) {
  std::lock_guard lock(mutex_);
  by_id_[id] = destroyed_ns;
  by_time_.emplace_back(destroyed_ns, id);
}

bool Tombstones::Contains(const layout::ObjectId& id) const {
  std::lock_guard lock(mutex_);
  return by_id_.contains(id);
}

std::vector<layout::ObjectId> Tombstones::Expire(int64_t before_ns) {
  std::vector<layout::ObjectId> out;
  std::lock_guard lock(mutex_);
  while (!by_time_.empty() && by_time_.front().first < before_ns) {
    const auto [time, id] = by_time_.front();
    by_time_.pop_front();
    const auto found = by_id_.find(id);
    // Destroyed again later: the later entry counts.
    if (found == by_id_.end() || found->second != time) continue;
    by_id_.erase(found);
    out.push_back(id);
  }
  return out;
}

size_t Tombstones::size() const {
  std::lock_guard lock(mutex_);
  return by_id_.size();
}

}  // namespace sheen::ost
