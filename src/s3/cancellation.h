// One switch that ends everything it was given to: requests under way, their queues, back-offs.
//
//   Cancellation stop;  ...co_await client->GetRange({.key = key, .stop = &stop}, ...);
//   stop.Cancel();      // elsewhere on this shard: the call above soon ends with kCancelled
//
// Shard-confined: call only on the owning shard. Must outlive the calls it was given to.
#pragma once

#include <functional>
#include <list>
#include <utility>

#include "async/shard.h"
#include "async/task.h"

namespace sheen::s3 {

class Cancellation final {
 public:
  using Hooks = std::list<std::function<void()>>;

  bool cancelled() const { return cancelled_; }
  // Idempotent. Calls what waits, in the order it came.
  void Cancel() {
    cancelled_ = true;
    while (!hooks_.empty()) {
      const std::function<void()> hook = std::move(hooks_.front());
      hooks_.pop_front();
      hook();
    }
  }

  // Calls `hook` once when cancelled, unless it is removed before. REQUIRES: not cancelled().
  class Registration final {
   public:
    Registration() = default;
    Registration(Cancellation* owner, std::function<void()> hook) : owner_(owner) {
      if (owner_ == nullptr) return;
      place_ = owner_->hooks_.insert(owner_->hooks_.end(), std::move(hook));
    }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    // Cancel() takes all hooks away before anything can be resumed later.
    ~Registration() {
      if (owner_ != nullptr && !owner_->cancelled_) owner_->hooks_.erase(place_);
    }

   private:
    Cancellation* owner_ = nullptr;
    Hooks::iterator place_;
  };

 private:
  bool cancelled_ = false;
  Hooks hooks_;
};

// Sleeps, at most until `stop` (which may be null) is cancelled.
async::Task<void> SleepUnlessCancelled(async::Shard* shard, Nanos duration, Cancellation* stop);

}  // namespace sheen::s3
