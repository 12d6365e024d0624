#include "client/layout_lock.h"

#include <algorithm>

#include "client/convert.h"
#include "client/glimpse.h"
#include "client/state.h"

namespace sheen::client {
namespace {

constexpr Nanos kAskInGrace = std::chrono::seconds(1);
constexpr Nanos kHeldPauseFirst = std::chrono::milliseconds(2);
constexpr Nanos kHeldPauseMax = std::chrono::milliseconds(50);
// Whoever uses a layout has the connection's life proved for so long.
constexpr Nanos kRelyFor = std::chrono::seconds(20);

struct Fetched {
  LayoutPtr layout;
  bool replaced = false;  // somebody is about to replace it
};

async::Task<Result<Fetched>> FetchWithLock(State* state, OpenFile* file, Nanos deadline) {
  v1::GetLayoutRequest request;
  FidToWire(file->fid(), request.mutable_fid());
  request.set_lock(true);
  const uint64_t sent = state->locks.Moment();
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetLayout, 0, request);
  call.deadline = deadline;
  auto answered = co_await MdsCall<v1::GetLayoutReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  Fetched fetched{nullptr, answered->reply.held()};
  SHEEN_CO_TRY_ASSIGN(fetched.layout, LayoutFromWire(answered->reply.layout()));
  if (fetched.replaced) co_return fetched;
  file->UpdateLayout(fetched.layout);
  const Granted& granted = answered->granted;
  TakeLayoutLock(state, file, sent, granted.origin, granted.BitsOf(file->fid()));
  co_return fetched;
}

// Whatever lock there is.
async::Task<Result<v1::GetLayoutReply>> AskForLayout(State* state, Fid fid,
                                                     Nanos deadline = Nanos::max()) {
  v1::GetLayoutRequest request;
  FidToWire(fid, request.mutable_fid());
  rpc::Call call = MakeCall(rpc::Opcode::kMdsGetLayout, 0, request);
  call.deadline = deadline;
  auto answered = co_await MdsCall<v1::GetLayoutReply>(state->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  co_return std::move(answered->reply);
}

// Without them, requests are refused when the layout was replaced, and nothing else tells.
bool KnowsLayoutLocks(State* state) {
  return (state->identity.Session(kMdsName).features & rpc::kLayoutLocks) != 0;
}

bool IsAway(Errc code) {
  return code == Errc::kTimedOut || code == Errc::kUnavailable || code == Errc::kDisconnected;
}

}  // namespace

void LayoutLock::Take(const LockOrigin& origin, LayoutPtr layout) {
  const std::scoped_lock lock(mutex_);
  taken_ = true;
  origin_ = origin;
  layout_ = std::move(layout);
}

void LayoutLock::Drop() {
  const std::scoped_lock lock(mutex_);
  taken_ = false;
  layout_.reset();
  held_at_ = asked_at_ = Nanos::min();
}

std::optional<LockOrigin> LayoutLock::origin() const {
  const std::scoped_lock lock(mutex_);
  return taken_ ? std::optional(origin_) : std::nullopt;
}

void LayoutLock::Renew(const LayoutPtr& layout) {
  const std::scoped_lock lock(mutex_);
  if (!taken_ || (layout_ && layout_->generation >= layout->generation)) return;
  layout_ = layout;
}

std::optional<LayoutPtr> LayoutLock::Held(const LockCache& locks, Nanos now) {
  const std::scoped_lock lock(mutex_);
  if (!taken_ || !locks.IsTrusted(origin_, now)) return std::nullopt;
  held_at_ = now;
  locks.Rely(origin_.shard, now + kRelyFor);
  return layout_;
}

bool LayoutLock::InGraceLocked(Nanos now) const {
  return taken_ && held_at_ != Nanos::min() && now - held_at_ < kGrace;
}

bool LayoutLock::InGrace(Nanos now) const {
  const std::scoped_lock lock(mutex_);
  return InGraceLocked(now);
}

bool LayoutLock::AskedInVainLocked(Nanos now) const {
  return asked_at_ != Nanos::min() && now - asked_at_ < kAskPause;
}

bool LayoutLock::AskedInVain(Nanos now) const {
  const std::scoped_lock lock(mutex_);
  return AskedInVainLocked(now);
}

std::optional<LayoutPtr> LayoutLock::GoesOn(Nanos now) const {
  const std::scoped_lock lock(mutex_);
  if (!AskedInVainLocked(now) || !InGraceLocked(now)) return std::nullopt;
  return layout_;
}

void LayoutLock::GoOn(Nanos now) {
  const std::scoped_lock lock(mutex_);
  asked_at_ = now;
}

void LayoutLock::SetOwn(uint64_t handle, LayoutPtr layout) {
  const std::scoped_lock lock(mutex_);
  own_handle_ = handle;
  own_ = std::move(layout);
}

void LayoutLock::EndOwn(uint64_t handle) {
  const std::scoped_lock lock(mutex_);
  if (own_handle_ == handle) own_.reset();
}

LayoutPtr LayoutLock::Own(uint64_t handle) const {
  const std::scoped_lock lock(mutex_);
  return own_handle_ == handle ? own_ : nullptr;
}

void TakeLayoutLock(State* state, OpenFile* file, uint64_t sent, const LockOrigin& origin,
                    uint32_t bits) {
  if ((bits & lock::kLayout) == 0) return;
  // At least that of the answer: changes of this mount call nothing back from itself. Read before
  // the look at callbacks: a hold that has raised it has called the lock back.
  LayoutPtr newest = file->layout();
  const bool taken = state->idle_layouts.Reclaim(origin.shard, file->fid()) &&
                     !state->locks.LayoutCalledSince(file->fid(), sent);
  if (!taken) {
    GiveLayoutBack(state, origin, file->fid());
    return;
  }
  const std::optional<LockOrigin> before = file->layout_lock()->origin();
  file->layout_lock()->Take(origin, std::move(newest));
  file->held()->Allow(true);
  if (before && before->shard != origin.shard) GiveLayoutBack(state, *before, file->fid());
  // A callback that came before this is seen here; one that comes later finds the lock.
  if (state->locks.LayoutCalledSince(file->fid(), sent)) GiveUpLayoutLock(state, file);
}

void DropLayoutLock(OpenFile* file) {
  file->layout_lock()->Drop();
  file->held()->Allow(false);
}

void GiveUpLayoutLock(State* state, OpenFile* file) {
  const std::optional<LockOrigin> origin = file->layout_lock()->origin();
  DropLayoutLock(file);
  if (origin) GiveLayoutBack(state, *origin, file->fid());
}

void ForgetLayoutLock(State* state, OpenFile* file) {
  state->locks.NoteLayoutGone(file->fid());
  DropLayoutLock(file);
}

async::Task<void> LearnLayout(State* state, OpenFile* file) {
  async::Shard* const shard = state->Here()->shard();
  LayoutLock* const lock = file->layout_lock();
  if (HeldLayout(state, file) || lock->AskedInVain(shard->Now())) co_return;
  const Result<Fetched> fetched = co_await FetchWithLock(state, file, shard->Now() + kAskInGrace);
  if (!fetched && IsAway(fetched.error().code())) lock->GoOn(shard->Now());
  if (fetched && fetched->layout) file->UpdateLayout(fetched->layout);
}

std::optional<LayoutPtr> HeldLayout(State* state, OpenFile* file) {
  const Nanos now = state->Here()->shard()->Now();
  if (std::optional<LayoutPtr> held = file->layout_lock()->Held(state->locks, now)) return held;
  if (KnowsLayoutLocks(state)) return std::nullopt;
  LayoutPtr known = file->layout();
  return known ? std::optional(std::move(known)) : std::nullopt;
}

async::Task<Result<LayoutPtr>> LayoutForIo(State* state, OpenFile* file, uint64_t handle,
                                           IoKind kind) {
  async::Shard* const shard = state->Here()->shard();
  LayoutLock* const lock = file->layout_lock();
  for (Nanos pause = kHeldPauseFirst;; pause = std::min(2 * pause, kHeldPauseMax)) {
    LayoutPtr own = kind == IoKind::kRead ? lock->Own(handle) : nullptr;
    if (own) co_return own;
    if (std::optional<LayoutPtr> held = HeldLayout(state, file)) co_return *std::move(held);
    if (std::optional<LayoutPtr> known = lock->GoesOn(shard->Now())) co_return *std::move(known);
    const bool grace = lock->InGrace(shard->Now());
    const Nanos deadline = grace ? shard->Now() + kAskInGrace : Nanos::max();
    const Result<Fetched> fetched = co_await FetchWithLock(state, file, deadline);
    if (fetched && !fetched->replaced) co_return fetched->layout;
    const Errc code = fetched ? Errc::kOk : fetched.error().code();
    if (code == Errc::kNoData) co_return LayoutPtr();
    if (grace && IsAway(code)) {
      // Unless it was called back, or the time is over, meanwhile.
      lock->GoOn(shard->Now());
      continue;
    }
    if (!fetched) co_return std::unexpected(fetched.error());
    co_await shard->Sleep(pause);
    if (state->stopping) co_return Fail(Errc::kCancelled, "the filesystem is being unmounted");
  }
}

async::Task<Result<LayoutPtr>> LayoutAfterHold(State* state, OpenFile* file) {
  for (Nanos pause = kHeldPauseFirst;; pause = std::min(2 * pause, kHeldPauseMax)) {
    SHEEN_CO_TRY_ASSIGN(const v1::GetLayoutReply reply, co_await AskForLayout(state, file->fid()));
    if (!reply.held()) {
      SHEEN_CO_TRY_ASSIGN(LayoutPtr layout, LayoutFromWire(reply.layout()));
      if (!layout) co_return Fail(Errc::kNoData, file->fid().ToString() + " has no layout");
      file->UpdateLayout(layout);
      co_return layout;
    }
    co_await state->Here()->shard()->Sleep(pause);
    if (state->stopping) co_return Fail(Errc::kCancelled, "the filesystem is being unmounted");
  }
}

async::Task<Status> AfterRefusal(State* state, OpenFile* file, uint64_t handle, LayoutPtr used,
                                 Error refusal, IoKind kind) {
  if (!MayBeReplaced(refusal.code())) co_return std::unexpected(std::move(refusal));
  GiveUpLayoutLock(state, file);
  // The refusal says that the known one will not do.
  SHEEN_CO_TRY_ASSIGN(LayoutPtr now, co_await LayoutForIo(state, file, handle, kind));
  if (!KnowsLayoutLocks(state)) {
    SHEEN_CO_TRY_ASSIGN(now, co_await LayoutAfterHold(state, file));
  }
  const bool same = used && now && used->generation == now->generation;
  if (same && refusal.code() == Errc::kStale) co_return std::unexpected(std::move(refusal));
  co_return Status();
}

}  // namespace sheen::client
