// ParkAwaiter: waits in the queue of the latch that was busy, and has it afterwards.
//
// Awaited on a shard, which resumes it.
#pragma once

#include <coroutine>

#include "async/shard.h"
#include "mds/op_context.h"

namespace sheen::mds {

struct ParkAwaiter {
  LatchSet* latches;
  Fid fid;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    async::Shard* shard = async::Shard::Current();
    return latches->table()->Wait(fid, latches->owner(),
                                  [shard, caller] { shard->Post([caller] { caller.resume(); }); });
  }
  void await_resume() { latches->Took(fid); }
};

}  // namespace sheen::mds
