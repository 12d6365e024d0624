#include "client/rpc_limit.h"

#include <algorithm>
#include <coroutine>
#include <utility>

namespace sheen::client {

// In queue_ until it has a place. What is not the queue's belongs to its shard.
struct RpcLimit::Waiter {
  explicit Waiter(async::Shard* at) : shard(at) {}
  void Go() {
    if (!std::exchange(gone_on, true) && handle) std::exchange(handle, nullptr).resume();
  }

  async::Shard* const shard;
  std::coroutine_handle<> handle;
  async::TimerId timer;
  bool gone_on = false;
};

bool RpcLimit::TakeFree() {
  uint32_t taken = taken_.load();
  while (taken < most_.load()) {
    if (taken_.compare_exchange_weak(taken, taken + 1)) return true;
  }
  return false;
}

bool RpcLimit::TryTake() { return waiting_.load() == 0 && TakeFree(); }

void RpcLimit::Give(Nanos now) {
  taken_.fetch_sub(1);
  // Wait() counts itself before it looks for a place once more: one of the two sees the other.
  if (waiting_.load() > 0) LetIn(now);
}

void RpcLimit::SetMost(uint32_t most, Nanos now) {
  most_.store(most);
  LetIn(now);
}

void RpcLimit::LetIn(Nanos now) {
  const std::scoped_lock lock(mutex_);
  given_at_ = std::max(given_at_, now);
  while (!queue_.empty() && TakeFree()) {
    const std::shared_ptr<Waiter> next = std::move(queue_.front());
    queue_.pop_front();
    waiting_.fetch_sub(1);
    next->shard->Post([next] { next->Go(); });
  }
}

async::Task<void> RpcLimit::Wait(async::Shard* shard) {
  struct Awaiter {
    Waiter* waiter;
    bool await_ready() const noexcept { return waiter->gone_on; }
    void await_suspend(std::coroutine_handle<> caller) noexcept { waiter->handle = caller; }
    void await_resume() const noexcept {}
  };
  const auto waiter = std::make_shared<Waiter>(shard);
  waiting_.fetch_add(1);
  {
    const std::scoped_lock lock(mutex_);
    if (queue_.empty() && TakeFree()) {
      waiting_.fetch_sub(1);
      co_return;
    }
    queue_.push_back(waiter);
  }
  waiter->timer =
      shard->AddTimer(shard->Now() + kStallMax, [this, waiter] { OnTimer(waiter); });
  co_await Awaiter{waiter.get()};
  shard->CancelTimer(waiter->timer);
}

void RpcLimit::OnTimer(const std::shared_ptr<Waiter>& waiter) {
  async::Shard* const shard = waiter->shard;
  {
    const std::scoped_lock lock(mutex_);
    if (std::ranges::find(queue_, waiter) == queue_.end()) return;  // it has one, and will go on
    if (const Nanos until = given_at_ + kStallMax; shard->Now() < until) {
      waiter->timer = shard->AddTimer(until, [this, waiter] { OnTimer(waiter); });
      return;
    }
    std::erase(queue_, waiter);
    waiting_.fetch_sub(1);
    taken_.fetch_add(1);
    stalled_.fetch_add(1);
  }
  waiter->Go();
}

}  // namespace sheen::client
