#include "ost/target.h"

#include <algorithm>

#include "base/log.h"
#include "ost/core.h"
#include "ost/index_meta.h"

namespace sheen::ost {

Target::Target(std::unique_ptr<Core> core) : core_(std::move(core)) {}
Target::~Target() = default;

const Superblock& Target::superblock() const { return core_->superblock; }
const std::string& Target::name() const { return core_->name; }
uint64_t Target::boot() const { return core_->boot; }
uint64_t Target::recovered_transno() const { return core_->recovered_transno; }
uint64_t Target::last_committed() const {
  return core_->last_committed.load(std::memory_order_acquire);
}

std::string Target::stop_reason() const {
  std::lock_guard guard(core_->stop_mutex);
  return core_->stop_reason;
}

async::Task<Status> Target::Commit(io::FileIo* io) {
  SHEEN_CO_TRY(core_->CheckServing());
  co_return co_await core_->commit_group.Run(io);
}

async::Task<void> Target::Tick(io::FileIo* io, int64_t oldest_request_ns) {
  Core* core = core_.get();
  co_await core->CloseDestroyed(io);
  if (core->stopped.load()) co_return;
  const Status committed = co_await core->commit_group.Run(io);
  if (!committed) SHEEN_LOG(Warn, "{}: commit: {}", core->name, committed.error().ToString());
  const Result<io::DiskSpace> disk = co_await io->Space(core->options.directory);
  if (disk) core->space.SetDisk(*disk);
  const int64_t now_ns = async::Shard::Current()->WallNow().count();
  if (core->stopped.load()) co_return;
  co_await core->ExpireTombstones(std::min(now_ns - kTombstoneNs, oldest_request_ns));
}

async::Task<Result<TargetSpace>> Target::Space(io::FileIo* io) {
  SHEEN_CO_TRY_ASSIGN(const io::DiskSpace disk, co_await io->Space(core_->options.directory));
  const SpaceAccount& space = core_->space;
  TargetSpace out;
  out.files_total = disk.files_total;
  out.files_free = disk.files_free;
  out.device = disk.device;
  out.limited = space.limited();
  uint64_t reserve = SpaceAccount::DiskReserve(disk);
  out.bytes_total = disk.bytes_total;
  out.bytes_free = disk.bytes_free;
  out.bytes_available = out.bytes_free - std::min(out.bytes_free, reserve);
  if (space.limited()) {
    const uint64_t left = space.limit() - std::min(space.limit(), space.used());
    const uint64_t writable = left - std::min(left, space.reserve());
    out.bytes_total = space.limit();
    out.bytes_free = std::min(left, out.bytes_free);
    out.bytes_available = std::min(writable, out.bytes_available);
  }
  co_return out;
}

uint64_t Target::GrantableBytes() const { return core_->space.Left(); }
bool Target::Grant(uint64_t bytes) { return core_->space.Grant(bytes); }
void Target::AddGrant(uint64_t bytes) { core_->space.AddGrant(bytes); }
void Target::ReturnGrant(uint64_t bytes) { core_->space.ReturnGrant(bytes); }

async::Task<Status> Target::Close(io::FileIo* io) {
  Core* core = core_.get();
  Status closed = core->CheckServing();
  if (closed) closed = co_await core->commit_group.Run(io);
  {
    // Commits that were started in the background have ended when this is held.
    const async::RwGuard guard = co_await core->background_lock.Exclusive();
  }
  std::vector<io::FileId> files;
  for (const ObjectPointer& object : core->table.TakeAll()) {
    std::lock_guard guard(object->mutex);
    if (object->file != io::FileId::kNone) files.push_back(object->file);
  }
  const Status files_closed = co_await core->CloseFiles(io, std::move(files));
  if (closed) closed = files_closed;
  co_await core->CloseDestroyed(io);
  if (closed) {
    kv::Batch batch;
    batch.Put(kMetaFamily, std::string(kClosedRow), EncodeClosed(core->boot));
    closed = co_await core->WriteRows(&batch);
    if (closed) closed = co_await core->SyncIndex(io);
  }
  co_return closed;
}

async::Task<Status> Target::WriteSessionRows(io::FileIo* io, kv::Batch batch) {
  SHEEN_CO_TRY(core_->CheckServing());
  SHEEN_CO_TRY(co_await core_->WriteRows(&batch));
  co_return co_await core_->SyncIndex(io);
}

async::Task<Result<Target::Rows>> Target::ReadSessionRows() {
  co_return co_await ReadRows(kSessionFamily, "");
}

async::Task<Result<Target::Rows>> Target::ReadMetaRows(std::string prefix) {
  co_return co_await ReadRows(kMetaFamily, std::move(prefix));
}

async::Task<Result<Target::Rows>> Target::ReadRows(kv::Family family, std::string prefix) {
  kv::Store* const index = core_->index;
  co_return co_await core_->pool->Run<Result<Rows>>([index, family, prefix]() -> Result<Rows> {
    Rows rows;
    const auto cursor = index->NewCursor(family, kv::Blocking::kMayBlock);
    for (cursor->Seek(prefix); cursor->Valid() && cursor->key().starts_with(prefix);
         cursor->Next()) {
      rows.emplace_back(cursor->key(), cursor->value());
    }
    SHEEN_TRY(cursor->status());
    return rows;
  });
}

std::optional<AnsweredRequest> Target::FindAnswered(uint64_t session, uint32_t slot) const {
  return core_->answered.Find(session, slot);
}

async::Task<Status> Target::ForgetAnswered(uint64_t session) {
  SHEEN_CO_TRY(core_->CheckServing());
  core_->answered.Forget(session);
  kv::Batch batch;
  Answered::DeleteRows(session, &batch);
  co_return co_await core_->WriteRows(&batch);
}

async::Task<Status> Target::KeepAnsweredOf(std::set<uint64_t> sessions) {
  for (const uint64_t session : core_->answered.Sessions()) {
    if (!sessions.contains(session)) SHEEN_CO_TRY(co_await ForgetAnswered(session));
  }
  co_return Status();
}

}  // namespace sheen::ost
