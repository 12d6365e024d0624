// RpcLimit: how many requests of a mount may be under way to one target at a time, over all shards
// (Lustre's max_rpcs_in_flight). Who comes when all places are taken waits, first come first go.
//
//   if (!limit.TryTake()) co_await limit.Wait(shard);
//   const RpcPlace place(&limit, &shard->clock());   // gives it back with its destruction
//
// A request may have to wait at its server until another of this mount has been answered (its lock
// is called back, and what is held under it must be written first). So nobody waits for ever: who
// has waited while no place has become free for kStallMax goes on without one.
//
// Thread-safe; a wait belongs to the shard that it was begun on.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>

#include "async/shard.h"
#include "async/task.h"

namespace sheen::client {

class RpcLimit final {
 public:
  // More than a mount has under way in general; Lustre's default of 8 is for slower networks.
  static constexpr uint32_t kDefault = 256;
  static constexpr uint32_t kMostMax = 512;
  static constexpr Nanos kStallMax = std::chrono::seconds(1);

  uint32_t most() const { return most_.load(std::memory_order_relaxed); }
  // REQUIRES: 1 to kMostMax. Who waits and has room now goes on; `now`: monotonic.
  void SetMost(uint32_t most, Nanos now);
  uint32_t taken() const { return taken_.load(std::memory_order_relaxed); }
  // How many have gone on without a free place.
  uint64_t stalled() const { return stalled_.load(std::memory_order_relaxed); }

  // False: all are taken, or others wait already.
  bool TryTake();
  async::Task<void> Wait(async::Shard* shard);
  void Give(Nanos now);

 private:
  struct Waiter;
  bool TakeFree();
  void LetIn(Nanos now);
  void OnTimer(const std::shared_ptr<Waiter>& waiter);

  std::atomic<uint32_t> most_{kDefault};
  std::atomic<uint32_t> taken_{0};
  std::atomic<uint64_t> stalled_{0};
  std::atomic<uint32_t> waiting_{0};  // about to be in queue_, or there
  std::mutex mutex_;                  // guards what follows
  std::deque<std::shared_ptr<Waiter>> queue_;
  Nanos given_at_{0};  // a place, while somebody waited
};

// A place that was taken; null: none was.
class RpcPlace final {
 public:
  RpcPlace(RpcLimit* limit, const Clock* clock) : limit_(limit), clock_(clock) {}
  ~RpcPlace() {
    if (limit_ != nullptr) limit_->Give(clock_->Monotonic());
  }
  RpcPlace(const RpcPlace&) = delete;
  RpcPlace& operator=(const RpcPlace&) = delete;

 private:
  RpcLimit* const limit_;
  const Clock* const clock_;
};

}  // namespace sheen::client
