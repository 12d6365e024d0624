// Pages of others' kernels that a change has made old. See page_readers.h.
#include <algorithm>

#include "async/sync.h"
#include "oss/object_locks.h"

namespace sheen::oss {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(1);
constexpr Nanos kAskAgain = std::chrono::milliseconds(5);

struct Forgotten {
  async::Shard* shard = nullptr;
  async::OneShot<bool> told;
};

}  // namespace

async::Task<void> ObjectLocks::RecallPages(ObjectKey key, uint64_t by, Nanos limit) {
  async::Shard* const shard = async::Shard::Current();
  const PageReaders::Recalled recalled = pages_.Recall(key, by);
  for (const PageReaders::CallPtr& call : recalled.begun) {
    callbacks_running_.fetch_add(1);
    shard->Spawn(CallBackReader(key, call));
  }
  if (limit != Nanos::max()) {
    const Nanos until = shard->Now() + limit;
    const auto told = [](const PageReaders::CallPtr& call) { return call->done.load(); };
    while (!std::ranges::all_of(recalled.all, told) && shard->Now() < until) {
      co_await shard->Sleep(kLook);
    }
    co_return;
  }
  for (const PageReaders::CallPtr& call : recalled.all) {
    const auto forgotten = std::make_shared<Forgotten>();
    forgotten->shard = shard;
    const bool waits = pages_.AddWaiter(key, call.get(), [forgotten] {
      forgotten->shard->Post([forgotten] { forgotten->told.Set(true); });
    });
    if (waits) co_await forgotten->told;
  }
}

bool ObjectLocks::IsAway(uint64_t session) {
  const std::scoped_lock lock(mutex_);
  const auto found = alone_since_.find(session);
  return found != alone_since_.end() &&
         async::Shard::Current()->Now() - found->second >= kReturnGrace;
}

async::Task<void> ObjectLocks::CallBackReader(ObjectKey key, PageReaders::CallPtr call) {
  async::Shard* const shard = async::Shard::Current();
  const Nanos until = shard->Now() + kCallbackTimeout;
  // Who is away drops all that it has of this server when it is back.
  while (!stopping_.load() && !call->done.load() && !IsAway(call->reader.owner)) {
    if (co_await Ask({key, call->reader}) || shard->Now() >= until) break;
    co_await shard->Sleep(kAskAgain);
  }
  pages_.End(key, call);
  callbacks_running_.fetch_sub(1);
}

void ObjectLocks::EndSession(uint64_t session) {
  pages_.DropSession(session);
  DropSession(session);
  const std::scoped_lock lock(mutex_);
  alone_since_.erase(session);
}

}  // namespace sheen::oss
