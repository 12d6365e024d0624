// Haste: what makes a demand of a request that began as a prefetch, wherever it is by then: waiting
// for its turn, under way, or between two attempts.
//
//   Haste haste;
//   ...co_await client->GetRange({.call = {.priority = kPrefetch, .haste = &haste}}, ...);
//   haste.Hasten();      // on any thread: somebody waits for it now
//
// Thread-safe. Must outlive the calls it was given to.
#pragma once

#include <functional>
#include <mutex>
#include <utility>

namespace sheen::s3 {

class Haste final {
 public:
  bool hastened() const {
    const std::scoped_lock lock(mutex_);
    return hastened_;
  }
  // Idempotent.
  void Hasten() {
    std::function<void()> hook;
    {
      const std::scoped_lock lock(mutex_);
      hastened_ = true;
      hook.swap(hook_);
    }
    if (hook) hook();
  }

  // `hook` is called once, when hastened while this lives; it may still run just after.
  // REQUIRES: one at a time.
  class Registration final {
   public:
    Registration(Haste* owner, std::function<void()> hook) : owner_(owner) {
      if (owner_ == nullptr) return;
      {
        const std::scoped_lock lock(owner_->mutex_);
        if (!owner_->hastened_) {
          owner_->hook_ = std::move(hook);
          return;
        }
      }
      hook();
    }
    Registration(const Registration&) = delete;
    Registration& operator=(const Registration&) = delete;
    ~Registration() {
      if (owner_ == nullptr) return;
      const std::scoped_lock lock(owner_->mutex_);
      owner_->hook_ = nullptr;
    }

   private:
    Haste* const owner_;
  };

 private:
  mutable std::mutex mutex_;  // guards what follows; a leaf
  bool hastened_ = false;
  std::function<void()> hook_;
};

}  // namespace sheen::s3
