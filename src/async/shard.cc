#include "async/shard.h"

#include <algorithm>
#include <thread>

#include "base/log.h"

namespace sheen::async {
namespace {

thread_local Shard* t_current = nullptr;

// Longest wait with nothing to do: bounds the harm of a lost wake-up.
constexpr Nanos kIdleWait = std::chrono::seconds(1);

internal::Detached RunDetached(Task<void> task, uint64_t* live_tasks) {
  co_await std::move(task);
  --*live_tasks;
}

class CurrentScope final {
 public:
  explicit CurrentScope(Shard* shard) : previous_(t_current) { t_current = shard; }
  ~CurrentScope() { t_current = previous_; }

 private:
  Shard* previous_;
};

}  // namespace

Shard::Shard(Poller* poller, const Clock* clock, uint32_t index)
    : poller_(poller), clock_(clock), index_(index) {}

Shard::~Shard() {
  // What a Post from another thread brought may have ended the shard before that Post was through.
  while (posting_.load(std::memory_order_acquire) > 0) std::this_thread::yield();
}

Shard* Shard::Current() { return t_current; }

void Shard::Run() {
  while (!stopping_.load(std::memory_order_acquire)) RunOnce(kIdleWait);
}

bool Shard::RunOnce(Nanos max_wait) {
  CurrentScope scope(this);
  bool ran = RunPosted();
  ran |= RunReady();
  ran |= RunTimers();
  poller_->EndTurn();
  Nanos wait = max_wait;
  if (!ready_.empty() || has_posted_.load(std::memory_order_acquire) ||
      stopping_.load(std::memory_order_acquire)) {
    wait = Nanos(0);
  } else if (!timers_.empty()) {
    wait = std::clamp(timers_.begin()->first.first - Now(), Nanos(0), max_wait);
  }
  poller_->Poll(wait);
  return ran;
}

void Shard::Stop() {
  stopping_.store(true, std::memory_order_release);
  poller_->Wake();
}

void Shard::Post(std::function<void()> work) {
  posting_.fetch_add(1, std::memory_order_relaxed);
  {
    std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
    has_posted_.store(true, std::memory_order_release);
  }
  if (t_current != this) poller_->Wake();
  posting_.fetch_sub(1, std::memory_order_release);
}

void Shard::Spawn(Task<void> task) {
  ++live_tasks_;
  RunDetached(std::move(task), &live_tasks_);
}

TimerId Shard::AddTimer(Nanos deadline, std::function<void()> action) {
  const TimerId id{deadline, ++timer_sequence_};
  timers_.emplace(std::pair(deadline, id.sequence), std::move(action));
  return id;
}

bool Shard::CancelTimer(TimerId id) {
  return timers_.erase(std::pair(id.deadline, id.sequence)) > 0;
}

Nanos Shard::NextTimer() const {
  return timers_.empty() ? Nanos(-1) : timers_.begin()->first.first;
}

bool Shard::RunPosted() {
  if (!has_posted_.load(std::memory_order_acquire)) return false;
  std::vector<std::function<void()>> work;
  {
    std::lock_guard lock(posted_mutex_);
    work.swap(posted_);
    has_posted_.store(false, std::memory_order_release);
  }
  for (auto& function : work) function();
  return !work.empty();
}

bool Shard::RunReady() {
  // Only what is ready now: what these make ready runs next turn, after completions.
  size_t count = ready_.size();
  const bool ran = count > 0;
  while (count-- > 0) {
    const std::coroutine_handle<> handle = ready_.front();
    ready_.pop_front();
    handle.resume();
  }
  return ran;
}

bool Shard::RunTimers() {
  bool ran = false;
  const Nanos now = timers_.empty() ? Nanos(0) : Now();
  while (!timers_.empty() && timers_.begin()->first.first <= now) {
    auto node = timers_.extract(timers_.begin());
    node.mapped()();
    ran = true;
  }
  return ran;
}

}  // namespace sheen::async
