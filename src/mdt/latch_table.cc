#include "mdt/latch_table.h"

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sheen::mdt {

bool LatchTable::TryLock(const Fid& fid, Owner owner) {
  Stripe& stripe = StripeOf(fid);
  std::lock_guard lock(stripe.mutex);
  for (const Entry& entry : stripe.entries) {
    if (entry.fid == fid) return entry.owner == owner;
  }
  stripe.entries.push_back({fid, owner, nullptr});
  return true;
}

void LatchTable::Unlock(const Fid& fid, Owner owner) {
  Stripe& stripe = StripeOf(fid);
  std::function<void()> wake;
  {
    std::lock_guard lock(stripe.mutex);
    const auto entry = std::find_if(stripe.entries.begin(), stripe.entries.end(),
                                    [&](const Entry& other) { return other.fid == fid; });
    SHEEN_ASSERT(entry != stripe.entries.end() && entry->owner == owner);
    if (entry->waiters == nullptr) {
      *entry = stripe.entries.back();
      stripe.entries.pop_back();
      return;
    }
    Waiter next = std::move(entry->waiters->front());
    entry->waiters->pop_front();
    if (entry->waiters->empty()) delete std::exchange(entry->waiters, nullptr);
    entry->owner = next.owner;
    wake = std::move(next.wake);
  }
  wake();
}

bool LatchTable::Wait(const Fid& fid, Owner owner, std::function<void()> wake) {
  Stripe& stripe = StripeOf(fid);
  std::lock_guard lock(stripe.mutex);
  for (Entry& entry : stripe.entries) {
    if (entry.fid != fid) continue;
    SHEEN_ASSERT(entry.owner != owner);
    if (entry.waiters == nullptr) entry.waiters = new std::deque<Waiter>();
    entry.waiters->push_back({owner, std::move(wake)});
    return true;
  }
  stripe.entries.push_back({fid, owner, nullptr});
  return false;
}

size_t LatchTable::held_count() const {
  size_t count = 0;
  for (const Stripe& stripe : stripes_) {
    std::lock_guard lock(stripe.mutex);
    count += stripe.entries.size();
  }
  return count;
}

}  // namespace sheen::mdt
