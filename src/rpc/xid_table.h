// A hash table from xid to a call in flight: open addressing, no allocation per call. xids are
// drawn from one counter, so their low bits spread evenly as they are.
//
// Shard-confined: call only on the owning shard.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace sheen::rpc {

// T is what is pointed to; the table owns nothing.
template <class T>
class XidTable final {
 public:
  XidTable() : entries_(kEntriesMin) {}

  T* Find(uint64_t xid) const {
    for (size_t i = Home(xid); entries_[i].value != nullptr; i = Next(i)) {
      if (entries_[i].xid == xid) return entries_[i].value;
    }
    return nullptr;
  }

  // Replaces the value of an xid that is there.
  void Insert(uint64_t xid, T* value) {
    if ((count_ + 1) * 2 > entries_.size()) Grow();
    size_t i = Home(xid);
    while (entries_[i].value != nullptr && entries_[i].xid != xid) i = Next(i);
    if (entries_[i].value == nullptr) ++count_;
    entries_[i] = {xid, value};
  }

  // Moves later entries of the same run back over the gap, so that no tombstones are needed.
  void Erase(uint64_t xid) {
    size_t gap = Home(xid);
    while (entries_[gap].value != nullptr && entries_[gap].xid != xid) gap = Next(gap);
    if (entries_[gap].value == nullptr) return;
    --count_;
    for (size_t i = Next(gap); entries_[i].value != nullptr; i = Next(i)) {
      const size_t home = Home(entries_[i].xid);
      // May the entry at i live at the gap? Yes unless its home lies cyclically in (gap, i].
      const bool home_between = gap <= i ? (gap < home && home <= i) : (gap < home || home <= i);
      if (home_between) continue;
      entries_[gap] = entries_[i];
      gap = i;
    }
    entries_[gap] = {};
  }

  size_t size() const { return count_; }

 private:
  static constexpr size_t kEntriesMin = 64;  // a power of two, as every later size
  struct Entry {
    uint64_t xid = 0;
    T* value = nullptr;
  };
  size_t Home(uint64_t xid) const { return xid & (entries_.size() - 1); }
  size_t Next(size_t i) const { return (i + 1) & (entries_.size() - 1); }
  void Grow() {
    std::vector<Entry> old(entries_.size() * 2);
    old.swap(entries_);
    count_ = 0;
    for (const Entry& entry : old) {
      if (entry.value != nullptr) Insert(entry.xid, entry.value);
    }
  }

  std::vector<Entry> entries_;
  size_t count_ = 0;
};

}  // namespace sheen::rpc
