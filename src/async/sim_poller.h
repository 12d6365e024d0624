// SimPoller: a Poller for virtual time. Nothing outside the shard exists, so waiting is jumping the
// clock: to the shard's next timer, or by the longest wait when it has none.
//
//   ManualClock clock;  SimPoller poller(&clock);  Shard shard(&poller, &clock);
//   shard.Spawn(Something());
//   ASSERT_TRUE(RunUntil(&shard, [&] { return done; }, std::chrono::seconds(10)));
//
// Shard-confined: one thread owns the clock, the poller and the shard.
#pragma once

#include "async/shard.h"
#include "base/clock.h"

namespace sheen::async {

class SimPoller final : public Poller {
 public:
  // `clock` must outlive the poller and be the shard's own.
  explicit SimPoller(ManualClock* clock) : clock_(clock) {}
  void Poll(Nanos max_wait) override { clock_->Advance(max_wait); }
  void Wake() override {}

 private:
  ManualClock* const clock_;
};

// Runs turns until `done()` is true; false when `limit` of virtual time passes first. The clock
// moves only when nothing is left to run now, so it stands still at the moment that made `done()`
// true. A shard with nothing to do and no timer uses up its limit in one turn.
template <class Done>
bool RunUntil(Shard* shard, Done done, Nanos limit) {
  const Nanos end = shard->Now() + limit;
  while (!done()) {
    if (shard->Now() >= end) return false;
    if (!shard->RunOnce(Nanos(0))) shard->RunOnce(end - shard->Now());
  }
  return true;
}

// Lets `duration` of virtual time pass.
inline void RunFor(Shard* shard, Nanos duration) {
  RunUntil(
      shard, [] { return false; }, duration);
}

}  // namespace sheen::async
