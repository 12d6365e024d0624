// AsyncRwLock: a reader/writer lock over awaits, for coroutines of any shard.
//
//   const RwGuard guard = co_await object->lock.Shared();
//
// First come, first served: a shared request behind a waiting exclusive one waits too, so that
// neither side starves. A waiter is resumed on the shard it waits on: in that shard's next turn, by
// Shard::Defer when the unlock happens there and by Shard::Post otherwise.
//
// Thread-safe. A lock must outlive its waiters and guards. Waiting requires a shard; taking a free
// lock does not.
#pragma once

#include <coroutine>
#include <cstdint>
#include <mutex>
#include <utility>

#include "async/shard.h"

namespace sheen::async {

class AsyncRwLock;

// Owns one shared or the exclusive hold; gives it back when it goes. Move-only.
class [[nodiscard]] RwGuard final {
 public:
  RwGuard() = default;
  RwGuard(AsyncRwLock* lock, bool exclusive) : lock_(lock), exclusive_(exclusive) {}
  RwGuard(RwGuard&& other) noexcept
      : lock_(std::exchange(other.lock_, nullptr)), exclusive_(other.exclusive_) {}
  RwGuard& operator=(RwGuard&& other) noexcept {
    if (this != &other) {
      Release();
      lock_ = std::exchange(other.lock_, nullptr);
      exclusive_ = other.exclusive_;
    }
    return *this;
  }
  ~RwGuard() { Release(); }

  void Release();
  bool held() const { return lock_ != nullptr; }
  bool exclusive() const { return lock_ != nullptr && exclusive_; }

 private:
  AsyncRwLock* lock_ = nullptr;
  bool exclusive_ = false;
};

class AsyncRwLock final {
 public:
  class Awaiter final {
   public:
    Awaiter(AsyncRwLock* lock, bool exclusive) : lock_(lock), exclusive_(exclusive) {}
    bool await_ready() const noexcept { return false; }
    // False: the lock was free and is held now.
    bool await_suspend(std::coroutine_handle<> caller);
    RwGuard await_resume() const noexcept { return RwGuard(lock_, exclusive_); }

   private:
    friend class AsyncRwLock;
    AsyncRwLock* const lock_;
    const bool exclusive_;
    Shard* shard_ = nullptr;
    std::coroutine_handle<> caller_;
    Awaiter* next_ = nullptr;
  };

  AsyncRwLock() = default;
  ~AsyncRwLock();
  AsyncRwLock(const AsyncRwLock&) = delete;
  AsyncRwLock& operator=(const AsyncRwLock&) = delete;

  Awaiter Shared() { return Awaiter(this, false); }
  Awaiter Exclusive() { return Awaiter(this, true); }

 private:
  friend class RwGuard;
  void Unlock(bool exclusive);
  bool FreeFor(bool exclusive) const;
  void Take(bool exclusive);

  std::mutex mutex_;  // guards everything below
  uint32_t shared_count_ = 0;
  bool exclusive_held_ = false;
  Awaiter* first_ = nullptr;  // the queue, linked through the waiters' frames
  Awaiter* last_ = nullptr;
};

// Resumes `caller` on `shard` in its next turn. Thread-safe.
void ResumeOn(Shard* shard, std::coroutine_handle<> caller);

}  // namespace sheen::async
