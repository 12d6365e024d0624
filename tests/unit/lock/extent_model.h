// The rules of ExtentLocks over a list and an array of bytes: slow, short, and written without a
// look at how the table does it. An object of kBytes bytes, and one cell for all that lies beyond.
#pragma once

#include <algorithm>
#include <array>
#include <ostream>
#include <set>
#include <vector>

#include "lock/extent_locks.h"

namespace sheen::lock {

// For the messages of failed tests.
inline void PrintTo(const ExtentGrant& grant, std::ostream* out) {
  *out << grant.name.owner << "/" << grant.name.id << " " << NameOf(grant.mode) << " ["
       << grant.extent.start << "," << static_cast<int64_t>(grant.extent.end) << ")"
       << (grant.recalled ? " recalled" : "");
}

class ExtentModel final {
 public:
  static constexpr uint64_t kBytes = 40;

  struct Entry {
    ExtentRequest request;
    Mode mode = Mode::kPr;
    Extent extent;
    bool granted = false;
    bool recalled = false;
    uint64_t owner() const { return request.name.owner; }
    ExtentGrant AsGrant() const { return {request.name, mode, extent, request.group_id, recalled}; }
  };

  // In order of arrival.
  const std::vector<Entry>& entries() const { return entries_; }

  // Into `changes`, also the request's own grant. False: refused.
  bool Enqueue(const ExtentRequest& request, Nanos now, ExtentChanges* changes) {
    const Entry entry{request, request.mode, request.extent};
    entries_.push_back(entry);
    const bool blocked = Blocked(entries_.size() - 1);
    if (blocked && request.no_wait) {
      entries_.pop_back();
      return false;
    }
    if (blocked) CallBack(entry, /*own_too=*/true, changes);
    Settle(now, changes);
    return true;
  }
  void Cancel(size_t index, Nanos now, ExtentChanges* changes) {
    const Entry entry = entries_[index];
    if (entry.recalled && IsWriting(entry.mode)) Remember(entry.owner(), now);
    entries_.erase(entries_.begin() + static_cast<ptrdiff_t>(index));
    Settle(now, changes);
  }
  void Convert(size_t index, Mode mode, Extent extent, Nanos now, ExtentChanges* changes) {
    Entry& entry = entries_[index];
    if (entry.recalled && IsWriting(entry.mode) && !IsWriting(mode)) Remember(entry.owner(), now);
    entry.mode = mode;
    entry.extent = extent;
    entry.recalled = false;
    for (const Entry& other : entries_) {
      if (other.granted || !Conflict(entry, other)) continue;
      entry.recalled = true;
      changes->callbacks.push_back({entry.request.name, other.mode, other.extent});
      break;
    }
    Settle(now, changes);
  }
  void CancelOwner(uint64_t owner, Nanos now, ExtentChanges* changes) {
    std::erase_if(entries_, [owner](const Entry& entry) { return entry.owner() == owner; });
    std::erase_if(past_, [owner](const auto& past) { return past.second == owner; });
    Settle(now, changes);
  }
  void Recall(uint64_t owner, Mode mode, Extent extent, Nanos now, ExtentChanges* changes) {
    CallBack({{.name = {owner, 0}}, mode, extent}, /*own_too=*/false, changes);
    Settle(now, changes);
  }

 private:
  using Cells = std::array<bool, kBytes + 1>;

  static bool ModesConflict(const Entry& a, const Entry& b) {
    const bool group = a.mode == Mode::kGroup || b.mode == Mode::kGroup;
    if (a.owner() == b.owner() && !group) return false;
    return !Compatible(a.mode, b.mode, a.request.group_id == b.request.group_id);
  }
  static void Paint(const Extent& extent, Cells* cells) {
    for (uint64_t i = extent.start; i < std::min(extent.end, kBytes); ++i) (*cells)[i] = true;
    if (extent.end > kBytes) (*cells)[kBytes] = true;
  }
  static bool Conflict(const Entry& a, const Entry& b) {
    if (a.request.name == b.request.name || !ModesConflict(a, b)) return false;
    Cells in_a{};
    Cells in_b{};
    Paint(a.extent, &in_a);
    Paint(b.extent, &in_b);
    for (size_t i = 0; i < in_a.size(); ++i) {
      if (in_a[i] && in_b[i]) return true;
    }
    return false;
  }
  bool HasToGiveBack(uint64_t owner) const {
    return std::ranges::any_of(
        entries_, [owner](const Entry& e) { return e.recalled && e.owner() == owner; });
  }
  bool Blocked(size_t index) const {
    const Entry& entry = entries_[index];
    const bool may_pass = HasToGiveBack(entry.owner());
    for (size_t i = 0; i < entries_.size(); ++i) {
      const bool counts = entries_[i].granted || (i < index && !may_pass);
      if (counts && Conflict(entry, entries_[i])) return true;
    }
    return false;
  }
  void CallBack(const Entry& wanted, bool own_too, ExtentChanges* changes) {
    for (Entry& held : entries_) {
      if (!held.granted || held.recalled || !Conflict(wanted, held)) continue;
      if (held.owner() == wanted.owner() && !own_too) continue;
      held.recalled = true;
      changes->callbacks.push_back({held.request.name, wanted.mode, wanted.extent});
    }
  }
  void Settle(Nanos now, ExtentChanges* changes) {
    for (size_t i = 0; i < entries_.size(); ++i) {
      Entry& entry = entries_[i];
      if (entry.granted || Blocked(i)) continue;
      entry.recalled = std::ranges::any_of(
          entries_, [&](const Entry& e) { return !e.granted && Conflict(e, entry); });
      entry.extent = entry.recalled ? entry.extent : Grown(entry, now);
      entry.granted = true;
      changes->granted.push_back(entry.AsGrant());
      i = SIZE_MAX;  // from the first again
    }
  }
  void Remember(uint64_t owner, Nanos now) {
    std::erase_if(past_, [owner](const auto& past) { return past.second == owner; });
    past_.insert({now + ExtentLocks::kWriterMemory, owner});
    if (past_.size() > 2) past_.erase(past_.begin());
  }
  bool HasTwoWriters(Nanos now) const {
    std::set<uint64_t> writers;
    for (const Entry& entry : entries_) {
      if (IsWriting(entry.mode)) writers.insert(entry.owner());
    }
    for (const auto& [until, owner] : past_) {
      if (until > now) writers.insert(owner);
    }
    return writers.size() > 1;
  }
  Extent Grown(const Entry& entry, Nanos now) const {
    Extent grown = entry.extent;
    if (entry.request.exact || entry.mode == Mode::kGroup || HasTwoWriters(now)) return grown;
    size_t granted = 0;
    size_t waiting = 0;
    Cells taken{};
    for (const Entry& other : entries_) {
      if (other.request.name == entry.request.name || !ModesConflict(entry, other)) continue;
      ++(other.granted ? granted : waiting);
      Paint(other.extent, &taken);
    }
    while (grown.end < kBytes && !taken[grown.end]) ++grown.end;
    if (grown.end == kBytes) grown.end = kEof;
    if (granted == 0 && waiting <= 4) {
      while (grown.start > 0 && !taken[grown.start - 1]) --grown.start;
    }
    if (granted + waiting > 32)
      grown.end = std::min(grown.end, std::max(entry.extent.end, entry.extent.start + (32 << 20)));
    return grown;
  }

  std::vector<Entry> entries_;
  std::set<std::pair<Nanos, uint64_t>> past_;  // owners that lost a write lock, and until when
};

}  // namespace sheen::lock
