// FileLockBook: this mount's side of the flock and fcntl locks that the MDS keeps: what it holds,
// through which handle it was taken, and what is being let go in the background.
//
// Order. FLUSH may be answered before its unlock has reached the MDS, and requests leave from every
// shard by a connection of its own. So every request about a file waits until nothing of that file
// is being let go in the background.
//
// Generations. When the MDS has lost what it knew, one shard declares everything again (Declare);
// an answer to a request that left before that may be the lost server's: it is not recorded, and
// the request is sent again.
//
// Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "client/held_file_locks.h"
#include "client/shared_waiters.h"
#include "fid/fid.h"

namespace sheen::client {

class FileLockBook final {
 public:
  uint64_t generation() const { return generation_.load(); }

  // A request is under way. `handle`: what it takes goes with the handle, 0: no.
  void Begin(const Fid& fid, const lock::FileLock& asked, uint64_t handle);
  void End(const Fid& fid, const lock::FileLockOwner& owner);
  // False: of an older generation, not recorded.
  bool Apply(const Fid& fid, const HeldFileLocks::Change& change, uint64_t generation);
  std::vector<lock::FileLock> PiecesIn(const Fid& fid, const lock::FileLockOwner& owner,
                                       const lock::Extent& extent) const;
  // It holds something, or something of it is under way.
  bool Concerns(const Fid& fid, const lock::FileLockOwner& owner) const;

  // Between them requests about the file wait:
  // `while (book.LettingGo(fid)) co_await book.WaitLetGo(fid);`
  void BeginLetGo(const Fid& fid);
  void EndLetGo(const Fid& fid);
  bool LettingGo(const Fid& fid) const;
  auto WaitLetGo(const Fid& fid) {
    struct Awaiter {
      FileLockBook* book;
      Fid fid;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return book->AddWaiter(fid, caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, fid};
  }

  // What is done about the file in the background goes one after the other: an unlock at a close
  // must not be overtaken by what puts back the locks from before it.
  // `while (!book.TryTurn(fid)) co_await book.WaitTurn(fid);`
  bool TryTurn(const Fid& fid);
  void EndTurn(const Fid& fid);
  auto WaitTurn(const Fid& fid) {
    struct Awaiter {
      FileLockBook* book;
      Fid fid;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return book->AddToTurn(fid, caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, fid};
  }

  // At a close the kernel names the owner of POSIX locks, but not that of OFD locks, which end with
  // the handle. Who was named has nothing left to end with a handle.
  void OwnerNamed(const Fid& fid, const lock::FileLockOwner& owner);
  std::vector<lock::FileLockOwner> TakeOwners(const Fid& fid, uint64_t handle);

  struct Held {
    Fid fid;
    lock::FileLock lock;
  };
  // All that is held; begins a generation.
  std::vector<Held> Declare();
  void Lose(const Held& held);

 private:
  struct File {
    HeldFileLocks held;
    std::map<lock::FileLockOwner, uint32_t> under_way;
    uint32_t letting_go = 0;
    SharedWaiters waiters;
    bool turn_taken = false;  // by one that is counted in letting_go
    SharedWaiters turn_waiters;
    std::map<uint64_t, std::set<lock::FileLockOwner>> owners;  // by handle
    bool Empty() const {
      return held.empty() && under_way.empty() && letting_go == 0 && owners.empty();
    }
  };
  bool AddWaiter(const Fid& fid, std::coroutine_handle<> caller);
  bool AddToTurn(const Fid& fid, std::coroutine_handle<> caller);
  const File* Find(const Fid& fid) const;
  void ForgetIfEmpty(const Fid& fid);

  std::atomic<uint64_t> generation_{1};
  std::atomic<size_t> file_count_{0};  // so that a mount without locks pays nothing at a close
  mutable std::mutex mutex_;           // guards files_
  std::unordered_map<Fid, File> files_;
};

}  // namespace sheen::client
