// HeldFileLocks: what this mount holds of one file's flock and fcntl locks, as far as the MDS's
// answers say. It is declared again when the MDS has lost it.
//
// Answers come to several shards and overtake each other. Each carries the place of its change in
// the MDS's order (`sequence`), and each piece here that of the change which made it:
//
//   unlock [0,10) at 7, then the answer to write [0,20) at 6   ->   [0,10) nothing, [10,20) write
//
// so that what was let go is remembered, as a piece of type kUnlock, until the owner has nothing
// under way any more (Settle).
//
// Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "lock/file_locks.h"

namespace sheen::client {

class HeldFileLocks final {
 public:
  struct Change {
    lock::FileLock lock;  // type kUnlock: let go
    uint64_t sequence = 0;
  };
  // A request leaves. What it may take away is not held any more, whatever comes of it: were it
  // declared to a restarted MDS, which had carried it out before its end, it would be in the way of
  // those who were granted it since.
  void Weaken(const lock::FileLock& asked);
  // It was answered.
  void Apply(const Change& change);
  // What the owner has of the extent, by start, gaps as kUnlock: all of it, nothing else.
  std::vector<lock::FileLock> PiecesIn(const lock::FileLockOwner& owner,
                                       const lock::Extent& extent) const;
  // Locks only.
  std::vector<lock::FileLock> All() const;
  bool Holds(const lock::FileLockOwner& owner) const;
  // No answer for the owner is still to come.
  void Settle(const lock::FileLockOwner& owner);
  // The MDS says that others have it, whatever came before.
  void Lose(const lock::FileLock& lock);
  bool empty() const { return owners_.empty(); }

 private:
  struct Piece {
    uint64_t end = 0;
    lock::FileLockType type = lock::FileLockType::kUnlock;
    uint32_t pid = 0;
    uint64_t sequence = 0;
  };
  using Pieces = std::map<uint64_t, Piece>;  // by start; they do not overlap
  static void SplitAt(Pieces* pieces, uint64_t place);
  static void Carve(Pieces* pieces, const lock::Extent& extent, uint64_t sequence);
  static void Fill(Pieces* pieces, const lock::Extent& extent, const Piece& like);

  std::map<lock::FileLockOwner, Pieces> owners_;
};

}  // namespace sheen::client
