#include "async/rw_lock.h"

#include "base/log.h"

namespace sheen::async {

void ResumeOn(Shard* shard, std::coroutine_handle<> caller) {
  if (shard == Shard::Current()) {
    shard->Defer(caller);
  } else {
    shard->Post([caller] { caller.resume(); });
  }
}

void RwGuard::Release() {
  if (lock_ != nullptr) std::exchange(lock_, nullptr)->Unlock(exclusive_);
}

AsyncRwLock::~AsyncRwLock() {
  SHEEN_ASSERT(shared_count_ == 0 && !exclusive_held_ && first_ == nullptr);
}

bool AsyncRwLock::FreeFor(bool exclusive) const {
  return exclusive ? shared_count_ == 0 && !exclusive_held_ : !exclusive_held_;
}

void AsyncRwLock::Take(bool exclusive) {
  if (exclusive) {
    exclusive_held_ = true;
  } else {
    ++shared_count_;
  }
}

bool AsyncRwLock::Awaiter::await_suspend(std::coroutine_handle<> caller) {
  std::lock_guard lock(lock_->mutex_);
  if (lock_->first_ == nullptr && lock_->FreeFor(exclusive_)) {
    lock_->Take(exclusive_);
    return false;
  }
  shard_ = Shard::Current();
  SHEEN_ASSERT(shard_ != nullptr);
  caller_ = caller;
  if (lock_->last_ != nullptr) {
    lock_->last_->next_ = this;
  } else {
    lock_->first_ = this;
  }
  lock_->last_ = this;
  return true;
}

void AsyncRwLock::Unlock(bool exclusive) {
  Awaiter* granted = nullptr;
  Awaiter** tail = &granted;
  {
    std::lock_guard lock(mutex_);
    if (exclusive) {
      exclusive_held_ = false;
    } else {
      --shared_count_;
    }
    while (first_ != nullptr && FreeFor(first_->exclusive_)) {
      Awaiter* waiter = first_;
      Take(waiter->exclusive_);
      first_ = waiter->next_;
      if (first_ == nullptr) last_ = nullptr;
      waiter->next_ = nullptr;
      *tail = waiter;
      tail = &waiter->next_;
    }
  }
  // A waiter's frame may go as soon as it is resumed, on another thread even at once: read first.
  while (granted != nullptr) {
    Awaiter* waiter = granted;
    granted = waiter->next_;
    ResumeOn(waiter->shard_, waiter->caller_);
  }
}

}  // namespace sheen::async
