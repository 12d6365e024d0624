#include "mds/hsm_coordinator.h"

#include <algorithm>
#include <functional>

#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

constexpr Nanos kRetry = std::chrono::seconds(1);
// A place that was away is tried again after it, by one file; another tries when that one has not
// found out for kProbe.
constexpr Nanos kTroubleLook = std::chrono::seconds(1);
constexpr Nanos kTurnMax = std::chrono::seconds(60);
constexpr int kStartsMax = 64;  // in one turn of the shard
constexpr Nanos kProbe = std::chrono::seconds(30);
constexpr Nanos kLook = std::chrono::milliseconds(20);
constexpr uint64_t kStripesPerFile = 2;
// Of the 128 calls that a control plane serves at a time.
constexpr uint64_t kOrdersPerServer = 64;
constexpr int kRoundsMax = 8;
// Of one call: then what was brought is counted, and whoever cancels is heard.
constexpr uint64_t kBytesPerCall = 256 << 20;

Result<std::vector<HsmQueued>> ReadActions(mdt::Mdt* mdt) {
  std::vector<HsmQueued> out;
  Status parsed;
  const std::string prefix(mdt::kHsmActionPrefix);
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  SHEEN_TRY(
      txn.Scan(mdt::kConfig, prefix, prefix, [&](std::string_view key, std::string_view value) {
        const auto cookie = mdt::DecodeHsmActionKey(key);
        const auto row = mdt::DecodeHsmAction(value);
        if (!cookie || !row) {
          parsed = std::unexpected(cookie ? row.error() : cookie.error());
          return false;
        }
        out.push_back({*cookie, *row});
        return true;
      }));
  SHEEN_TRY(std::move(parsed));
  return out;
}

}  // namespace

Status HsmCoordinator::Load() {
  SHEEN_TRY_ASSIGN(std::vector<HsmQueued> actions, ReadActions(core_->mdt.get()));
  if (!actions.empty()) SHEEN_LOG(Info, "{} restores go on", actions.size());
  core_->hsm.Add(std::move(actions));
  return {};
}

void HsmCoordinator::Start() {
  core_->hsm.OnWork([this] { Wake(); });
  Wake();
}

void HsmCoordinator::Wake() {
  if (woken_.exchange(true)) return;
  shard_->Post([this] {
    woken_.store(false);
    StartSome();
  });
}

// An action whose data is where nothing can be had now may end without ever suspending.
void HsmCoordinator::StartSome() {
  for (int started = 0; !stopping_ && started < kStartsMax; ++started) {
    std::optional<HsmQueued> action = core_->hsm.Next(core_->Now());
    if (!action || !gate_.Enter()) break;
    shard_->Spawn(RunOne(std::move(*action)));
  }
  if (const std::optional<Nanos> at = core_->hsm.NextAt(); at && !stopping_) {
    shard_->CancelTimer(timer_);
    timer_ = shard_->AddTimer(std::max(*at, shard_->Now() + kLook), [this] { StartSome(); });
  }
}

async::Task<void> HsmCoordinator::Stop() {
  stopping_ = true;
  core_->hsm.OnWork(nullptr);
  co_await gate_.Close();
  shard_->CancelTimer(timer_);
  // Whatever was posted before comes first.
  async::OneShot<bool> posted;
  shard_->Post([&posted] { posted.Set(true); });
  co_await posted;
}

// An OSS, or its agents, or S3 is away. Others' turn comes first; of those whose data is at the
// same place one at a time finds out whether it is back.
bool HsmCoordinator::IsInTrouble(const Trouble& place) {
  const auto found = troubles_.find(place);
  if (found == troubles_.end()) return false;
  if (shard_->Now() < found->second) return true;
  found->second = shard_->Now() + kProbe;
  return false;
}

async::Task<void> HsmCoordinator::RunOne(HsmQueued action) {
  const Fid fid = action.row.fid;
  const Status done = co_await Restore(fid);
  const bool interrupted = !done && (stopping_ || core_->stopping.load());
  const bool passing = !done && done.error().error_class() != ErrClass::kFail;
  if (!interrupted && passing && !core_->hsm.IsCancelled(fid)) {
    // All of a long queue within a minute: to look at each costs something, too.
    const Nanos turn = std::chrono::milliseconds(core_->hsm.counts().waiting);
    core_->hsm.PutOff(action, core_->Now() + kRetry + std::min(turn, kTurnMax));
  } else if (!interrupted) {
    if (!done && done.error().code() != Errc::kCancelled) {
      SHEEN_LOG(Warn, "restore of {}: {}", fid.ToString(), done.error().ToString());
    }
    const Status dropped =
        co_await RunInternal(core_, &DropHsmAction, mdt::HsmActionKey(action.cookie));
    if (!dropped) SHEEN_LOG(Warn, "restore of {}: {}", fid.ToString(), dropped.error().ToString());
    core_->hsm.Finish(action, done, core_->Now());
  }
  gate_.Leave(shard_);
}

async::Task<Result<HsmCoordinator::Stripes>> HsmCoordinator::StripesOf(Fid fid) {
  Stripes out;
  const auto found = co_await AskInternal(core_, &LayoutOfSource, mdt::InodeKey(fid));
  // Removed meanwhile, or not from S3 any more.
  if (!found && found.error().code() == Errc::kStale) co_return out;
  SHEEN_CO_TRY(found);
  if (found->empty()) co_return out;
  SHEEN_CO_TRY_ASSIGN(const layout::Layout layout, layout::Decode(*found));
  for (const layout::Component& component : layout.components) {
    if (!component.source || !component.instantiated()) continue;
    for (uint32_t stripe = 0; stripe < component.osts.size(); ++stripe) {
      if (layout::ObjectBytesFor(component, stripe, component.source->end) == 0) continue;
      v1::ObjectName name;
      const layout::ObjectId object = layout::ObjectOf(component, stripe);
      SetFid(object.fid, name.mutable_fid());
      name.set_birth(object.birth);
      name.set_stripe(object.stripe);
      v1::ObjectSource* const source = name.mutable_source();
      source->set_link(component.source->link);
      source->set_key(component.source->key);
      source->set_etag(component.source->etag);
      source->set_end(component.source->end);
      source->set_stripe_bytes(component.stripe_bytes);
      source->set_stripe_count(static_cast<uint32_t>(component.osts.size()));
      out.emplace_back(component.osts[stripe], std::move(name));
    }
  }
  co_return out;
}

async::Task<Status> HsmCoordinator::Restore(Fid fid) {
  // Imported again meanwhile: the objects are others, and those are to be here.
  for (int round = 0; round < kRoundsMax; ++round) {
    SHEEN_CO_TRY_ASSIGN(Stripes stripes, co_await StripesOf(fid));
    std::vector<async::Task<Status>> tasks;
    async::Semaphore few(kStripesPerFile);
    for (auto& [ost, name] : stripes) {
      tasks.push_back(RestoreStripe(fid, ost, std::move(name), &few));
    }
    const std::vector<Status> done = co_await async::WhenAll(std::move(tasks));
    bool stale = false;
    Status first;
    for (const Status& one : done) {
      if (one) continue;
      if (one.error().code() == Errc::kStale) stale = true;
      else if (first) first = one;
    }
    if (!first || !stale) co_return first;
  }
  co_return Fail(Errc::kUnavailable, "its objects are exchanged again and again");
}

async::Task<Status> HsmCoordinator::RestoreStripe(Fid fid, uint32_t ost, v1::ObjectName name,
                                                  async::Semaphore* few) {
  const Trouble place{name.source().link(), ost};
  v1::RestoreObjectRequest request;
  request.set_target(ost);
  *request.mutable_object() = std::move(name);
  request.set_bytes_max(kBytesPerCall);
  co_await few->Acquire(1);
  Status done = Fail(Errc::kUnavailable, "its place is in trouble");
  while (!IsInTrouble(place)) {
    Result<bool> complete = false;
    // Until something comes, or is known: this one is the one that tries.
    do {
      complete = co_await RestorePart(fid, ost, place, &request);
    } while (complete && !*complete && troubles_.contains(place));
    if (complete && !*complete) continue;
    done = complete ? Status() : std::unexpected(complete.error());
    const bool passing = !done && done.error().error_class() != ErrClass::kFail;
    if (passing) troubles_[place] = shard_->Now() + kTroubleLook;
    if (!passing) troubles_.erase(place);
    break;
  }
  few->Release(shard_, 1);
  co_return done;
}

// One order. True: nothing is absent any more.
async::Task<Result<bool>> HsmCoordinator::RestorePart(Fid fid, uint32_t ost, Trouble place,
                                                      const v1::RestoreObjectRequest* request) {
  if (stopping_) co_return Fail(Errc::kCancelled, "the server is stopping");
  if (core_->hsm.IsCancelled(fid)) co_return Fail(Errc::kCancelled, "cancelled");
  const std::string server = core_->cluster->ServerOfOst(ost);
  if (server.empty() || core_->options.objects == nullptr) {
    co_return Fail(Errc::kUnavailable, "its OST is not there");
  }
  // An OSS has other orders to hear, too.
  std::unique_ptr<async::Semaphore>& orders = orders_[server];
  if (orders == nullptr) orders = std::make_unique<async::Semaphore>(kOrdersPerServer);
  async::Semaphore* const room = orders.get();
  co_await room->Acquire(1);
  const Result<v1::RestoreObjectReply> reply =
      co_await core_->options.objects->RestoreObject(server, *request);
  room->Release(shard_, 1);
  if (!reply) co_return std::unexpected(reply.error());
  core_->hsm.NoteBytes(fid, reply->bytes());
  if (reply->bytes() > 0) troubles_.erase(place);
  co_return reply->complete();
}

}  // namespace sheen::mds
