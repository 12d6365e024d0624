#include "oss/uncommitted.h"

#include <algorithm>

namespace sheen::oss {

void Uncommitted::Prune(std::vector<Range>* ranges, uint64_t last_committed) {
  std::erase_if(*ranges, [last_committed](const Range& range) {
    return range.transno != 0 && range.transno <= last_committed;
  });
}

Uncommitted::Answer Uncommitted::Begin(const ObjectKey& key, uint64_t session,
                                       const lock::Extent& extent, uint64_t last_committed,
                                       uint64_t* id) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  std::vector<Range>& ranges = bucket.objects[key];
  Prune(&ranges, last_committed);
  if (*id == 0) {
    *id = bucket.next_id++;
    ranges.push_back({*id, session, extent, 0, true});
  }
  Answer answer = Answer::kGoOn;
  bool later = false;  // those after its own place
  for (Range& range : ranges) {
    if (range.id == *id) {
      later = true;
      continue;
    }
    const bool overlaps = range.extent.start < extent.end && extent.start < range.extent.end;
    if (range.session == session || !overlaps || (later && range.waits)) continue;
    if (range.transno != 0) return Answer::kCommit;
    answer = Answer::kWait;
  }
  if (answer == Answer::kGoOn) std::ranges::find(ranges, *id, &Range::id)->waits = false;
  return answer;
}

// With neighbours of the same client, so that a stream is one range.
void Uncommitted::Merge(std::vector<Range>* ranges, size_t index) {
  Range merged = (*ranges)[index];
  const bool full = ranges->size() > kRangesMax;
  for (size_t i = 0; i < ranges->size(); ++i) {
    const Range& other = (*ranges)[i];
    if (i == index || other.session != merged.session || other.transno == 0) continue;
    const bool touches =
        other.extent.start <= merged.extent.end && merged.extent.start <= other.extent.end;
    if (!touches && !full) continue;
    merged.extent.start = std::min(merged.extent.start, other.extent.start);
    merged.extent.end = std::max(merged.extent.end, other.extent.end);
    merged.transno = std::max(merged.transno, other.transno);
    (*ranges)[index] = merged;
    ranges->erase(ranges->begin() + static_cast<std::ptrdiff_t>(i));
    if (i < index) --index;
    --i;
  }
}

void Uncommitted::End(const ObjectKey& key, uint64_t id, uint64_t transno) {
  Bucket& bucket = BucketOf(key);
  const std::scoped_lock lock(bucket.mutex);
  const auto object = bucket.objects.find(key);
  if (object == bucket.objects.end()) return;
  std::vector<Range>& ranges = object->second;
  const auto found = std::ranges::find(ranges, id, &Range::id);
  if (found == ranges.end()) return;
  if (transno == 0) {
    ranges.erase(found);
  } else {
    found->transno = transno;
    Merge(&ranges, static_cast<size_t>(found - ranges.begin()));
  }
  if (ranges.empty()) bucket.objects.erase(object);
}

void Uncommitted::Committed(uint32_t target, uint64_t last_committed) {
  for (Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (auto& [key, ranges] : bucket.objects) {
      if (key.target == target) Prune(&ranges, last_committed);
    }
    std::erase_if(bucket.objects, [](const auto& entry) { return entry.second.empty(); });
  }
}

size_t Uncommitted::size() const {
  size_t count = 0;
  for (const Bucket& bucket : buckets_) {
    const std::scoped_lock lock(bucket.mutex);
    for (const auto& [key, ranges] : bucket.objects) count += ranges.size();
  }
  return count;
}

}  // namespace sheen::oss
