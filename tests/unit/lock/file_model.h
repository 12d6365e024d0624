// The rules of FileLocks and DeadlockGraph over arrays of bytes and a list of waiters: several
// files of kBytes bytes each, and one cell for all that lies beyond.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "lock/file_locks.h"

namespace sheen::lock {

class FileModel final {
 public:
  static constexpr uint64_t kBytes = 24;
  using Cells = std::array<FileLockType, kBytes + 1>;
  struct Waiter {
    size_t file = 0;
    FileLockRequest request;
  };

  explicit FileModel(size_t file_count) : held_(file_count) {}

  const std::vector<Waiter>& waiters() const { return waiters_; }

  FileLockAnswer Set(size_t file, FileLockRequest request) {
    FileLockAnswer answer;
    if (request.owner.kind == FileLockKind::kFlock) request.extent = Extent::Whole();
    if (request.type == FileLockType::kUnlock || !Blocked(file, request)) {
      Grant(file, request, &answer.changes);
    } else {
      if (request.owner.kind == FileLockKind::kFlock)
        Paint(file, request.owner, Extent::Whole(), FileLockType::kUnlock);
      if (!request.wait) {
        answer.outcome = FileLockOutcome::kRefused;
      } else {
        waiters_.push_back({file, request});
        const bool circle = InCircle(waiters_.back());
        answer.outcome = circle ? FileLockOutcome::kDeadlock : FileLockOutcome::kWaiting;
        if (circle) waiters_.pop_back();
      }
    }
    Settle(file, &answer.changes);
    return answer;
  }
  void Abandon(FileLockRequestName name) {
    std::erase_if(waiters_, [&](const Waiter& waiter) { return waiter.request.name() == name; });
  }
  FileLockChanges ReleaseOwner(size_t file, const FileLockOwner& owner) {
    FileLockChanges changes;
    held_[file].erase(owner);
    Settle(file, &changes);
    return changes;
  }
  FileLockChanges ReleaseClient(size_t file, uint64_t client) {
    FileLockChanges changes;
    std::erase_if(waiters_, [&](const Waiter& waiter) {
      return waiter.file == file && waiter.request.owner.client == client;
    });
    std::erase_if(held_[file], [&](const auto& held) { return held.first.client == client; });
    Settle(file, &changes);
    return changes;
  }
  // The maximal runs of one type, as F_GETLK and /proc/locks would have them; without pids.
  std::vector<FileLock> Held(size_t file) const {
    std::vector<FileLock> runs;
    for (const auto& [owner, cells] : held_[file]) {
      for (uint64_t i = 0; i <= kBytes; ++i) {
        if (cells[i] == FileLockType::kUnlock) continue;
        const uint64_t end = i == kBytes ? kEof : i + 1;
        if (i > 0 && cells[i] == cells[i - 1]) {
          runs.back().extent.end = end;
        } else {
          runs.push_back({owner, cells[i], {i, end}, 0});
        }
      }
    }
    return runs;
  }
  // Any circle at all among those who wait?
  bool HasCircle() const {
    return std::ranges::any_of(waiters_, [this](const Waiter& waiter) { return InCircle(waiter); });
  }

 private:
  static bool IsPosix(const FileLockOwner& owner) { return owner.kind == FileLockKind::kPosix; }
  static bool Exclude(FileLockType a, FileLockType b) {
    if (a == FileLockType::kUnlock || b == FileLockType::kUnlock) return false;
    return a == FileLockType::kWrite || b == FileLockType::kWrite;
  }
  static bool SameWorld(const FileLockOwner& a, const FileLockOwner& b) {
    return (a.kind == FileLockKind::kFlock) == (b.kind == FileLockKind::kFlock);
  }
  static uint64_t LastCell(const Extent& extent) { return std::min(extent.end, kBytes + 1) - 1; }

  void Paint(size_t file, const FileLockOwner& owner, const Extent& extent, FileLockType type) {
    auto [found, fresh] = held_[file].try_emplace(owner);
    if (fresh) found->second.fill(FileLockType::kUnlock);
    for (uint64_t i = extent.start; i <= LastCell(extent); ++i) found->second[i] = type;
    if (std::ranges::count(found->second, FileLockType::kUnlock) == kBytes + 1)
      held_[file].erase(found);
  }
  std::set<FileLockOwner> BlockersOf(size_t file, const FileLockRequest& request) const {
    std::set<FileLockOwner> blockers;
    for (const auto& [owner, cells] : held_[file]) {
      if (owner == request.owner || !SameWorld(owner, request.owner)) continue;
      for (uint64_t i = request.extent.start; i <= LastCell(request.extent); ++i) {
        if (Exclude(cells[i], request.type)) blockers.insert(owner);
      }
    }
    return blockers;
  }
  bool Blocked(size_t file, const FileLockRequest& request) const {
    return !BlockersOf(file, request).empty();
  }
  // Owners that can be reached from this wait, step by step until nothing is added.
  bool InCircle(const Waiter& start) const {
    if (!IsPosix(start.request.owner)) return false;
    std::set<FileLockOwner> reached = BlockersOf(start.file, start.request);
    for (size_t before = 0; before != reached.size();) {
      before = reached.size();
      for (const Waiter& waiter : waiters_) {
        if (!IsPosix(waiter.request.owner) || !reached.contains(waiter.request.owner)) continue;
        reached.merge(BlockersOf(waiter.file, waiter.request));
      }
    }
    return reached.contains(start.request.owner);
  }
  void Grant(size_t file, const FileLockRequest& request, FileLockChanges* changes) {
    Paint(file, request.owner, request.extent, request.type);
    for (size_t i = 0; i < waiters_.size();) {
      const FileLockRequest& other = waiters_[i].request;
      const bool behind = waiters_[i].file == file && other.owner != request.owner &&
                          Exclude(other.type, request.type) &&
                          other.extent.Overlaps(request.extent);
      if (!behind || !InCircle(waiters_[i])) {
        ++i;
        continue;
      }
      changes->deadlocked.push_back(other.name());
      waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
    }
  }
  void Settle(size_t file, FileLockChanges* changes) {
    for (size_t i = 0; i < waiters_.size(); ++i) {
      if (waiters_[i].file != file || Blocked(file, waiters_[i].request)) continue;
      const FileLockRequest request = waiters_[i].request;
      waiters_.erase(waiters_.begin() + static_cast<ptrdiff_t>(i));
      changes->granted.push_back(request.name());
      Grant(file, request, changes);
      i = SIZE_MAX;  // from the first again
    }
  }

  std::vector<std::map<FileLockOwner, Cells>> held_;  // by file
  std::vector<Waiter> waiters_;                       // in order of arrival
};

}  // namespace sheen::lock
