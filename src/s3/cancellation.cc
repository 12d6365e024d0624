#include "s3/cancellation.h"

#include "async/sync.h"

namespace sheen::s3 {

async::Task<void> SleepUnlessCancelled(async::Shard* shard, Nanos duration, Cancellation* stop) {
  if (stop != nullptr && stop->cancelled()) co_return;
  async::OneShot<bool> woken;
  const auto wake = [&woken] { woken.Set(true); };
  const async::TimerId timer = shard->AddTimer(shard->Now() + duration, wake);
  // Not at once: whoever cancels may not expect to be overtaken by what it ends.
  Cancellation::Registration registration(stop, [shard, timer, wake] {
    if (shard->CancelTimer(timer)) shard->AddTimer(shard->Now(), wake);
  });
  co_await woken;
}

}  // namespace sheen::s3
