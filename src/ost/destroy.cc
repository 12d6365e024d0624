// Destroy and the owner's attributes.
//
// Destroy: one batch deletes the rows and puts tombstones; when that is durable the files go. A
// crash in between leaves files without rows, which the next start removes by the tombstones.
#include <fmt/core.h>

#include <algorithm>

#include "base/log.h"
#include "ost/core.h"

namespace sheen::ost {
namespace {

constexpr size_t kChunkObjects = 256;

std::vector<layout::ObjectId> SortedUnique(std::vector<layout::ObjectId> ids) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

// What the object counts against the target's space; its file need not be opened for that.
async::Task<Result<uint64_t>> ChargedBytes(Target::Core* core, ObjectPointer object) {
  {
    std::lock_guard guard(object->mutex);
    if (object->loaded) co_return object->charged_bytes;
  }
  SHEEN_CO_TRY_ASSIGN(const std::optional<std::string> row,
                      co_await core->GetRow(kObjectFamily, ObjectKey(object->id)));
  if (!row) co_return uint64_t{0};
  const Result<IndexRecord> record = DecodeRecord(*row);
  co_return record ? record->allocated_bytes : 0;  // a damaged one may go all the same
}

// Takes the objects out of the index. REQUIRES: both locks of each are held alone.
async::Task<Status> ForgetObjects(Target::Core* core, const std::vector<ObjectPointer>* objects) {
  const int64_t now_ns = async::Shard::Current()->WallNow().count();
  kv::Batch batch;
  std::vector<uint64_t> charged;
  for (const ObjectPointer& object : *objects) {
    SHEEN_CO_TRY_ASSIGN(const uint64_t bytes, co_await ChargedBytes(core, object));
    charged.push_back(bytes);
    const std::string key = ObjectKey(object->id);
    batch.Delete(kObjectFamily, key);
    batch.Delete(kPendingFamily, key);
    batch.Put(kTombstoneFamily, key, EncodeTombstone(now_ns));
  }
  SHEEN_CO_TRY(co_await core->WriteRows(&batch));
  for (size_t i = 0; i < objects->size(); ++i) {
    const ObjectPointer& object = (*objects)[i];
    {
      std::lock_guard guard(object->mutex);
      object->loaded = true;
      object->exists = false;
      object->destroyed = true;
      ++object->version;
    }
    core->space.Uncharge(charged[i]);
    core->tombstones.Add(object->id, now_ns);
    core->table.Remove(object.get());
  }
  std::lock_guard guard(core->commit_mutex);
  core->destroyed.insert(core->destroyed.end(), objects->begin(), objects->end());
  co_return Status();
}

async::Task<Status> ForgetChunk(Target::Core* core, io::FileIo* io,
                                std::vector<layout::ObjectId> ids) {
  std::vector<ObjectPointer> objects;
  std::vector<io::FileId> to_close;
  for (const layout::ObjectId& id : ids) objects.push_back(core->table.Acquire(id, &to_close));
  const Status closed = co_await core->CloseFiles(io, std::move(to_close));
  if (!closed) SHEEN_LOG(Warn, "{}: close: {}", core->name, closed.error().ToString());
  std::vector<async::RwGuard> guards;
  guards.reserve(2 * objects.size());
  for (const ObjectPointer& object : objects) {
    guards.push_back(co_await object->lock.Exclusive());
  }
  for (const ObjectPointer& object : objects) {
    guards.push_back(co_await object->row_lock.Exclusive());
  }
  const Status forgotten = co_await ForgetObjects(core, &objects);
  guards.clear();
  co_return forgotten;
}

async::Task<Status> UnlinkOne(Target::Core* core, io::FileIo* io, layout::ObjectId id) {
  const Status gone = co_await io->Unlink(core->PathOf(id));
  if (gone || gone.error().code() == Errc::kNoEntry) co_return Status();
  core->NoteFailure(gone.error());
  co_return std::unexpected(core->Named(gone.error(), id));
}

async::Task<Status> UnlinkAll(Target::Core* core, io::FileIo* io,
                              const std::vector<layout::ObjectId>* ids) {
  for (size_t begin = 0; begin < ids->size(); begin += kParallelCalls) {
    const size_t end = std::min(ids->size(), begin + kParallelCalls);
    std::vector<async::Task<Status>> tasks;
    for (size_t i = begin; i < end; ++i) tasks.push_back(UnlinkOne(core, io, (*ids)[i]));
    const std::vector<Status> results = co_await async::WhenAll(std::move(tasks));
    for (const Status& result : results) SHEEN_CO_TRY(result);
  }
  co_return Status();
}

// REQUIRES: row_lock.
async::Task<Status> WriteRecord(Target::Core* core, ObjectPointer object, IndexRecord record) {
  kv::Batch batch;
  batch.Put(kObjectFamily, ObjectKey(object->id), EncodeRecord(record));
  SHEEN_CO_TRY(co_await core->WriteRows(&batch));
  std::lock_guard object_guard(object->mutex);
  object->record = std::move(record);
  co_return Status();
}

async::Task<Status> SetOwnerOfOne(Target::Core* core, io::FileIo* io, layout::ObjectId id,
                                  Owner owner) {
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  const async::RwGuard guard = co_await object->lock.Exclusive();
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  IndexRecord record;
  {
    std::lock_guard object_guard(object->mutex);
    if (object->destroyed || !object->exists) co_return Status();
    record = object->record;
  }
  if (owner.layout_generation >= record.layout_generation) {
    record.uid = owner.uid;
    record.gid = owner.gid;
    record.project_id = owner.project_id;
    record.layout_generation = owner.layout_generation;
  }
  co_return co_await WriteRecord(core, object, std::move(record));
}

// The owner is not touched: whoever fences may know an older one.
async::Task<Status> FenceOne(Target::Core* core, io::FileIo* io, layout::ObjectId id,
                             uint32_t generation) {
  SHEEN_CO_TRY_ASSIGN(const ObjectPointer object, co_await core->Load(io, id));
  // Alone, so that no write with an older generation is under way when the fence stands.
  const async::RwGuard guard = co_await object->lock.Exclusive();
  const async::RwGuard row_guard = co_await object->row_lock.Exclusive();
  core->fenced_now.store(true);
  SHEEN_CO_TRY(core->CheckReadable(object.get()));
  IndexRecord record;
  {
    std::lock_guard object_guard(object->mutex);
    record = object->record;
    // A row without a file holds the fence against whoever would make the object.
    if (!object->exists) record.created_uncommitted = true;
    if (!object->exists) SHEEN_CO_TRY(core->CheckNotDestroyed(id));
  }
  record.fence_generation = std::max(record.fence_generation, generation);
  co_return co_await WriteRecord(core, object, std::move(record));
}

}  // namespace

async::Task<Status> Target::Destroy(io::FileIo* io, std::vector<layout::ObjectId> ids) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  ids = SortedUnique(std::move(ids));
  for (size_t begin = 0; begin < ids.size(); begin += kChunkObjects) {
    const size_t end = std::min(ids.size(), begin + kChunkObjects);
    std::vector<layout::ObjectId> chunk(ids.begin() + static_cast<ptrdiff_t>(begin),
                                        ids.begin() + static_cast<ptrdiff_t>(end));
    SHEEN_CO_TRY(co_await ForgetChunk(core, io, std::move(chunk)));
  }
  SHEEN_CO_TRY(co_await core->SyncIndex(io));
  SHEEN_CO_TRY(co_await UnlinkAll(core, io, &ids));
  co_await core->CloseDestroyed(io);
  co_return core->CheckServing();
}

async::Task<Status> Target::SetOwner(io::FileIo* io, std::vector<layout::ObjectId> ids,
                                     Owner owner) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  for (const layout::ObjectId& id : SortedUnique(std::move(ids))) {
    SHEEN_CO_TRY(co_await SetOwnerOfOne(core, io, id, owner));
  }
  co_return co_await core->SyncIndex(io);
}

async::Task<Status> Target::Fence(io::FileIo* io, std::vector<layout::ObjectId> ids,
                                  uint32_t layout_generation) {
  Core* core = core_.get();
  SHEEN_CO_TRY(core->CheckServing());
  if (layout_generation > layout::kGenerationMax) {
    co_return Fail(Errc::kInvalid,
                   fmt::format("{}: no layout has generation {}", core->name, layout_generation));
  }
  for (const layout::ObjectId& id : SortedUnique(std::move(ids))) {
    SHEEN_CO_TRY(co_await FenceOne(core, io, id, layout_generation));
  }
  co_return co_await core->SyncIndex(io);
}

}  // namespace sheen::ost
