#include "base/slow.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>

namespace sheen {
namespace {

std::atomic<Nanos> g_slow_after{std::chrono::seconds(1)};

// A wait may have begun a turn of the loop before the operation noted its own beginning.
constexpr Nanos kSlack = std::chrono::milliseconds(10);

}  // namespace

Nanos SlowAfter() { return g_slow_after.load(std::memory_order_relaxed); }
void SetSlowAfter(Nanos time) { g_slow_after.store(time, std::memory_order_relaxed); }

double SecondsOf(Nanos time) { return std::chrono::duration<double>(time).count(); }

void SlowWaits::Note(std::string what, Nanos began, Nanos ended) {
  if (ended - began < kWorthNaming) return;
  const std::lock_guard lock(mutex_);
  waits_[next_] = {std::move(what), began, ended};
  next_ = (next_ + 1) % kKept;
}

std::string SlowWaits::Within(Nanos began) const {
  const std::lock_guard lock(mutex_);
  const Wait* longest = nullptr;
  for (const Wait& wait : waits_) {
    if (wait.what.empty() || wait.began + kSlack < began) continue;
    if (longest == nullptr || wait.ended - wait.began > longest->ended - longest->began) {
      longest = &wait;
    }
  }
  if (longest == nullptr) return "no wait for a server is known";
  return fmt::format("waited on {} for {:.3f} s", longest->what,
                     SecondsOf(longest->ended - longest->began));
}

}  // namespace sheen
