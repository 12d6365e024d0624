// LockAwaiter: waits until something has changed about an inode whose locks are in the way.
//
// Awaited on a shard, which resumes it.
#pragma once

#include <coroutine>

#include "async/shard.h"
#include "mds/lock_table.h"

namespace sheen::mds {

struct LockAwaiter {
  LockTable* locks;
  LockTable::Owner owner;
  Fid fid;
  LockTable::SetAside aside;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* shard = async::Shard::Current();
    return locks->Wait(owner, fid, aside,
                       [shard, caller] { shard->Post([caller] { caller.resume(); }); });
  }
  void await_resume() const noexcept {}
};

}  // namespace sheen::mds
