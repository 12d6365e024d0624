#include "client/idle_layouts.h"

#include <chrono>
#include <utility>

#include "client/convert.h"
#include "client/layout_lock.h"
#include "client/state.h"

namespace sheen::client {

bool IdleLayouts::Add(uint32_t shard, const Fid& fid) {
  Shard& own = shards_[shard];
  const std::scoped_lock lock(own.mutex);
  if (own.queued.insert(fid).second) count_.fetch_add(1);
  if (own.busy || own.queued.size() < kBatch) return false;
  own.busy = true;
  return true;
}

bool IdleLayouts::Reclaim(uint32_t shard, const Fid& fid) {
  if (count_.load() == 0) return true;
  Shard& own = shards_[shard];
  const std::scoped_lock lock(own.mutex);
  if (own.going.contains(fid)) return false;
  count_.fetch_sub(own.queued.erase(fid));
  return true;
}

std::vector<Fid> IdleLayouts::Take(uint32_t shard) {
  Shard& own = shards_[shard];
  const std::scoped_lock lock(own.mutex);
  own.going = std::exchange(own.queued, {});
  return {own.going.begin(), own.going.end()};
}

bool IdleLayouts::Sent(uint32_t shard) {
  Shard& own = shards_[shard];
  const std::scoped_lock lock(own.mutex);
  count_.fetch_sub(std::exchange(own.going, {}).size());
  own.busy = own.queued.size() >= kBatch;
  return own.busy;
}

namespace {

async::Task<void> GiveBack(ShardContext* context) {
  State* const state = context->state();
  const BackgroundMark mark(state);
  for (bool more = true; more;) {
    v1::LockList list;
    for (const Fid& fid : state->idle_layouts.Take(context->ordinal())) {
      state->locks.NoteLayoutGone(fid);
      const auto file = state->files.Find(fid);
      const std::optional<LockOrigin> origin =
          file ? file->layout_lock()->origin() : std::nullopt;
      // Another connection's is another lock.
      if (origin && origin->shard == context->ordinal()) DropLayoutLock(file.get());
      v1::InodeLock* const wire = list.add_locks();
      FidToWire(fid, wire->mutable_fid());
      wire->set_bits(lock::kLayout);
    }
    rpc::Call call = MakeCall(rpc::Opcode::kMdsLockCancel, 0, list);
    // Never given up before the connection ends: it might be executed after a new grant.
    call.deadline = context->shard()->Now() + std::chrono::days(365);
    const auto answer = co_await context->Mds(std::move(call));
    static_cast<void>(answer);
    more = state->idle_layouts.Sent(context->ordinal());
  }
}

}  // namespace

void GiveLayoutBack(State* state, const LockOrigin& origin, const Fid& fid) {
  if (state->stopping || !state->idle_layouts.Add(origin.shard, fid)) return;
  ShardContext* const context = state->contexts[origin.shard].get();
  if (context == nullptr) return;
  context->shard()->Post([state, context] {
    if (!state->stopping) context->shard()->Spawn(GiveBack(context));
  });
}

void GiveIdleLayoutBack(State* state, OpenFile* file) {
  const std::optional<LockOrigin> origin = file->layout_lock()->origin();
  if (origin) GiveLayoutBack(state, *origin, file->fid());
}

}  // namespace sheen::client
