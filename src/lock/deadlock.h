// DeadlockGraph: who waits for whom, over the record locks of all files of one server and all
// clients.
//
//   P holds a, waits for b        Q holds b, asks for a:   Q -> P -> Q, EDEADLK
//
// An owner waits for those who hold what its waiting requests conflict with. Only the waits are
// kept here; whom they wait for is asked of the files when a circle is looked for, since that
// changes with every lock taken or let go. A process with several threads can wait more than once.
//
// Kept true by FileLocks: there is no circle. A wait that would close one is refused; a lock that
// is granted while its owner waits elsewhere may close one too, then the waiter behind it fails.
// Only POSIX locks are in it: descriptions (flock, OFD) are handed from process to process, so that
// nobody can say who waits.
//
// Not thread-safe: used under the same lock, or on the same shard, as its FileLocks.
#pragma once

#include <cstddef>
#include <map>
#include <utility>
#include <vector>

#include "lock/file_locks.h"

namespace sheen::lock {

class DeadlockGraph final {
 public:
  // `request` stays where it is until RemoveWait.
  void AddWait(const FileLocks* file, const FileLockRequest* request);
  void RemoveWait(const FileLockRequest* request);
  bool IsWaiting(const FileLockOwner& owner) const { return waits_.contains(owner); }

  // Does a chain of waits lead from those who hold what `request` conflicts with back to its owner?
  bool LeadsBack(const FileLocks& file, const FileLockRequest& request) const;

  bool empty() const { return waits_.empty(); }

 private:
  struct Wait {
    const FileLocks* file = nullptr;
    const FileLockRequest* request = nullptr;
  };
  std::map<FileLockOwner, std::vector<Wait>> waits_;  // no empty lists
};

}  // namespace sheen::lock
