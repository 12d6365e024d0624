#include "mdt/transno.h"

#include <algorithm>

#include "base/log.h"

namespace sheen::mdt {

uint64_t TransnoTracker::Begin() {
  std::lock_guard lock(mutex_);
  in_flight_.push_back(++last_);
  return last_;
}

void TransnoTracker::Finish(uint64_t transno) {
  std::lock_guard lock(mutex_);
  const auto found = std::lower_bound(in_flight_.begin(), in_flight_.end(), transno);
  SHEEN_ASSERT(found != in_flight_.end() && *found == transno);
  in_flight_.erase(found);
}

uint64_t TransnoTracker::LowWater() const {
  std::lock_guard lock(mutex_);
  return in_flight_.empty() ? last_ : in_flight_.front() - 1;
}

uint64_t TransnoTracker::Last() const {
  std::lock_guard lock(mutex_);
  return last_;
}

}  // namespace sheen::mdt
