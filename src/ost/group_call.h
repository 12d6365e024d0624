// GroupCall: many callers share one execution of a costly step (a commit, a store sync).
//
//   callers   A   B C        D
//   rounds    |--- 1 ---|--- 2 ---|--- 3 ---|     A gets 1; B and C get 2; D gets 3
//
// A caller is served by a round that began after its call, so everything it did before is covered.
// Thread-safe; a round runs on the shard of one of its callers. Must outlive its callers.
#pragma once

#include <coroutine>
#include <functional>
#include <mutex>
#include <vector>

#include "async/shard.h"
#include "async/task.h"
#include "io/file_io.h"
#include "sheen/result.h"

namespace sheen::ost {

class GroupCall final {
 public:
  using Work = std::function<async::Task<Status>(io::FileIo*)>;
  explicit GroupCall(Work work) : work_(std::move(work)) {}

  // `io` is the caller's shard's.
  async::Task<Status> Run(io::FileIo* io);

 private:
  struct Waiter {
    async::Shard* shard = nullptr;
    std::coroutine_handle<> caller;
    Status status;
    bool leads = false;
  };
  struct Entry;

  const Work work_;
  std::mutex mutex_;  // guards running_, waiting_
  bool running_ = false;
  std::vector<Waiter*> waiting_;  // for the next round
};

}  // namespace sheen::ost
