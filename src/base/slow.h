// Operations that took long, and what they waited on: one line of the log for each.
//
//   waits.Note("ost_write to sheen-OST0001", began, ended);   // each wait for somebody else
//   ...
//   if (took >= SlowAfter()) SHEEN_LOG(Warn, "... {}", waits.Within(began));
//
// Thread-safe.
#pragma once

#include <array>
#include <mutex>
#include <string>

#include "base/clock.h"

namespace sheen {

// One second, unless `lctl set_param slow_operation_ms=N` said otherwise; Nanos::max(): never.
Nanos SlowAfter();
void SetSlowAfter(Nanos time);

// The latest waits of some length, to be named by the operations that they were part of.
class SlowWaits final {
 public:
  // Shorter ones are not worth a place.
  static constexpr Nanos kWorthNaming = std::chrono::milliseconds(100);

  void Note(std::string what, Nanos began, Nanos ended);
  // The longest that lies in [began, now], as "ost_write to sheen-OST0001 for 1.3 s"; or that no
  // wait for a server is known.
  std::string Within(Nanos began) const;

 private:
  struct Wait {
    std::string what;
    Nanos began{0};
    Nanos ended{0};
  };
  static constexpr size_t kKept = 64;

  mutable std::mutex mutex_;  // guards what follows
  std::array<Wait, kKept> waits_;
  size_t next_ = 0;
};

double SecondsOf(Nanos time);

}  // namespace sheen
