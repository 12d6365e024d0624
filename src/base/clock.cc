#include "base/clock.h"

namespace sheen {
namespace {

class RealClock final : public Clock {
 public:
  Nanos Monotonic() const override { return std::chrono::steady_clock::now().time_since_epoch(); }
  Nanos Wall() const override { return std::chrono::system_clock::now().time_since_epoch(); }
};

}  // namespace

const Clock& SystemClock() {
  static const RealClock clock;
  return clock;
}

}  // namespace sheen
