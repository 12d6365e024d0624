#include "ost/group_call.h"

#include "async/rw_lock.h"

namespace sheen::ost {

// Leads the next round at once when none is running, else queues.
struct GroupCall::Entry {
  GroupCall* group;
  Waiter* self;

  bool await_ready() const noexcept { return false; }
  bool await_suspend(std::coroutine_handle<> caller) {
    std::lock_guard lock(group->mutex_);
    if (!group->running_) {
      group->running_ = true;
      self->leads = true;
      return false;
    }
    self->shard = async::Shard::Current();
    self->caller = caller;
    group->waiting_.push_back(self);
    return true;
  }
  void await_resume() const noexcept {}
};

async::Task<Status> GroupCall::Run(io::FileIo* io) {
  Waiter self;
  co_await Entry{this, &self};
  if (!self.leads) co_return self.status;

  std::vector<Waiter*> followers;
  {
    std::lock_guard lock(mutex_);
    followers.swap(waiting_);
  }
  const Status status = co_await work_(io);
  Waiter* next = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (waiting_.empty()) {
      running_ = false;
    } else {
      next = waiting_.front();
      waiting_.erase(waiting_.begin());
      next->leads = true;
    }
  }
  // A follower's frame may be gone as soon as it is resumed: it is not touched after.
  for (Waiter* follower : followers) {
    follower->status = status;
    async::ResumeOn(follower->shard, follower->caller);
  }
  if (next != nullptr) async::ResumeOn(next->shard, next->caller);
  co_return status;
}

}  // namespace sheen::ost
