// InFlight: since when has the oldest request been in flight? To within a few seconds, for the
// price of two atomic additions a request: arrivals are counted in slots of kSlotNs, used in turn.
//
// And: have all requests ended that began before a moment? They are counted in two phases as well,
// in turn: what began before a Turn() is in the phase that nobody joins any more.
//
// Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>
#include <utility>

namespace sheen::oss {

class InFlight final {
 public:
  static constexpr int64_t kSlotNs = 4'000'000'000;
  static constexpr int64_t kSlots = 256;  // 17 minutes; a longer request would count as younger

  // Counts a request from its construction on.
  class Entry final {
   public:
    Entry(InFlight* owner, int64_t now_ns)
        : owner_(owner),
          count_(&owner->counts_[SlotOf(now_ns)]),
          phase_(&owner->phases_[owner->turns_.load() % 2]) {
      count_->fetch_add(1, std::memory_order_relaxed);
      // Sequentially consistent: who does not see it is seen by what the request looks at next.
      phase_->fetch_add(1);
    }
    ~Entry() {
      count_->fetch_sub(1, std::memory_order_relaxed);
      if (phase_ != nullptr) phase_->fetch_sub(1);
    }
    // While it waits for something that is none of this server's, nobody waits for its end; it
    // stays old. It counts as begun anew by Resume(), and must look again at what a Turn() is for.
    void Pause() {
      if (phase_ != nullptr) std::exchange(phase_, nullptr)->fetch_sub(1);
    }
    void Resume() {
      if (phase_ != nullptr) return;
      phase_ = &owner_->phases_[owner_->turns_.load() % 2];
      phase_->fetch_add(1);
    }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    InFlight* const owner_;
    std::atomic<uint32_t>* const count_;
    std::atomic<uint32_t>* phase_;  // null: paused
  };

  // Begins a phase. nullopt: the one before the last has not ended, try again later.
  std::optional<uint64_t> Turn() {
    const std::scoped_lock lock(turn_mutex_);
    const uint64_t turns = turns_.load();
    if (phases_[(turns + 1) % 2].load() != 0) return std::nullopt;
    turns_.store(turns + 1);
    return turns + 1;
  }
  // What began before the Turn() that gave `turn` has ended.
  bool Ended(uint64_t turn) const {
    // Another Turn() came after it only because it had.
    return turns_.load() != turn || phases_[(turn + 1) % 2].load() == 0;
  }

  // At most the time at which the oldest request in flight arrived; `now_ns` when there is none.
  int64_t OldestNs(int64_t now_ns) const {
    const int64_t slot = now_ns / kSlotNs;
    for (int64_t age = kSlots - 1; age >= 0; --age) {
      const int64_t at = slot - age;
      if (at < 0) continue;
      const auto& count = counts_[static_cast<size_t>(at % kSlots)];
      if (count.load(std::memory_order_relaxed) > 0) return at * kSlotNs;
    }
    return now_ns;
  }

 private:
  static size_t SlotOf(int64_t now_ns) {
    return static_cast<size_t>(now_ns < 0 ? 0 : now_ns / kSlotNs % kSlots);
  }
  std::array<std::atomic<uint32_t>, static_cast<size_t>(kSlots)> counts_{};
  std::mutex turn_mutex_;  // one Turn at a time
  std::atomic<uint64_t> turns_{0};
  std::array<std::atomic<uint32_t>, 2> phases_{};  // requests, by turn % 2
};

}  // namespace sheen::oss
