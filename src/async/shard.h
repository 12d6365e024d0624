// Shard: one thread's event loop. It owns timers, a queue of things to run next, and a Poller (an
// io_uring, or the simulator) that brings completions. Everything on a shard runs to completion on
// its thread; Post() is the only way in from outside.
//
//   loop:  posted functions -> ready coroutines -> due timers -> Poller::Poll(until next timer)
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/clock.h"

namespace sheen::async {

class Poller {
 public:
  virtual ~Poller() = default;
  // Before Poll in each turn: what was gathered in it is queued. May add timers.
  virtual void EndTurn() {}
  // Submits what is queued and runs the callbacks of what has completed; waits at most `max_wait`
  // when nothing has (0: only looks). Owning thread only.
  virtual void Poll(Nanos max_wait) = 0;
  // Makes a Poll() that waits return soon. Thread-safe. What it is for is set before, and looked at
  // by the owner between EndTurn and Poll.
  virtual void Wake() = 0;
};

struct TimerId {
  Nanos deadline{0};
  uint64_t sequence = 0;
};

// Shard-confined: call only on the owning shard, except Post() and Stop().
class Shard final {
 public:
  // `poller` and `clock` must outlive the shard.
  Shard(Poller* poller, const Clock* clock, uint32_t index = 0);
  ~Shard();
  Shard(const Shard&) = delete;
  Shard& operator=(const Shard&) = delete;

  // Runs on the calling thread until Stop().
  void Run();
  // One turn; waits at most `max_wait`. For tests and the simulator. True when anything ran.
  bool RunOnce(Nanos max_wait);
  void Stop();                             // thread-safe
  void Post(std::function<void()> work);   // thread-safe; runs on the shard, in order

  // Starts `task` at once, on the caller's stack until it first waits. It frees itself.
  void Spawn(Task<void> task);
  // Spawned tasks that have not ended.
  uint64_t live_tasks() const { return live_tasks_; }
  // Resumes `handle` in the next turn.
  void Defer(std::coroutine_handle<> handle) { ready_.push_back(handle); }

  TimerId AddTimer(Nanos deadline, std::function<void()> action);
  // False when it has already run.
  bool CancelTimer(TimerId id);

  auto SleepUntil(Nanos deadline) {
    struct Awaiter {
      Shard* shard;
      Nanos deadline;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> caller) {
        shard->AddTimer(deadline, [caller] { caller.resume(); });
      }
      void await_resume() const noexcept {}
    };
    return Awaiter{this, deadline};
  }
  auto Sleep(Nanos duration) { return SleepUntil(Now() + duration); }
  // Lets everything else that is ready run first.
  auto Yield() {
    struct Awaiter {
      Shard* shard;
      bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<> caller) { shard->Defer(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

  Nanos Now() const { return clock_->Monotonic(); }
  Nanos WallNow() const { return clock_->Wall(); }
  const Clock& clock() const { return *clock_; }
  Poller* poller() const { return poller_; }
  uint32_t index() const { return index_; }
  // Earliest timer, or a negative value when there is none.
  Nanos NextTimer() const;

  // The shard whose Run() or RunOnce() is on this thread's stack; nullptr elsewhere.
  static Shard* Current();

 private:
  bool RunPosted();
  bool RunReady();
  bool RunTimers();

  Poller* const poller_;
  const Clock* const clock_;
  const uint32_t index_;

  std::mutex posted_mutex_;  // guards posted_
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> has_posted_{false};
  std::atomic<uint32_t> posting_{0};  // calls of Post under way; the destructor awaits their end
  std::atomic<bool> stopping_{false};

  std::deque<std::coroutine_handle<>> ready_;
  std::map<std::pair<Nanos, uint64_t>, std::function<void()>> timers_;
  uint64_t timer_sequence_ = 0;
  uint64_t live_tasks_ = 0;
};

}  // namespace sheen::async
