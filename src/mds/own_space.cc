#include "mds/own_space.h"

#include <algorithm>
#include <string>
#include <thread>
#include <utility>

#include "base/log.h"
#include "kv/space_reserve.h"

namespace sheen::mds {
namespace {

// What deleted rows took is not known (an xattr may be 64 KiB), so they are counted.
constexpr uint64_t kDeletedRowsMin = 200;
// A step takes rows one level down; RocksDB has seven. What is not done in time goes on meanwhile.
constexpr int kSteps = 7;
constexpr Nanos kStepPause = std::chrono::seconds(1);
// Steps come to nothing while a compaction finds no room (RocksDB pauses for 5 s after each that
// did not), and a restart forgets what was counted. So the tables are asked, and it goes on.
constexpr Nanos kLatePause = std::chrono::seconds(3);

std::string Mebibytes(uint64_t bytes) { return std::to_string(bytes >> 20) + " MiB"; }

}  // namespace

OwnSpace::OwnSpace(mdt::Mdt* mdt, async::BlockingPool* pool, const Clock* clock, Source source)
    : mdt_(mdt), pool_(pool), clock_(clock), source_(std::move(source)) {}

Result<v1::TargetSpace> OwnSpace::Measure() {
  const std::lock_guard lock(measure_mutex_);
  // Before the look: what is written meanwhile is counted twice rather than not at all.
  const uint64_t written = mdt_->BytesWritten();
  SHEEN_TRY_ASSIGN(v1::TargetSpace space, source_());
  const uint64_t reserve = kv::SpaceReserve(space.bytes_total());
  if (reserve == 0) return space;
  const uint64_t available = space.bytes_available();
  const bool was_full = Full();
  const uint64_t mark = was_full ? reserve + reserve / 16 : reserve;
  available_.store(available, std::memory_order_relaxed);
  reserve_.store(reserve, std::memory_order_relaxed);
  look_again_.store(written + reserve / 32, std::memory_order_relaxed);
  const auto end_at = [&](uint64_t kept) {
    return available > kept ? written + available - kept : 0;
  };
  tending_begins_.store(end_at(reserve + reserve / 2), std::memory_order_relaxed);
  room_ends_.store(available > mark ? end_at(reserve) : 0, std::memory_order_relaxed);
  const bool full = Full();
  if (full) space.set_state("S");
  if (full == was_full) return space;
  if (full) {
    SHEEN_LOG(Warn,
              "{}: its disk is full, {} are left and {} are kept free; nothing can be created "
              "until something is removed or the disk is made larger",
              mdt_->name(), Mebibytes(available), Mebibytes(reserve));
  } else {
    SHEEN_LOG(Info, "{}: its disk has room again, {} are left", mdt_->name(), Mebibytes(available));
  }
  return space;
}

Status OwnSpace::CheckRoom() {
  const uint64_t written = mdt_->BytesWritten();
  if (written >= look_again_.load(std::memory_order_relaxed) && !measuring_.exchange(true)) {
    pool_->Submit([this] {
      const auto measured = Measure();
      if (!measured) SHEEN_LOG(Warn, "{}: {}", mdt_->name(), measured.error().ToString());
      measuring_.store(false, std::memory_order_release);
    });
  }
  if (!Full()) return {};
  return Fail(Errc::kNoSpace, "the MDT's disk is full: " + Mebibytes(available_.load()) +
                                  " are left, and " + Mebibytes(reserve_.load()) +
                                  " are kept free so that files can be removed");
}

Status OwnSpace::Tend() {
  const Nanos now = clock_->Monotonic();
  const uint64_t written = mdt_->BytesWritten();
  const uint64_t deleted = mdt_->RowsDeleted();
  if (deleted - deleted_at_ >= kDeletedRowsMin) {
    deleted_at_ = deleted;
    steps_left_ = kSteps;
  }
  const bool rows = now >= step_after_ &&
                    (steps_left_ > 0 || mdt_->store()->DeletedRows() >= kDeletedRowsMin);
  const bool log = flushed_at_ == 0 || written - flushed_at_ >= reserve_.load() / 8;
  if (!rows && !log) return {};
  SHEEN_TRY(
      mdt_->store()->ReclaimSpace(rows ? kv::Reclaim::kDeletedRows : kv::Reclaim::kLog));
  flushed_at_ = written;
  if (rows) {
    step_after_ = now + (steps_left_ > 0 ? kStepPause : kLatePause);
    steps_left_ = std::max(steps_left_ - 1, 0);
  }
  const auto measured = Measure();
  return measured ? Status() : std::unexpected(measured.error());
}

void OwnSpace::Drain() {
  // statvfs takes microseconds, and it is the last thing that the pool does with this.
  while (measuring_.load(std::memory_order_acquire)) std::this_thread::yield();
}

}  // namespace sheen::mds
