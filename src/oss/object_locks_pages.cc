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
    if (stopping_.load()) break;
    const auto forgotten = std::make_shared<Forgotten>();
    forgotten->shard = shard;
    const bool waits = pages_.AddWaiter(key, call.get(), [forgotten] {
      forgotten->shard->Post([forgotten] { forgotten->told.Set(true); });
    });
    if (waits) co_await forgotten->told;
  }
}

async::Task<void> ObjectLocks::CallBackReader(ObjectKey key, PageReaders::CallPtr call) {
  async::Shard* const shard = async::Shard::Current();
  const Nanos until = shard->Now() + kCallbackTimeout;
  std::optional<Nanos> alone_since;
  while (!stopping_.load() && !call->gone.load()) {
    if (co_await Ask({key, call->reader})) break;
    const Nanos now = shard->Now();
    if (PeerOf(call->reader.owner)) {
      alone_since.reset();
    } else if (!alone_since) {
      alone_since = now;
    }
    // When it is back it drops all that it has of this server.
    if (now >= until || (alone_since && now - *alone_since >= kReturnGrace)) break;
    co_await shard->Sleep(kAskAgain);
  }
  pages_.End(key, call);
  callbacks_running_.fetch_sub(1);
}

}  // namespace sheen::oss
