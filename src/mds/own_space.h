// OwnSpace: is there room on the MDT's disk for more rows? It looks at the disk every
// commit_interval, and again when much was written since; between two looks it counts.
//
// Below the reserve (kv/space_reserve.h) operations that add names or larger rows fail with
// kNoSpace, until 1/16 more than the reserve is free. All others go on: what they write replaces or
// deletes rows, so that a flush gives their log back, and a compaction what they deleted; Tend does
// both.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>

#include "async/blocking_pool.h"
#include "base/clock.h"
#include "mdt/mdt.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::mds {

class OwnSpace final {
 public:
  using Source = std::function<Result<v1::TargetSpace>()>;

  // All must outlive it, and every Submit of the pool must have run before it goes (Drain). Without
  // a source there is always room.
  OwnSpace(mdt::Mdt* mdt, async::BlockingPool* pool, const Clock* clock, Source source);

  // Looks at the disk. Blocks. The answer's state has an S when there is no room. Errors: the
  // source's; what was known before stays.
  Result<v1::TargetSpace> Measure();
  // Never blocks; starts a look at the disk when what is known is old. Errors: kNoSpace, with what
  // is left and what is kept free.
  Status CheckRoom();

  // Less than 1.5 times the reserve is free, so Tend may win some back before it is all gone.
  bool WantsTending() const { return Written() >= tending_begins_.load(std::memory_order_relaxed); }
  // Gives back to the disk: the log, once and again after every R / 8 written to it; what some
  // hundred deleted rows took, step by step in the background until no table has them any more.
  // Blocks for a flush. One call at a
  // time. Errors: the store's and the source's.
  Status Tend();
  // Blocks until no look at the disk that CheckRoom started runs. Not on a shard.
  void Drain();

 private:
  uint64_t Written() const { return mdt_->BytesWritten(); }
  bool Full() const { return Written() >= room_ends_.load(std::memory_order_relaxed); }

  mdt::Mdt* const mdt_;
  async::BlockingPool* const pool_;
  const Clock* const clock_;
  const Source source_;
  // Values of Mdt::BytesWritten().
  std::atomic<uint64_t> tending_begins_{UINT64_MAX};  // from here on there is little room
  std::atomic<uint64_t> room_ends_{UINT64_MAX};       // from here on there is none
  std::atomic<uint64_t> look_again_{UINT64_MAX};      // from here on what is known is old
  std::atomic<uint64_t> available_{0};            // as measured
  std::atomic<uint64_t> reserve_{0};
  std::atomic<bool> measuring_{false};
  std::mutex measure_mutex_;  // one look at the disk at a time

  // Tend's.
  uint64_t flushed_at_ = 0;    // BytesWritten() at the last flush
  uint64_t deleted_at_ = 0;    // RowsDeleted() at the last step but the repeated ones
  int steps_left_ = 0;
  Nanos step_after_{0};
};

}  // namespace sheen::mds
