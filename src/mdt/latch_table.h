// LatchTable: short exclusive holds on FIDs while an operation runs over its transaction.
//
// Nobody ever waits while holding: TryLock answers at once. An operation that meets a busy latch
// gives back all it holds, queues with Wait(), and runs again from its start when it is woken; the
// latch that it waited for is handed to it, so that it is not overtaken for ever. Operations that
// run again take what they are known to need in FID order first.
//
// Thread-safe. Entries exist only while held, so a table costs nothing at rest.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <vector>

#include "fid/fid.h"

namespace sheen::mdt {

class LatchTable final {
 public:
  using Owner = uint64_t;  // unique among running operations; never 0

  // True when `owner` has the latch now (also when it had it before).
  bool TryLock(const Fid& fid, Owner owner);
  // REQUIRES: `owner` has it. The first waiter becomes the owner and its `wake` is called.
  void Unlock(const Fid& fid, Owner owner);
  // Queues for a latch: `wake` is called once, on any thread, when `owner` has got it. False: it
  // is free by now and `owner` has got it; `wake` is not called.
  bool Wait(const Fid& fid, Owner owner, std::function<void()> wake);
  size_t held_count() const;

 private:
  struct Waiter {
    Owner owner;
    std::function<void()> wake;
  };
  struct Entry {
    Fid fid;
    Owner owner;
    std::deque<Waiter>* waiters;  // null: none; owned
  };
  // Few are held at a time: a scan of a short vector beats a map's allocations.
  struct alignas(64) Stripe {
    mutable std::mutex mutex;  // guards entries
    std::vector<Entry> entries;
  };
  static constexpr size_t kStripeCount = 64;

  Stripe& StripeOf(const Fid& fid) { return stripes_[std::hash<Fid>()(fid) % kStripeCount]; }

  std::array<Stripe, kStripeCount> stripes_;
};

}  // namespace sheen::mdt
