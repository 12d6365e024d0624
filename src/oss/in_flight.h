// InFlight: since when has the oldest request been in flight? To within a few seconds, for the
// price of two atomic additions a request: arrivals are counted in slots of kSlotNs, used in turn.
//
// Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

namespace sheen::oss {

class InFlight final {
 public:
  static constexpr int64_t kSlotNs = 4'000'000'000;
  static constexpr int64_t kSlots = 256;  // 17 minutes; a longer request would count as younger

  // Counts a request from its construction on.
  class Entry final {
   public:
    Entry(InFlight* owner, int64_t now_ns) : count_(&owner->counts_[SlotOf(now_ns)]) {
      count_->fetch_add(1, std::memory_order_relaxed);
    }
    ~Entry() { count_->fetch_sub(1, std::memory_order_relaxed); }
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;

   private:
    std::atomic<uint32_t>* const count_;
  };

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
};

}  // namespace sheen::oss
