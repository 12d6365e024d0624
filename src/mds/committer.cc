#include "mds/committer.h"

#include <utility>

namespace sheen::mds {

async::Task<Status> Committer::WaitCommitted(uint64_t transno) {
  if (transno <= mdt_->LastCommitted()) co_return Status();
  async::OneShot<Status> done;
  bool start = false;
  {
    std::lock_guard lock(mutex_);
    waiters_.push_back({transno, async::Shard::Current(), &done});
    start = !std::exchange(running_, true);
  }
  if (start) pool_->Submit([this] { RunSyncs(); });
  co_return co_await done;
}

void Committer::Kick() {
  if (!mdt_->Dirty()) return;
  {
    std::lock_guard lock(mutex_);
    if (std::exchange(running_, true)) return;
  }
  pool_->Submit([this] { RunSyncs(); });
}

void Committer::Drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return !running_; });
}

void Committer::RunSyncs() {
  for (;;) {
    const Status synced = mdt_->Sync();
    std::vector<Waiter> ready;
    bool more = false;
    {
      std::lock_guard lock(mutex_);
      const uint64_t committed = mdt_->LastCommitted();
      std::erase_if(waiters_, [&](const Waiter& waiter) {
        const bool served = !synced || waiter.transno <= committed;
        if (served) ready.push_back(waiter);
        return served;
      });
      more = !waiters_.empty();
      if (!more) {
        running_ = false;
        // Under the mutex: Drain's caller may destroy this as soon as it sees running_.
        idle_.notify_all();
      }
    }
    for (const Waiter& waiter : ready) {
      waiter.shard->Post([done = waiter.done, synced] { done->Set(synced); });
    }
    if (!more) return;
  }
}

}  // namespace sheen::mds
