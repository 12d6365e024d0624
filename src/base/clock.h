// Time as a seam: real daemons read the kernel's clocks, the simulator its own.
//
// Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>

namespace sheen {

using Nanos = std::chrono::nanoseconds;

class Clock {
 public:
  virtual ~Clock() = default;
  // Since an arbitrary start; never goes back. For deadlines and durations.
  virtual Nanos Monotonic() const = 0;
  // Since 1970-01-01 UTC. For timestamps that users see.
  virtual Nanos Wall() const = 0;
};

// Shared by the process; lives until it ends.
const Clock& SystemClock();

class ManualClock final : public Clock {
 public:
  Nanos Monotonic() const override { return now_; }
  Nanos Wall() const override { return now_ + kWallStart; }
  void Advance(Nanos by) { now_ += by; }
  void AdvanceTo(Nanos to) {
    if (to > now_) now_ = to;
  }

 private:
  static constexpr Nanos kWallStart = std::chrono::seconds(1'700'000'000);
  Nanos now_{0};
};

}  // namespace sheen
