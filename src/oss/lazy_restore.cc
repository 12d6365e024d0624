// Whole objects: a job for each that is asked for. It outlives the calls that ask, which return
// after their time with what was brought so far; the next call finds it. When nobody has asked for
// kLinger it begins nothing more, and ends.
#include <algorithm>

#include "oss/lazy_flight.h"

namespace sheen::oss {
namespace {

constexpr Nanos kLinger = std::chrono::seconds(2);
constexpr Nanos kLook = std::chrono::milliseconds(20);
// So long after a demand has waited another is expected; restores then have less room, in shorter
// runs, so that little is on its way when it comes.
constexpr Nanos kDemandsGoOn = std::chrono::milliseconds(250);
constexpr uint64_t kBlocksBesideDemands = 16;

}  // namespace

struct LazyLoader::RestoreJob {
  struct Part {
    std::vector<Joined> joined;
    uint64_t blocks = 0;  // of restore_blocks_
    uint64_t bytes = 0;
  };
  Place place;
  uint64_t next_block = 0;
  std::deque<Part> under_way;

  uint64_t bytes = 0;  // brought, and not told to a caller yet
  uint64_t callers = 0;
  Nanos left_at{0};  // the last of them
  bool done = false;
  Result<bool> complete = false;
  async::WaitQueue news;

  bool Abandoned(Nanos now) const { return callers == 0 && now - left_at >= kLinger; }
};

bool LazyLoader::DemandsGoOn() const {
  if (demands_.load() > 0) return true;
  const Nanos last(demand_ns_.load(std::memory_order_relaxed));
  return last != Nanos(0) && async::Shard::Current()->Now() - last < kDemandsGoOn;
}

bool LazyLoader::Crowded(uint64_t blocks) const {
  return restore_flying_ > 0 && restore_flying_ + blocks > kBlocksBesideDemands && DemandsGoOn();
}

// False: it is to end. Who has runs under way does not wait for others' here: they might wait for
// its own, which only it can end.
async::Task<bool> LazyLoader::Pace(const RestoreJob* job, uint64_t blocks, uint64_t bytes) {
  async::Shard* const shard = async::Shard::Current();
  const uint64_t rate = restore_rate_.load();
  Nanos begin{0};
  if (rate != 0) {
    begin = std::max(restore_next_, shard->Now());
    restore_next_ = begin + std::chrono::duration_cast<Nanos>(std::chrono::duration<double>(
                                static_cast<double>(bytes) / static_cast<double>(rate)));
  }
  for (;;) {
    if (stopping_.load() || job->Abandoned(shard->Now())) co_return false;
    const bool crowded = job->under_way.empty() && Crowded(blocks);
    if (begin <= shard->Now() && !crowded) co_return true;
    const Nanos soon = shard->Now() + std::chrono::milliseconds(1);
    co_await shard->SleepUntil(std::min(std::max(begin, soon), shard->Now() + kLook));
  }
}

// Only who holds no room waits for some: so those who hold it never wait for each other.
async::Task<Result<LazyLoader::Begun>> LazyLoader::BeginRestoreRun(RestoreJob* job) {
  const Place place = job->place;
  const uint64_t from = job->next_block * ost::kResidencyBlockBytes;
  const uint64_t run_blocks = DemandsGoOn() ? 1 : kRunBlocks;
  SHEEN_CO_TRY_ASSIGN(const ost::Target::Missing missing,
                      co_await place.target->FindMissing(place.io, place.key.id, from, UINT64_MAX,
                                                         false, run_blocks));
  if (missing.blocks.empty()) co_return Begun::kNothingLeft;
  RestoreJob::Part part;
  part.blocks = missing.blocks.size();
  for (const uint64_t block : missing.blocks) {
    const uint64_t begin = block * ost::kResidencyBlockBytes;
    part.bytes += std::min(ost::kResidencyBlockBytes, missing.source.bytes - begin);
  }
  const bool room = restore_waiters_ == 0 && restore_blocks_.available() >= part.blocks;
  if ((!room || Crowded(part.blocks)) && !job->under_way.empty()) co_return Begun::kFull;
  if (!room) ++restore_waiters_;
  co_await restore_blocks_.Acquire(part.blocks);
  if (!room) --restore_waiters_;
  if (!co_await Pace(job, part.blocks, part.bytes)) {
    restore_blocks_.Release(async::Shard::Current(), part.blocks);
    co_return Begun::kFull;  // the loop looks why
  }
  part.joined = Join(place, missing, Urgency::kRestore);
  restore_flying_ += part.blocks;
  job->next_block = missing.blocks.back() + 1;
  job->under_way.push_back(std::move(part));
  co_return Begun::kYes;
}

async::Task<Status> LazyLoader::EndRestoreRun(RestoreJob* job) {
  const RestoreJob::Part part = std::move(job->under_way.front());
  job->under_way.pop_front();
  Status first;
  for (const Joined& one : part.joined) {
    const Status brought = co_await one.flight->Wait();
    if (!brought && first) first = brought;
  }
  restore_flying_ -= part.blocks;
  restore_blocks_.Release(async::Shard::Current(), part.blocks);
  if (first) job->bytes += part.bytes;
  job->news.WakeAll(async::Shard::Current());
  co_return first;
}

// The object, as far as it comes.
async::Task<Status> LazyLoader::BringAll(RestoreJob* job) {
  bool more = true;
  Status failed;
  while (more || !job->under_way.empty()) {
    const bool enough = stopping_.load() || job->Abandoned(async::Shard::Current()->Now());
    if (more && failed && !enough && job->under_way.size() < kRestoreFlightsPerObject) {
      const Result<Begun> begun = co_await BeginRestoreRun(job);
      if (!begun) failed = std::unexpected(begun.error());
      more = begun && *begun != Begun::kNothingLeft;
      if (!begun || *begun != Begun::kFull) continue;
    }
    if (job->under_way.empty()) break;
    const Status ended = co_await EndRestoreRun(job);
    if (!ended && failed) failed = ended;
  }
  co_return failed;
}

async::Task<void> LazyLoader::RunRestore(std::shared_ptr<RestoreJob> job) {
  const Status brought = co_await BringAll(job.get());
  // Not what was begun: what was released meanwhile is absent again. And an object that was
  // destroyed has not failed.
  const auto left = co_await job->place.target->FindMissing(job->place.io, job->place.key.id, 0,
                                                            UINT64_MAX, false, 1);
  if (left) job->complete = left->blocks.empty();
  // Who hears that it is complete asks no more: it must not be absent again after a restart.
  if (left && left->blocks.empty()) {
    const Status kept = co_await job->place.target->Commit(job->place.io);
    if (!kept) job->complete = std::unexpected(kept.error());
  }
  if (!brought) job->complete = std::unexpected(brought.error());
  if (!left) job->complete = std::unexpected(left.error());
  job->done = true;
  restores_.erase(job->place.key);
  job->news.WakeAll(async::Shard::Current());
  running_.fetch_sub(1);
}

async::Task<Result<LazyLoader::Restored>> LazyLoader::Restore(Place place, RestoreLimits limits) {
  if (source_ == nullptr) co_return Fail(Errc::kIo, "this server has no agents");
  if (stopping_.load()) co_return Fail(Errc::kUnavailable, "the server is stopping");
  async::Shard* const shard = async::Shard::Current();
  std::shared_ptr<RestoreJob>& known = restores_[place.key];
  const bool begins = known == nullptr;
  if (begins) known = std::make_shared<RestoreJob>();
  const std::shared_ptr<RestoreJob> job = known;
  ++job->callers;
  if (begins) {
    job->place = place;
    running_.fetch_add(1);
    shard->Spawn(RunRestore(job));
  }
  while (!job->done && job->bytes < limits.bytes && shard->Now() < limits.until &&
         !stopping_.load()) {
    async::TimerId timer;
    const bool bounded = limits.until != Nanos::max();
    if (bounded) timer = shard->AddTimer(limits.until, [job, shard] { job->news.WakeAll(shard); });
    co_await job->news.Wait();
    if (bounded) shard->CancelTimer(timer);
  }
  --job->callers;
  job->left_at = shard->Now();
  const uint64_t bytes = std::exchange(job->bytes, 0);
  if (stopping_.load()) co_return Fail(Errc::kUnavailable, "the server is stopping");
  if (!job->done) co_return Restored{bytes, false};
  SHEEN_CO_TRY_ASSIGN(const bool complete, job->complete);
  co_return Restored{bytes, complete};
}

}  // namespace sheen::oss
