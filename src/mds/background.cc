#include "mds/background.h"

#include <functional>
#include <utility>

#include "base/bytes.h"
#include "base/log.h"
#include "mds/operation.h"

namespace sheen::mds {
namespace {

constexpr size_t kObjectsPerOrder = 2000;
constexpr uint32_t kOrphansPerScan = 1000;

Result<std::vector<Fid>> OrphansFrom(mdt::Mdt* mdt, Fid from, uint32_t count_max) {
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  return mdt::ListOrphans(txn, from, count_max);
}

Status DeleteRows(mdt::Mdt* mdt, const std::vector<std::string>& keys) {
  mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  for (const std::string& key : keys) txn.Delete(mdt::kOutbox, key);
  return mdt->Commit(&txn);
}

void SetName(const layout::ObjectId& object, v1::ObjectName* out) {
  SetFid(object.fid, out->mutable_fid());
  out->set_birth(object.birth);
  out->set_stripe(object.stripe);
}

v1::DestroyObjectsRequest DestroyRequest(uint32_t ost_index, const mdt::OutboxRow& order) {
  v1::DestroyObjectsRequest request;
  request.set_target(ost_index);
  for (const auto& object : order.objects) SetName(object, request.add_objects());
  return request;
}

v1::SetObjectOwnerRequest OwnerRequest(uint32_t ost_index, const mdt::OutboxRow& order) {
  v1::SetObjectOwnerRequest request;
  request.set_target(ost_index);
  for (const auto& object : order.objects) SetName(object, request.add_objects());
  request.mutable_owner()->set_uid(order.uid);
  request.mutable_owner()->set_gid(order.gid);
  request.mutable_owner()->set_project_id(order.project_id);
  request.mutable_owner()->set_layout_generation(order.layout_generation);
  return request;
}

}  // namespace

Result<std::vector<uint32_t>> OstsWithOrders(mdt::Mdt* mdt) {
  std::vector<uint32_t> osts;
  const auto cursor = mdt->store()->NewCursor(mdt::kOutbox, kv::Blocking::kMayBlock);
  cursor->Seek("");
  while (cursor->Valid() && cursor->key().size() >= sizeof(uint32_t)) {
    osts.push_back(LoadBig32(cursor->key().data()));
    const std::string next = mdt::AfterPrefix(cursor->key().substr(0, sizeof(uint32_t)));
    if (next.empty()) break;
    cursor->Seek(next);
  }
  SHEEN_TRY(cursor->status());
  return osts;
}

Result<OutboxOrders> ReadOrders(mdt::Mdt* mdt, uint32_t ost_index) {
  OutboxOrders orders;
  const uint64_t committed = mdt->LastCommitted();
  Status parsed;
  std::string prefix;
  AppendBig32(&prefix, ost_index);
  const mdt::Txn txn(mdt->store(), mdt->transnos(), kv::Blocking::kMayBlock);
  const auto take = [&](std::string_view key, std::string_view value) {
    if (LoadBig64(key.data() + sizeof(uint32_t)) > committed) return false;
    auto row = mdt::DecodeOutbox(value);
    if (!row) {
      parsed = std::unexpected(std::move(row).error());
      return false;
    }
    if (orders.keys.empty()) {
      orders.order = std::move(*row);
    } else {
      // Destroys go together; an owner is one file's.
      if (row->kind != mdt::OutboxRow::Kind::kDestroy) return false;
      for (const auto& object : row->objects) orders.order.objects.push_back(object);
    }
    orders.keys.emplace_back(key);
    return orders.order.kind == mdt::OutboxRow::Kind::kDestroy &&
           orders.order.objects.size() < kObjectsPerOrder;
  };
  SHEEN_TRY(txn.Scan(mdt::kOutbox, prefix, prefix, take));
  SHEEN_TRY(std::move(parsed));
  return orders;
}

void Background::Start() {
  SHEEN_ASSERT(gate_.Enter());
  shard_->Post([this] { shard_->Spawn(Loop()); });
}

async::Task<void> Background::Stop() {
  stopping_ = true;
  tick_.WakeAll(shard_);
  co_await gate_.Close();
}

async::Task<void> Background::WaitTick() {
  const async::TimerId timer = shard_->AddTimer(shard_->Now() + core_->options.commit_interval,
                                                [this] { tick_.WakeAll(shard_); });
  co_await tick_.Wait();
  shard_->CancelTimer(timer);
}

async::Task<void> Background::Loop() {
  while (!stopping_) {
    core_->committer->Kick();
    if (!orphans_reaped_) co_await SettleOrphans();
    co_await NoteRecovered();
    EvictSilent();
    core_->file_locks.NoteWanted(core_->Now());
    for (const Fid& fid : core_->locks->EndSilentHolds(core_->Now())) {
      SHEEN_LOG(Warn, "{}: who was replacing its layout is not heard of: its users go on",
                fid.ToString());
    }
    co_await StartSenders();
    co_await RefreshSpace();
    co_await CollectChangelogUser();
    if (stopping_) break;
    co_await WaitTick();
  }
  gate_.Leave(shard_);
}

void Background::EvictSilent() {
  const std::vector<uint64_t> expired =
      core_->idle_sessions.TakeExpired(core_->Now(), core_->options.session_lease);
  for (const uint64_t id : expired) {
    core_->eviction->Request(id, "it had no connection for the length of its lease");
  }
  for (const uint64_t id : core_->recovery.TakeOverdue()) {
    core_->eviction->Request(id, "it was still coming back long after the server's restart");
  }
}

async::Task<void> Background::NoteRecovered() {
  if (!core_->mdt->lost_power() || core_->recovery.Active(core_->Now())) co_return;
  std::function<Status()> note = [this] { return core_->mdt->EndRecovery(); };
  const Status noted = co_await core_->options.pool->Run<Status>(std::move(note));
  if (!noted) {
    SHEEN_LOG(Error, "{}: the end of the recovery is not noted: {}", core_->mdt->name(),
              noted.error().ToString());
  }
}

// A client that has been silent since the restart may still write to a file without a name. It is
// ended, and refused by the OSSs, before such a file goes; when there is none it may come back.
async::Task<void> Background::SettleOrphans() {
  if (core_->recovery.Active(core_->Now())) co_return;
  const std::vector<uint64_t> silent = core_->recovery.Silent();
  if (!silent.empty()) {
    std::function<Result<std::vector<Fid>>()> look = [this] {
      return OrphansFrom(core_->mdt.get(), Fid(), 1);
    };
    const auto any = co_await core_->options.pool->Run<Result<std::vector<Fid>>>(std::move(look));
    if (any && !any->empty()) {
      for (const uint64_t session : silent) {
        core_->eviction->Begin(session, "it did not come back after the server's restart");
      }
    }
  }
  if (!core_->recovery.HandlesUnknown(core_->Now())) co_await ReapOrphans();
}

// What was open and without a name when the server stopped, and nobody has declared again.
async::Task<void> Background::ReapOrphans() {
  Fid from;
  for (;;) {
    std::function<Result<std::vector<Fid>>()> list = [this, from] {
      return OrphansFrom(core_->mdt.get(), from, kOrphansPerScan);
    };
    const auto fids = co_await core_->options.pool->Run<Result<std::vector<Fid>>>(std::move(list));
    if (!fids) {
      SHEEN_LOG(Error, "files without a name cannot be listed: {}", fids.error().ToString());
      co_return;
    }
    for (const Fid& fid : *fids) {
      if (stopping_) co_return;
      const Status reaped = co_await RunInternal(core_, &ReapOrphan, mdt::InodeKey(fid));
      if (!reaped) SHEEN_LOG(Error, "{}: {}", fid.ToString(), reaped.error().ToString());
    }
    if (fids->size() < kOrphansPerScan) break;
    from = fids->back();
    ++from.oid;
  }
  orphans_reaped_ = true;
}

// One sender an OST, so that one that does not answer delays no other.
async::Task<void> Background::StartSenders() {
  if (!core_->outbox_waiting.load(std::memory_order_acquire)) co_return;
  // Before the look: a row that comes after it raises the flag again.
  core_->outbox_waiting.store(false, std::memory_order_release);
  std::function<Result<std::vector<uint32_t>>()> list = [this] {
    return OstsWithOrders(core_->mdt.get());
  };
  const auto osts =
      co_await core_->options.pool->Run<Result<std::vector<uint32_t>>>(std::move(list));
  if (!osts) {
    SHEEN_LOG(Error, "outbox cannot be read: {}", osts.error().ToString());
    co_return;
  }
  if (!osts->empty()) core_->outbox_waiting.store(true, std::memory_order_release);
  for (const uint32_t ost_index : *osts) {
    if (sending_.contains(ost_index) || !gate_.Enter()) continue;
    sending_.insert(ost_index);
    shard_->Spawn(SendAll(ost_index));
  }
}

async::Task<void> Background::SendAll(uint32_t ost_index) {
  for (;;) {
    const bool more = co_await SendSome(ost_index);
    if (!more || stopping_) break;
  }
  sending_.erase(ost_index);
  gate_.Leave(shard_);
}

async::Task<bool> Background::SendSome(uint32_t ost_index) {
  const std::string server = core_->cluster->ServerOfOst(ost_index);
  if (server.empty() || core_->options.objects == nullptr) co_return false;
  std::function<Result<OutboxOrders>()> read = [this, ost_index] {
    return ReadOrders(core_->mdt.get(), ost_index);
  };
  const auto orders = co_await core_->options.pool->Run<Result<OutboxOrders>>(std::move(read));
  if (!orders) {
    SHEEN_LOG(Error, "outbox of OST {}: {}", ost_index, orders.error().ToString());
    co_return false;
  }
  if (orders->keys.empty()) co_return false;
  Status sent;
  if (orders->order.kind == mdt::OutboxRow::Kind::kDestroy) {
    sent = co_await core_->options.objects->DestroyObjects(
        server, DestroyRequest(ost_index, orders->order));
  } else {
    sent = co_await core_->options.objects->SetObjectOwner(server,
                                                           OwnerRequest(ost_index, orders->order));
  }
  if (!sent) {
    SHEEN_LOG(Debug, "OST {} on {}: {}; tried again later", ost_index, server,
              sent.error().ToString());
    co_return false;
  }
  std::function<Status()> erase = [this, &orders] {
    return DeleteRows(core_->mdt.get(), orders->keys);
  };
  const Status erased = co_await core_->options.pool->Run<Status>(std::move(erase));
  co_return erased.has_value();
}

async::Task<void> Background::RefreshSpace() {
  if (!core_->options.own_space) co_return;
  std::function<Result<v1::TargetSpace>()> read = [this] { return core_->space->Measure(); };
  const auto space = co_await core_->options.pool->Run<Result<v1::TargetSpace>>(std::move(read));
  if (space) core_->cluster->SetOwnSpace(*space);
  if (tending_ || stopping_ || !core_->space->WantsTending() || !gate_.Enter()) co_return;
  tending_ = true;
  shard_->Spawn(TendSpace());
}

// A user of the changelog that has gone away keeps its records for ever: it is given up by rule.
async::Task<void> Background::CollectChangelogUser() {
  Changelog* const log = &core_->changelog;
  if (log->wanted() == 0) co_return;
  const bool full = !core_->space->CheckRoom();
  const auto interval = std::chrono::seconds(log->limits().interval_seconds.load());
  if (!full && core_->Now() - changelog_looked_ < interval) co_return;
  changelog_looked_ = core_->Now();
  const int64_t wall_ns = core_->WallNs();
  std::function<std::optional<Changelog::Overdue>()> find = [log, wall_ns, full] {
    return log->FindOverdue(wall_ns, full);
  };
  const auto overdue =
      co_await core_->options.pool->Run<std::optional<Changelog::Overdue>>(std::move(find));
  if (!overdue) co_return;
  SHEEN_LOG(Warn, "{}: changelog user {} is deregistered: {}", core_->mdt->name(), overdue->user,
            overdue->why);
  v1::ChangelogUserRequest request;
  request.set_remove(true);
  request.set_name(overdue->user);
  const auto removed = co_await AskInternal(core_, &ChangelogUser, request.SerializeAsString());
  std::function<Status()> reload = [log] { return log->Reload(); };
  const Status reloaded = co_await core_->options.pool->Run<Status>(std::move(reload));
  if (!removed || !reloaded) {
    SHEEN_LOG(Warn, "{}: changelog user {}: {}", core_->mdt->name(), overdue->user,
              removed ? reloaded.error().ToString() : removed.error().ToString());
  }
}

// Apart from the loop: a flush may take a second, and commits go on.
async::Task<void> Background::TendSpace() {
  std::function<Status()> tend = [this] { return core_->space->Tend(); };
  const Status tended = co_await core_->options.pool->Run<Status>(std::move(tend));
  if (!tended) {
    SHEEN_LOG(Info, "{}: its disk is nearly full, and no space could be won back: {}",
              core_->mdt->name(), tended.error().ToString());
  }
  tending_ = false;
  gate_.Leave(shard_);
}

}  // namespace sheen::mds
