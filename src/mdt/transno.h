// TransnoTracker: gives transaction numbers and knows up to where all of them are in the log.
//
//   transno = boot count << 40 | counter (from 1)
//
// A number is taken under the operation's latches just before its batch is written, and finished
// when the batch is in the log or has been given up. LowWater() never passes a number in flight, so
// what was in the log before a sync began is known (hazard: last_committed must not pass a gap).
//
// Thread-safe.
#pragma once

#include <cstdint>
#include <mutex>
#include <vector>

#include "base/transno.h"

namespace sheen::mdt {

class TransnoTracker final {
 public:
  explicit TransnoTracker(uint64_t boot) : last_(TransnoBase(boot)) {}
  // Other numbers that are taken and finished likewise: those after `last`.
  struct After {
    uint64_t last = 0;
  };
  explicit TransnoTracker(After after) : last_(after.last) {}

  uint64_t Begin();
  // REQUIRES: Begin() gave it and it was not finished.
  void Finish(uint64_t transno);
  // Every number up to it is finished.
  uint64_t LowWater() const;
  // The last that was given.
  uint64_t Last() const;

 private:
  mutable std::mutex mutex_;  // guards everything below
  uint64_t last_;
  std::vector<uint64_t> in_flight_;  // ascending, since numbers are
};

}  // namespace sheen::mdt
