#include "client/held_file_locks.h"

#include <algorithm>
#include <utility>

namespace sheen::client {

using lock::Extent;
using lock::FileLock;
using lock::FileLockOwner;
using lock::FileLockType;

// Takes out of the extent what is not newer than `sequence`.
void HeldFileLocks::Carve(Pieces* pieces, const Extent& extent, uint64_t sequence) {
  auto at = pieces->lower_bound(extent.start);
  if (at != pieces->begin() && std::prev(at)->second.end > extent.start) --at;
  while (at != pieces->end() && at->first < extent.end) {
    if (at->second.sequence > sequence) {
      ++at;
      continue;
    }
    const uint64_t start = at->first;
    const Piece old = at->second;
    at = pieces->erase(at);
    if (start < extent.start) {
      Piece left = old;
      left.end = extent.start;
      pieces->emplace(start, left);
    }
    if (old.end > extent.end) at = pieces->emplace(extent.end, old).first;
  }
}

// Into what is free of the extent.
void HeldFileLocks::Fill(Pieces* pieces, const Extent& extent, const Piece& like) {
  uint64_t start = extent.start;
  auto at = pieces->lower_bound(start);
  if (at != pieces->begin()) start = std::max(start, std::prev(at)->second.end);
  while (start < extent.end) {
    const uint64_t end = at == pieces->end() ? extent.end : std::min(extent.end, at->first);
    if (start < end) {
      Piece piece = like;
      piece.end = end;
      pieces->emplace(start, piece);
    }
    if (at == pieces->end()) break;
    start = std::max(start, at->second.end);
    ++at;
  }
}

void HeldFileLocks::SplitAt(Pieces* pieces, uint64_t place) {
  auto at = pieces->lower_bound(place);
  if (at == pieces->begin() || std::prev(at)->second.end <= place) return;
  --at;
  Piece right = at->second;
  at->second.end = place;
  pieces->emplace(place, right);
}

void HeldFileLocks::Weaken(const FileLock& asked) {
  const auto found = owners_.find(asked.owner);
  if (found == owners_.end()) return;
  Pieces* const pieces = &found->second;
  SplitAt(pieces, asked.extent.start);
  SplitAt(pieces, asked.extent.end);
  const bool flock = asked.owner.kind == lock::FileLockKind::kFlock;
  for (auto at = pieces->lower_bound(asked.extent.start);
       at != pieces->end() && at->first < asked.extent.end; ++at) {
    FileLockType* const type = &at->second.type;
    // flock changes a shared lock to an exclusive one by letting go first.
    if (asked.type == FileLockType::kUnlock ||
        (flock && asked.type == FileLockType::kWrite && *type == FileLockType::kRead)) {
      *type = FileLockType::kUnlock;
    } else if (asked.type == FileLockType::kRead && *type == FileLockType::kWrite) {
      *type = FileLockType::kRead;
    }
  }
}

void HeldFileLocks::Apply(const Change& change) {
  Pieces* const pieces = &owners_[change.lock.owner];
  Carve(pieces, change.lock.extent, change.sequence);
  Fill(pieces, change.lock.extent, {0, change.lock.type, change.lock.pid, change.sequence});
}

std::vector<FileLock> HeldFileLocks::PiecesIn(const FileLockOwner& owner,
                                              const Extent& extent) const {
  std::vector<FileLock> out;
  uint64_t start = extent.start;
  const auto found = owners_.find(owner);
  if (found != owners_.end()) {
    for (const auto& [from, piece] : found->second) {
      const Extent part{std::max(from, extent.start), std::min(piece.end, extent.end)};
      if (part.start >= part.end || piece.type == FileLockType::kUnlock) continue;
      if (start < part.start) out.push_back({owner, FileLockType::kUnlock, {start, part.start}});
      out.push_back({owner, piece.type, part, piece.pid});
      start = part.end;
    }
  }
  if (start < extent.end) out.push_back({owner, FileLockType::kUnlock, {start, extent.end}});
  return out;
}

std::vector<FileLock> HeldFileLocks::All() const {
  std::vector<FileLock> out;
  for (const auto& [owner, pieces] : owners_) {
    for (const auto& [start, piece] : pieces) {
      if (piece.type != FileLockType::kUnlock)
        out.push_back({owner, piece.type, {start, piece.end}, piece.pid});
    }
  }
  return out;
}

bool HeldFileLocks::Holds(const FileLockOwner& owner) const {
  const auto found = owners_.find(owner);
  return found != owners_.end() && std::ranges::any_of(found->second, [](const auto& entry) {
           return entry.second.type != FileLockType::kUnlock;
         });
}

void HeldFileLocks::Settle(const FileLockOwner& owner) {
  const auto found = owners_.find(owner);
  if (found == owners_.end()) return;
  Pieces settled;
  for (const auto& [start, piece] : found->second) {
    if (piece.type == FileLockType::kUnlock) continue;
    Piece* const last = settled.empty() ? nullptr : &settled.rbegin()->second;
    if (last != nullptr && last->end == start && last->type == piece.type) {
      last->end = piece.end;
      last->sequence = std::max(last->sequence, piece.sequence);
    } else {
      settled.emplace(start, piece);
    }
  }
  if (settled.empty()) {
    owners_.erase(found);
  } else {
    found->second = std::move(settled);
  }
}

void HeldFileLocks::Lose(const FileLock& lock) {
  const auto found = owners_.find(lock.owner);
  if (found == owners_.end()) return;
  Carve(&found->second, lock.extent, UINT64_MAX);
  if (found->second.empty()) owners_.erase(found);
}

}  // namespace sheen::client
