// A rate as a bucket of tokens: it fills at `rate` a second up to `burst`; what was taken beyond
// its content is a debt that must be paid off before more is given.
//
// Not thread-safe. Time is the caller's.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/clock.h"

namespace sheen::s3 {

class TokenBucket final {
 public:
  // rate 0: no limit.
  TokenBucket(double rate_per_second, double burst)
      : rate_(rate_per_second), burst_(burst), tokens_(burst) {}

  // True when something may be taken now, however much: a debt delays the next.
  bool Ready(Nanos now) {
    Fill(now);
    return rate_ <= 0 || tokens_ > 0;
  }
  void Take(double amount) { tokens_ -= amount; }
  // How long until Ready(); 0 when it is.
  Nanos Wait(Nanos now) {
    if (Ready(now)) return Nanos(0);
    return Nanos(static_cast<int64_t>((-tokens_ / rate_) * 1e9) + 1'000'000);
  }

 private:
  void Fill(Nanos now) {
    if (rate_ <= 0) {
      tokens_ = burst_;
      return;
    }
    if (last_ != Nanos(0)) {
      tokens_ += rate_ * std::chrono::duration<double>(now - last_).count();
      tokens_ = std::min(tokens_, burst_);
    }
    last_ = now;
  }

  double rate_;
  double burst_;
  double tokens_;
  Nanos last_{0};
};

}  // namespace sheen::s3
