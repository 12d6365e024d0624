#include "fuse/kicker.h"

#include <sched.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/log.h"

namespace sheen::fuse {

Kicker::~Kicker() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  ready_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Kicker::Kick(uint32_t cpu) {
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    cpus_.push_back(cpu);
    if (cpus_.size() > idle_threads_ && threads_.size() < kThreadsMax) {
      threads_.emplace_back([this, index = threads_.size()] { Run(index); });
    }
  }
  ready_.notify_one();
}

void Kicker::Run(size_t index) {
  tids_[index].store(static_cast<uint32_t>(gettid()));
  std::unique_lock lock(mutex_);
  thread_count_.store(std::max(thread_count_.load(), index + 1), std::memory_order_release);
  for (;;) {
    ++idle_threads_;
    ready_.wait(lock, [this] { return stopping_ || !cpus_.empty(); });
    --idle_threads_;
    if (stopping_) return;
    const uint32_t cpu = cpus_.front();
    cpus_.pop_front();
    lock.unlock();
    KickOne(cpu);
    lock.lock();
  }
}

void Kicker::KickOne(uint32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  // A core that is offline has no callers either; one outside this daemon's cpuset may have.
  if (sched_setaffinity(0, sizeof set, &set) != 0) {
    if (!refused_logged_.exchange(true)) {
      SHEEN_LOG(Warn,
                "core {} cannot be used by this daemon ({}): requests of callers there may be late "
                "when many wait; let the daemon run on all cores (AllowedCPUs=, cpuset)",
                cpu, std::strerror(errno));
    }
    return;
  }
  // Always sent, never cached, and no other request goes before it.
  struct statfs unused;
  (void)statfs(mountpoint_.c_str(), &unused);
}

}  // namespace sheen::fuse
