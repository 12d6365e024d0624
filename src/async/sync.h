// What coroutines on one shard wait for: OneShot (a value that comes once), WaitQueue, Semaphore,
// Gate (count of things in flight, closed at shutdown), and WhenAll.
//
// All are shard-confined: call only on the owning shard. Waiters resume in the order they came.
#pragma once

#include <coroutine>
#include <cstdint>
#include <deque>
#include <optional>
#include <utility>
#include <vector>

#include "async/shard.h"
#include "async/task.h"
#include "base/log.h"

namespace sheen::async {

// One value, set once, awaited by at most one coroutine. Set() resumes the waiter at once.
//   OneShot<int> done;  start([&](int r) { done.Set(r); });  int r = co_await done;
template <class T>
class OneShot final {
 public:
  OneShot() = default;
  OneShot(const OneShot&) = delete;
  OneShot& operator=(const OneShot&) = delete;

  // REQUIRES: not set before. `this` may be gone when it returns.
  void Set(T value) {
    SHEEN_ASSERT(!value_.has_value());
    value_.emplace(std::move(value));
    if (waiter_) std::exchange(waiter_, nullptr).resume();
  }
  bool is_set() const { return value_.has_value(); }

  bool await_ready() const noexcept { return value_.has_value(); }
  void await_suspend(std::coroutine_handle<> caller) noexcept { waiter_ = caller; }
  T await_resume() { return std::move(*value_); }

 private:
  std::optional<T> value_;
  std::coroutine_handle<> waiter_;
};

// Coroutines that wait until somebody wakes them; re-check your condition after it.
class WaitQueue final {
 public:
  auto Wait() {
    struct Awaiter {
      WaitQueue* queue;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> caller) { queue->waiters_.push_back(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }
  // They resume in the shard's next turn.
  void WakeOne(Shard* shard) {
    if (waiters_.empty()) return;
    shard->Defer(waiters_.front());
    waiters_.pop_front();
  }
  void WakeAll(Shard* shard) {
    for (const auto handle : waiters_) shard->Defer(handle);
    waiters_.clear();
  }
  bool empty() const { return waiters_.empty(); }
  size_t size() const { return waiters_.size(); }

 private:
  std::deque<std::coroutine_handle<>> waiters_;
};

// Counting semaphore, first come first served. Acquire(1) on Semaphore(1) is a mutex over awaits.
class Semaphore final {
 public:
  explicit Semaphore(uint64_t units) : units_(units) {}

  auto Acquire(uint64_t units) {
    struct Awaiter {
      Semaphore* semaphore;
      uint64_t units;
      bool await_ready() const noexcept {
        if (!semaphore->waiters_.empty() || semaphore->units_ < units) return false;
        semaphore->units_ -= units;
        return true;
      }
      void await_suspend(std::coroutine_handle<> caller) {
        semaphore->waiters_.push_back({caller, units});
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, units};
  }
  // Waiters that now fit resume in the shard's next turn.
  void Release(Shard* shard, uint64_t units) {
    units_ += units;
    while (!waiters_.empty() && waiters_.front().units <= units_) {
      units_ -= waiters_.front().units;
      shard->Defer(waiters_.front().handle);
      waiters_.pop_front();
    }
  }
  uint64_t available() const { return units_; }

 private:
  struct Waiter {
    std::coroutine_handle<> handle;
    uint64_t units;
  };
  uint64_t units_;
  std::deque<Waiter> waiters_;
};

// Counts what is in flight; Close() refuses new entries and waits for the last one to leave.
class Gate final {
 public:
  // False when closed: do not start.
  bool Enter() {
    if (closed_) return false;
    ++count_;
    return true;
  }
  void Leave(Shard* shard) {
    SHEEN_ASSERT(count_ > 0);
    if (--count_ == 0) drained_.WakeAll(shard);
  }
  Task<void> Close() {
    closed_ = true;
    while (count_ > 0) co_await drained_.Wait();
  }
  bool closed() const { return closed_; }
  uint64_t count() const { return count_; }

 private:
  bool closed_ = false;
  uint64_t count_ = 0;
  WaitQueue drained_;
};

namespace internal {
template <class T>
Task<void> CollectOne(Task<T> task, T* out, uint64_t* left, std::coroutine_handle<>* waiter) {
  *out = co_await std::move(task);
  if (--*left == 0 && *waiter) waiter->resume();
}
}  // namespace internal

// Starts all tasks at once and gives their results in the same order.
// REQUIRES: T is default-constructible.
template <class T>
Task<std::vector<T>> WhenAll(std::vector<Task<T>> tasks) {
  std::vector<T> results(tasks.size());
  uint64_t left = tasks.size() + 1;
  std::coroutine_handle<> waiter;
  Shard* shard = Shard::Current();
  for (size_t i = 0; i < tasks.size(); ++i) {
    shard->Spawn(internal::CollectOne<T>(std::move(tasks[i]), &results[i], &left, &waiter));
  }
  struct Awaiter {
    uint64_t* left;
    std::coroutine_handle<>* waiter;
    bool await_ready() const noexcept { return --*left == 0; }
    void await_suspend(std::coroutine_handle<> caller) { *waiter = caller; }
    void await_resume() const noexcept {}
  };
  co_await Awaiter{&left, &waiter};
  co_return results;
}

}  // namespace sheen::async
