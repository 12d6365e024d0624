// ObjectLocks after a restart: who may have held locks is waited for, and declares them.
#include <algorithm>

#include "base/log.h"
#include "oss/object_locks.h"

namespace sheen::oss {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(5);

Nanos Now() { return async::Shard::Current()->Now(); }

}  // namespace

void ObjectLocks::BeginRecovery(std::set<uint64_t> sessions) {
  if (sessions.empty()) return;
  returning_ = sessions;
  awaited_ = std::move(sessions);
  recovering_.store(true, std::memory_order_release);
}

void ObjectLocks::Reinstate(uint64_t session, const std::vector<Held>& held) {
  for (const Held& one : held) {
    Bucket& bucket = BucketOf(one.key);
    const std::scoped_lock lock(bucket.mutex);
    Object& object = bucket.objects[one.key];
    if (!object.table) object.table = std::make_unique<lock::ExtentLocks>();
    const auto enqueued = object.table->Enqueue({.name = {session, one.id},
                                                 .mode = lock::Mode::kPw,
                                                 .extent = one.extent,
                                                 .exact = true,
                                                 .no_wait = true},
                                                Now());
    // Else the rows of two clients contradict each other: that one has lost it.
    if (enqueued) kept_count_.fetch_add(1, std::memory_order_relaxed);
    if (object.table->empty()) object.table.reset();
    if (!object.table && object.plain_accesses == 0) bucket.objects.erase(one.key);
  }
}

ObjectLocks::RecoveryLook ObjectLocks::LookAtRecovery(Nanos now) {
  const std::scoped_lock lock(mutex_);
  RecoveryLook look{.known = returning_.size(), .awaited = awaited_.size(), .lost = late_.size()};
  if (awaited_.empty()) return look;
  const bool begun = recovery_until_ != Nanos(0);
  look.left = begun ? std::max(recovery_until_ - now, Nanos(0)) : kRecoveryMax;
  return look;
}

bool ObjectLocks::IsAwaited(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  return awaited_.contains(session);
}

async::Task<bool> ObjectLocks::AwaitRecovery() {
  while (recovering_.load(std::memory_order_acquire)) {
    if (stopping_.load()) co_return false;
    const Nanos now = Now();
    std::set<uint64_t> late;
    bool over = false;
    {
      const std::scoped_lock lock(mutex_);
      if (recovery_until_ == Nanos(0)) recovery_until_ = now + kRecoveryMax;
      if (now >= recovery_until_) late = std::exchange(awaited_, {});
      late_.insert(late.begin(), late.end());
      // Who has taken those that are late ends it, when they are forgotten for good.
      over = late.empty() && awaited_.empty() && late_.empty();
    }
    if (!late.empty()) {
      SHEEN_LOG(Warn, "{} clients did not come back after the restart: their locks are lost",
                late.size());
      if (forget_) co_await forget_(std::move(late));
      over = true;
    }
    if (over) recovering_.store(false, std::memory_order_release);
    if (!over) co_await async::Shard::Current()->Sleep(kLook);
  }
  co_return true;
}

bool ObjectLocks::MayReplay(uint64_t session) {
  constexpr Nanos kMore = std::chrono::seconds(5);
  const std::scoped_lock lock(mutex_);
  if (!returning_.contains(session) || late_.contains(session)) return false;
  if (recovery_until_ != Nanos(0)) recovery_until_ = std::max(recovery_until_, Now() + kMore);
  return true;
}

std::vector<uint64_t> ObjectLocks::Declare(uint64_t session, const std::vector<Held>& held) {
  bool late = false;
  {
    const std::scoped_lock lock(mutex_);
    // Those about to be lost are gone as soon as that is durable.
    late = late_.contains(session) || losing_.contains(session);
  }
  std::vector<uint64_t> refused;
  for (const Held& one : held) {
    Bucket& bucket = BucketOf(one.key);
    const std::scoped_lock lock(bucket.mutex);
    const lock::LockName name{session, one.id};
    Object& object = bucket.objects[one.key];
    if (!late && object.table && object.table->Find(name)) continue;
    // Only after a restart can one be missing that was not taken away.
    bool granted = false;
    if (!late && returning_.contains(session) && recovering_.load() &&
        object.plain_accesses == 0) {
      if (!object.table) object.table = std::make_unique<lock::ExtentLocks>();
      const auto enqueued = object.table->Enqueue({.name = name,
                                                   .mode = lock::Mode::kPw,
                                                   .extent = one.extent,
                                                   .exact = true,
                                                   .no_wait = true},
                                                  Now());
      granted = enqueued.has_value();
      if (granted) kept_count_.fetch_add(1, std::memory_order_relaxed);
    }
    if (!granted) refused.push_back(one.id);
    if (object.table && object.table->empty()) object.table.reset();
    if (!object.table && object.plain_accesses == 0) bucket.objects.erase(one.key);
  }
  const std::scoped_lock lock(mutex_);
  awaited_.erase(session);
  return refused;
}

}  // namespace sheen::oss
