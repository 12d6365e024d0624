// Threads that make one harmless FUSE request on a chosen core.
//
// A request that finds no ring entry waits in the kernel's queue of its core, and only a
// COMMIT_AND_FETCH on that queue takes it from there; registering a further entry does not. When
// all entries are parked there may be no such commit for ever. A request made on that core takes a
// further entry, is answered by the transport at once, and its commit fetches what waits.
#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sheen::fuse {

// Thread-safe. A kick may itself wait for an entry, so a further one gets a further thread.
class Kicker final {
 public:
  explicit Kicker(std::string mountpoint) : mountpoint_(std::move(mountpoint)) {}
  ~Kicker();
  void Kick(uint32_t cpu);
  // Whether a request of thread `tid` is a kick: to be answered with any error, by nobody else.
  bool IsKick(uint32_t tid) const {
    // A slot of a thread that has not begun yet says 0, as does a request of the kernel's own.
    if (tid == 0) return false;
    const size_t count = thread_count_.load(std::memory_order_acquire);
    for (size_t i = 0; i < count; ++i) {
      if (tids_[i].load(std::memory_order_relaxed) == tid) return true;
    }
    return false;
  }

 private:
  void Run(size_t index);
  void KickOne(uint32_t cpu);

  const std::string mountpoint_;
  std::mutex mutex_;  // guards all below
  std::condition_variable ready_;
  std::deque<uint32_t> cpus_;
  size_t idle_threads_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;

  static constexpr size_t kThreadsMax = 64;
  std::array<std::atomic<uint32_t>, kThreadsMax> tids_{};
  std::atomic<size_t> thread_count_{0};
  std::atomic<bool> refused_logged_{false};
};

}  // namespace sheen::fuse
