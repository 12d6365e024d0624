#include "async/blocking_pool.h"

namespace sheen::async {

BlockingPool::BlockingPool(uint32_t thread_count) {
  threads_.reserve(thread_count);
  for (uint32_t i = 0; i < thread_count; ++i) threads_.emplace_back([this] { WorkerLoop(); });
}

BlockingPool::~BlockingPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void BlockingPool::Submit(std::function<void()> work) {
  if (threads_.empty()) {
    work();
    return;
  }
  {
    std::lock_guard lock(mutex_);
    queue_.push_back(std::move(work));
  }
  ready_.notify_one();
}

void BlockingPool::WorkerLoop() {
  for (;;) {
    std::function<void()> work;
    {
      std::unique_lock lock(mutex_);
      while (queue_.empty() && !stopping_) ready_.wait(lock);
      if (queue_.empty()) return;
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace sheen::async
