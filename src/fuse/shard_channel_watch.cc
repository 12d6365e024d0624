// Callers that are being killed, and what becomes of their requests.

#include <algorithm>
#include <cerrno>
#include <map>

#include "base/log.h"
#include "fuse/caller.h"
#include "fuse/shard_channel.h"

namespace sheen::fuse {
namespace {

// Callers looked at in one turn: 64 times some 15 us.
constexpr size_t kLooksMax = 64;
// After an interrupt the caller is looked at so often at kInterruptGrace, then at kWatchInterval.
constexpr uint8_t kLooksCounted = 2;
constexpr Nanos kHeldInterval = std::chrono::milliseconds(10);
// What late requests of a shard may hold; more wait until a server answers.
constexpr size_t kLateBytesMax = 256 << 20;

size_t BytesOf(const Request& request, size_t max_write) {
  return std::max(request.message_bytes, max_write);
}

Subject SubjectIn(const Request& request) {
  return SubjectOf(request.opcode, {request.message, request.message_bytes});
}
Overtaking RuleOf(const Request& request) {
  return OvertakingOf(request.opcode, {request.message, request.message_bytes});
}

}  // namespace

bool ShardChannel::MustHold(const Request& request) const {
  const Overtaking rule = RuleOf(request);
  return rule != Overtaking::kAllowed && owner_->late()->Hold(SubjectIn(request), rule);
}

void ShardChannel::Hold(Request* request) {
  if (RuleOf(*request) == Overtaking::kDeferred) {
    Defer(request);
    return;
  }
  request->held = true;
  table_.Insert(request);
  held_.push_back(request->unique);
  WatchLater(kWatchInterval);
  ReleaseHeldLater();
}

// Answers now; what it does, and answers, comes later.
void ShardChannel::Defer(Request* request) {
  auto copy = std::make_shared<DetachedRequest>();
  static_cast<Request&>(*copy) = *request;
  copy->home = RequestHome::kDetached;
  copy->copy.assign(request->message, request->message + request->message_bytes);
  copy->message = copy->copy.data();
  copy->abandoned = true;
  copy->held = true;
  ReplyError(request, 0);
  held_.push_back(copy->unique);
  table_.Insert(copy.get());
  detached_[copy->unique] = std::move(copy);
  ReleaseHeldLater();
}

void ShardChannel::ReleaseHeldLater() {
  if (std::exchange(release_scheduled_, true)) return;
  shard_->AddTimer(shard_->Now() + kHeldInterval, [this] { ReleaseHeld(); });
}

void ShardChannel::ReleaseHeld() {
  release_scheduled_ = false;
  if (gone_) return;
  std::deque<uint64_t> wait;
  std::deque<uint64_t> held;
  held.swap(held_);
  for (const uint64_t unique : held) {
    Request* const request = table_.Find(unique);
    if (request == nullptr || !request->held) continue;
    if (MustHold(*request)) {
      wait.push_back(unique);
      continue;
    }
    table_.Take(unique);
    request->held = false;
    Begin(request);
  }
  held_.insert(held_.begin(), wait.begin(), wait.end());
  if (!held_.empty()) ReleaseHeldLater();
}

void ShardChannel::WatchLater(Nanos wait) {
  const Nanos at = shard_->Now() + wait;
  if (watch_scheduled_) {
    if (watch_timer_.deadline <= at) return;
    shard_->CancelTimer(watch_timer_);
  }
  watch_scheduled_ = true;
  watch_timer_ = shard_->AddTimer(at, [this] { Watch(); });
}

Nanos ShardChannel::WatchInterval() const {
  return owner_->late()->KilledLately(shard_->Now()) ? kInterruptGrace : kWatchInterval;
}

void ShardChannel::Watch() {
  watch_scheduled_ = false;
  if (gone_ || table_.size() == 0) return;
  const bool all = owner_->late()->KilledLately(shard_->Now());
  std::vector<Request*> waiting;
  table_.ForEach([&waiting, all](Request* request) {
    if (request->abandoned || request->caller == 0) return;
    request->looks = std::min<uint8_t>(request->looks + 1, kLooksCounted);
    if (all || request->interrupted || request->looks >= kLooksCounted) waiting.push_back(request);
  });
  // Those who were signalled first; of too many a part, each time another.
  const auto others = std::ranges::partition(waiting, &Request::interrupted);
  const std::ranges::subrange turned(others.begin(), waiting.end());
  if (!turned.empty()) {
    watched_first_ = (watched_first_ + kLooksMax) % turned.size();
    if (waiting.size() > kLooksMax) {
      std::ranges::rotate(turned, turned.begin() + static_cast<ptrdiff_t>(watched_first_));
    }
  }
  waiting.resize(std::min(waiting.size(), kLooksMax));
  std::map<uint32_t, bool> killed;
  for (Request* request : waiting) {
    const auto [known, first] = killed.try_emplace(request->caller, false);
    if (first) known->second = IsBeingKilled(request->caller);
    if (known->second) Abandon(request);
  }
  if (std::ranges::any_of(killed, &std::pair<const uint32_t, bool>::second)) {
    owner_->late()->NoteKill(shard_->Now());
  }
  if (table_.size() > 0) WatchLater(WatchInterval());
}

void ShardChannel::Abandon(Request* request) {
  const size_t bytes = BytesOf(*request, options_.max_write);
  if (!request->held && late_bytes_ + bytes > kLateBytesMax) {
    if (!std::exchange(many_late_logged_, true)) {
      SHEEN_LOG(Warn, "{} MiB are held for requests of killed processes; more processes end only "
                "when a server answers", late_bytes_ >> 20);
    }
    return;
  }
  if (!request->held && (request->opcode == FUSE_SETLK || request->opcode == FUSE_SETLKW)) {
    InterruptKilled(request);
    return;
  }
  table_.Take(request->unique);
  abandoned_.fetch_add(1, std::memory_order_relaxed);
  if (request->held) {  // and will never begin
    ReplyError(request, EINTR);
    return;
  }
  // Counted before the kernel, answered, lets others go on.
  const Subject subject = SubjectIn(*request);
  const bool changes = RuleOf(*request) == Overtaking::kWaits;
  const bool follow = IsFollowed(request->opcode);
  if (follow) owner_->late()->Begin(subject, changes);
  Request* rest = request;
  if (request->home == RequestHome::kRing) {
    std::shared_ptr<DetachedRequest> detached = ring_->Detach(static_cast<RingEntry*>(request));
    if (detached == nullptr) {
      SHEEN_LOG(Warn, "no memory to let a killed process go before its request is answered");
      if (follow) owner_->late()->End(subject, changes);
      table_.Insert(request);
      return;
    }
    rest = detached.get();
    detached_[rest->unique] = std::move(detached);
  } else {
    classic_->Abandon(static_cast<ClassicRequest*>(request));
  }
  rest->abandoned = true;
  rest->late = follow;
  rest->late_bytes = bytes;
  late_bytes_ += bytes;
  table_.Insert(rest);
}

// A file lock that is granted when nobody waits for it any more would be held for ever by whoever
// else has the file open. The operation answers, and sees to it that nothing is left.
void ShardChannel::InterruptKilled(Request* request) {
  request->killed = true;
  struct {
    fuse_in_header header;
    fuse_interrupt_in interrupt;
  } message{};
  message.header.len = sizeof message;
  message.header.opcode = FUSE_INTERRUPT;
  message.interrupt.unique = request->unique;
  Process(reinterpret_cast<std::byte*>(&message), sizeof message);
}

void ShardChannel::EndAbandoned(Request* request) {
  late_bytes_ -= request->late_bytes;
  if (request->late) {
    const Subject subject = SubjectIn(*request);
    const bool changes = RuleOf(*request) == Overtaking::kWaits;
    // The kernel is told before others go on.
    if (changes) owner_->OnLateChange(subject);
    owner_->late()->End(subject, changes);
  }
  if (request->home == RequestHome::kClassic) {
    classic_->Free(static_cast<ClassicRequest*>(request));
    return;
  }
  // libfuse, which calls this, may still look at the message.
  auto node = detached_.extract(request->unique);
  shard_->Post([keep = std::move(node.mapped())]() mutable { keep.reset(); });
}

}  // namespace sheen::fuse
