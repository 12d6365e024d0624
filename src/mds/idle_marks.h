// IdleMarks: which clients had gone, and had nothing to bring back, when the server ended: the next
// start need not wait for them. A client is marked 3 s after its last connection ended: nothing is
// valid any more that it keeps; all that it was answered is in the log before the mark, so one
// that a power cut left says the truth. It is taken away durably before a client is served again.
//
//   key "idle/" + session id (u64 big-endian) in kConfig; value: the boot that wrote it, as a mark
//   of mdt::EncodeCommitted. Only one of the boot right before counts: a boot that does not know of
//   marks leaves them.
//
// Thread-safe. `mutex_` is held over writes of the store: Load and Unmark block.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "async/blocking_pool.h"
#include "mdt/mdt.h"
#include "rpc/server.h"

namespace sheen::mds {

class IdleMarks final {
 public:
  // Before the first request. Those of the `known` sessions that need not be waited for; marked for
  // this boot as well.
  Result<std::set<uint64_t>> Load(mdt::Mdt* mdt, const std::set<uint64_t>& known);
  // Its last connection ended a while ago: marked soon, on `pool`, unless it comes back meanwhile.
  void Left(mdt::Mdt* mdt, async::BlockingPool* pool, std::shared_ptr<const rpc::Session> session);
  // Blocks until nothing runs on the pool any more.
  void Drain();
  // It is coming back. True: Unmark, and Settled when that is durable, before it is served; by each
  // of its connections until one of them has done so.
  bool Returned(uint64_t session_id);
  // Gives the transno that must be durable; 0: none.
  Result<uint64_t> Unmark(mdt::Mdt* mdt, uint64_t session_id);
  void Settled(uint64_t session_id);
  // The session has ended: its mark goes, and none is made any more. Blocks.
  Status Forget(mdt::Mdt* mdt, uint64_t session_id);

 private:
  Status Mark(mdt::Mdt* mdt, const rpc::Session& session);

  std::mutex mutex_;  // guards marked_
  std::set<uint64_t> marked_;
  std::mutex left_mutex_;  // guards what follows; a leaf
  std::set<uint64_t> left_;
  // Came back after they had left, with the transno that takes the mark away; 0: not known yet.
  std::map<uint64_t, uint64_t> returning_;
  uint64_t running_ = 0;
  std::condition_variable idle_;
};

}  // namespace sheen::mds
