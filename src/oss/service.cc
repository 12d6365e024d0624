#include "oss/service.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "oss/convert.h"
#include "oss/lazy_requests.h"
#include "oss/requests.h"

namespace sheen::oss {
namespace {

constexpr Nanos kSettleLook = std::chrono::milliseconds(2);
// A restore answers after so long with what it has done: who ordered it hears of it, and may stop.
constexpr Nanos kRestoreSlice = std::chrono::seconds(5);

}  // namespace

OssService::OssService(OssOptions options) : options_(options) {}

OssService::~OssService() { SHEEN_ASSERT(!background_runs_); }

void OssService::AddTarget(uint32_t index, ost::Target* target) {
  targets_[index] = target;
  stats_[index] = std::make_unique<OpStats>();
}

OpStats* OssService::StatsOf(uint32_t index) const {
  const auto found = stats_.find(index);
  return found == stats_.end() ? nullptr : found->second.get();
}

std::vector<std::pair<uint32_t, ost::Target*>> OssService::Targets() const {
  return {targets_.begin(), targets_.end()};
}

uint64_t OssService::GrantedBytes(uint32_t index) const {
  return grants_.BytesOf(TargetOf(index));
}

std::string OssService::RecoveryText(uint32_t index, Nanos now) {
  const ObjectLocks::RecoveryLook look = locks_.LookAtRecovery(now);
  // No client was there before: nobody is waited for.
  if (look.known == 0) return "status: INACTIVE";
  const size_t back = look.known - look.awaited - look.lost;
  std::string out = fmt::format("status: {}\n", look.awaited > 0 ? "RECOVERING" : "COMPLETE");
  if (look.awaited > 0) {
    out += fmt::format("time_remaining: {}\nconnected_clients: {}/{}\n",
                       std::chrono::ceil<std::chrono::seconds>(look.left).count(), back,
                       look.known);
  }
  return out + fmt::format(
                   "completed_clients: {}/{}\nevicted_clients: {}\nlast_transno: {}\n"
                   "VBR: DISABLED\nIR: DISABLED\n",
                   back, look.known, look.lost, LastCommitted(index));
}

void OssService::RegisterShard(async::Shard* shard, io::FileIo* io) {
  shards_.emplace_back(shard, io);
}

Result<ost::Target*> OssService::FindTarget(uint32_t index) const {
  const auto found = targets_.find(index);
  if (found != targets_.end()) return found->second;
  return Fail(Errc::kNotThisServer,
              fmt::format("OST{:04x} is not on this server; look at the cluster map", index));
}

ost::Target* OssService::TargetOf(uint32_t index) const {
  const auto found = targets_.find(index);
  return found == targets_.end() ? nullptr : found->second;
}

io::FileIo* OssService::CurrentIo() const {
  const async::Shard* const current = async::Shard::Current();
  for (const auto& [shard, io] : shards_) {
    if (shard == current) return io;
  }
  SHEEN_ASSERT(false && "the calling shard was not registered");
  return nullptr;
}

async::Task<rpc::Response> OssService::Handle(rpc::Request request) {
  const int64_t now_ns = async::Shard::Current()->WallNow().count();
  InFlight::Entry in_flight(&in_flight_, now_ns);
  const Status fence = CheckFence(request.session.get());
  if (!fence) co_return rpc::Response::Of(fence.error());
  const Result<ost::Target*> target = FindTarget(request.header.target);
  if (!target) co_return rpc::Response::Of(target.error());
  // Whichever of a client's connections lasts, it can be called back by it.
  rpc::Peer* const peer = request.peer.get();
  if (peer != nullptr && (peer->features() & rpc::kExtentLocks) != 0 && peer->MarkMet()) {
    locks_.AddPeer(request.peer);
  }
  RequestContext context{*target, CurrentIo(), options_.checksums};
  context.service = this;
  context.locks = &locks_;
  context.grants = &grants_;
  context.uncommitted = &uncommitted_;
  context.slots = &slots_;
  context.faults = options_.faults;
  context.opcode = request.header.opcode;
  context.stats = StatsOf(request.header.target);
  context.lazy = &lazy_;
  context.in_flight = &in_flight;
  co_return co_await HandleRequest(context, std::move(request));
}

void OssService::OnPeerEnded(std::shared_ptr<rpc::Peer> peer) { locks_.DropPeer(*peer); }

uint64_t OssService::LastCommitted(uint32_t target) const {
  const auto found = targets_.find(target);
  return found == targets_.end() ? 0 : found->second->last_committed();
}

Status OssService::CheckCommitted(uint32_t target, uint64_t transno) {
  const auto found = targets_.find(target);
  if (found == targets_.end() || found->second->last_committed() >= transno) return {};
  const std::string message = fmt::format(
      "{} went back in time: it has committed up to {:#x}, the client has seen {:#x}; an old copy "
      "of the target is served, give back the newest one or replace the OST",
      found->second->name(), found->second->last_committed(), transno);
  SHEEN_LOG(Error, "{}", message);
  return Fail(Errc::kCorrupt, message);
}

void OssService::StartBackground(async::Shard* shard) {
  background_shard_ = shard;
  background_runs_ = true;
  shard->Post([this, shard] { shard->Spawn(BackgroundLoop(shard)); });
}

async::Task<void> OssService::BackgroundLoop(async::Shard* shard) {
  while (!stopping_) {
    background_timer_ = shard->AddTimer(shard->Now() + options_.commit_interval,
                                        [this, shard] { background_wait_.WakeAll(shard); });
    co_await background_wait_.Wait();
    if (stopping_) break;
    const int64_t now_ns = shard->WallNow().count();
    const int64_t oldest_ns = std::min(in_flight_.OldestNs(now_ns), away_.OldestNs(now_ns));
    for (const auto& [index, target] : targets_) {
      co_await target->Tick(CurrentIo(), oldest_ns);
      uncommitted_.Committed(index, target->last_committed());
    }
  }
  background_runs_ = false;
  background_wait_.WakeAll(shard);
}

async::Task<Status> OssService::Stop() {
  stopping_ = true;
  co_await lazy_.Stop();
  co_await locks_.Stop();
  if (background_shard_ != nullptr) {
    background_shard_->CancelTimer(background_timer_);
    background_wait_.WakeAll(background_shard_);
  }
  while (background_runs_) co_await background_wait_.Wait();
  while (settling_.load() > 0) co_await async::Shard::Current()->Sleep(kSettleLook);
  Status first;
  for (const auto& [index, target] : targets_) {
    const Status committed = co_await target->Commit(CurrentIo());
    if (!committed && first) first = committed;
  }
  co_return first;
}

async::Task<std::vector<v1::TargetSpace>> OssService::TargetSpaces() {
  std::vector<v1::TargetSpace> out;
  for (const auto& [index, target] : targets_) {
    const Result<ost::TargetSpace> space = co_await target->Space(CurrentIo());
    v1::TargetSpace& row = out.emplace_back();
    row.set_name(target->name());
    row.set_index(index);
    row.set_up(target->stop_reason().empty() && space.has_value());
    if (!space) continue;
    row.set_bytes_total(space->bytes_total);
    row.set_bytes_free(space->bytes_free);
    row.set_bytes_available(space->bytes_available);
    row.set_files_total(space->files_total);
    row.set_files_free(space->files_free);
    row.set_device(space->device);
    row.set_limited(space->limited);
  }
  co_return out;
}

std::string OssService::StateText() const {
  std::string out;
  for (const auto& [index, target] : targets_) {
    const std::string reason = target->stop_reason();
    if (reason.empty()) continue;
    out += fmt::format("{}{}: {}", out.empty() ? "stopped: " : "; ", target->name(), reason);
  }
  return out.empty() ? "serving" : out;
}

uint64_t OssService::Boot() const {
  uint64_t boot = 0;
  for (const auto& [index, target] : targets_) boot = std::max(boot, target->boot());
  return boot;
}

uint64_t OssService::RecoveredTransno() const {
  if (targets_.empty()) return 0;
  uint64_t transno = UINT64_MAX;
  for (const auto& [index, target] : targets_) {
    transno = std::min(transno, target->recovered_transno());
  }
  return transno;
}

async::Task<Status> OssService::DestroyObjects(v1::DestroyObjectsRequest request) {
  SHEEN_CO_TRY_ASSIGN(ost::Target * target, FindTarget(request.target()));
  SHEEN_CO_TRY_ASSIGN(std::vector<layout::ObjectId> ids, ObjectIdsOf(request.objects()));
  const Nanos began = async::Shard::Current()->Now();
  for (const layout::ObjectId& id : ids) locks_.pages()->Forget({request.target(), id});
  const Status destroyed = co_await target->Destroy(CurrentIo(), std::move(ids));
  StatsOf(request.target())->NoteDestroyed(async::Shard::Current()->Now() - began);
  co_return destroyed;
}

async::Task<Status> OssService::SetObjectOwner(v1::SetObjectOwnerRequest request) {
  SHEEN_CO_TRY_ASSIGN(ost::Target * target, FindTarget(request.target()));
  SHEEN_CO_TRY_ASSIGN(std::vector<layout::ObjectId> ids, ObjectIdsOf(request.objects()));
  co_return co_await target->SetOwner(CurrentIo(), std::move(ids), OwnerOf(request.owner()));
}

async::Task<Result<v1::RestoreObjectReply>> OssService::RestoreObject(
    v1::RestoreObjectRequest request) {
  SHEEN_CO_TRY_ASSIGN(ost::Target * target, FindTarget(request.target()));
  SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(request.object()));
  SHEEN_CO_TRY_ASSIGN(std::optional<ost::ObjectSource> source, SourceOf(request.object(), id));
  v1::RestoreObjectReply reply;
  reply.set_complete(true);
  if (!source) co_return reply;
  SHEEN_CO_TRY(co_await target->Attach(CurrentIo(), id, std::move(*source), {}));
  const LazyLoader::Place place{target, CurrentIo(), {request.target(), id}};
  const Nanos until = async::Shard::Current()->Now() + kRestoreSlice;
  SHEEN_CO_TRY_ASSIGN(const LazyLoader::Restored restored,
                      co_await lazy_.Restore(place, {request.bytes_max(), until}));
  reply.set_bytes(restored.bytes);
  reply.set_complete(restored.complete);
  co_return reply;
}

}  // namespace sheen::oss
