// Target::Core: the parts of a target and the steps that its operations share. Internal to this
// module; the operations are in read_write.cc, change.cc, destroy.cc, commit.cc and open.cc.
//
// Thread-safe by the rules at the members. `io` is always the calling shard's FileIo.
#pragma once

#include <atomic>
#include <bitset>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ost/answered.h"
#include "ost/group_call.h"
#include "ost/object_table.h"
#include "ost/space.h"
#include "ost/target.h"
#include "ost/tombstones.h"

namespace sheen::ost {

// What an operation did to an object, for Core::Finish.
struct Change {
  uint64_t bytes = 0;  // written: counts towards the next commit
  uint64_t size_at_least = 0;
  std::optional<uint64_t> size;  // truncate: exactly
  uint64_t preallocated_end = 0;
  int64_t ctime_seen_ns = 0;
  int64_t decided_ctime_ns = 0;
  Owner owner;
  RequestName request;
};

using ObjectPointer = std::shared_ptr<Object>;

struct Target::Core {
  Core(OpenOptions open_options, Superblock target_superblock);

  // ---- fixed after Open ----
  const OpenOptions options;
  const Superblock superblock;
  const std::string name;
  kv::Store* const index;
  async::BlockingPool* const pool;
  std::unique_ptr<DirectoryLock> lock;
  uint64_t boot = 0;
  uint64_t recovered_transno = 0;
  bool inherits_unsynced = false;  // BootRow: objects are synced with their first commit here
  uint64_t machine = 0;            // hash of the kernel's boot id, for Residency

  // ---- thread-safe by themselves ----
  ObjectTable table;
  SpaceAccount space;
  Tombstones tombstones;
  Answered answered;                   // noted under commit_mutex
  GroupCall commit_group;              // CommitRound
  GroupCall sync_group;                // kv::Store::Sync
  async::AsyncRwLock background_lock;  // shared by spawned commits; Close waits for them
  std::atomic<uint64_t> last_committed{0};
  std::atomic<uint64_t> uncommitted_bytes{0};
  std::atomic<bool> commit_requested{false};
  std::atomic<bool> stopped{false};
  std::atomic<bool> fenced_now{false};  // since the start: recovery is over

  mutable std::mutex commit_mutex;  // guards the five below and Object::listed
  uint64_t counter = 0;             // of the last transno: boot << 40 | counter
  std::vector<ObjectPointer> dirty;
  std::set<std::string> unsynced_directories;
  std::bitset<65536> known_directories;  // made, and their parent is synced or in the set above
  std::vector<ObjectPointer> destroyed;  // unlinked; files to close when nobody uses them

  mutable std::mutex stop_mutex;  // guards stop_reason
  std::string stop_reason;

  // ---- core.cc ----
  Status CheckServing() const;
  // The first reason stays; logged once.
  void StopServing(const Error& reason);
  // Stops serving if `error` says that the disk or the store failed (not: full, interrupted).
  void NoteFailure(const Error& error);
  Error Named(const Error& error, const layout::ObjectId& id) const;
  std::string PathOf(const layout::ObjectId& id) const;

  async::Task<Result<std::optional<std::string>>> GetRow(kv::Family family, std::string key);
  // "buffered"
  async::Task<Status> WriteRows(const kv::Batch* batch);
  async::Task<Status> SyncIndex(io::FileIo* io);

  // The object with its row read and its file open. Errors: kIo. Damage is not one: CheckUsable.
  async::Task<Result<ObjectPointer>> Load(io::FileIo* io, layout::ObjectId id);
  async::Task<Status> LoadObject(io::FileIo* io, ObjectPointer object);
  async::Task<Status> OpenObject(io::FileIo* io, ObjectPointer object, IndexRecord record);
  // Makes the file and puts the row. REQUIRES: object->lock held alone, !exists.
  async::Task<Status> Create(io::FileIo* io, ObjectPointer object, Owner owner,
                             std::optional<Residency> residency = std::nullopt);
  // Of a new object with a source, before its row. Closes and removes the file when it fails.
  async::Task<Status> SizeNewFile(io::FileIo* io, ObjectPointer object, io::FileId file,
                                  uint64_t bytes);
  async::Task<Status> RecordCreation(ObjectPointer object, Owner owner,
                                     std::optional<Residency> residency, io::FileId file);
  // For an absent object that the request may not make.
  Status RefuseAbsent(const layout::ObjectId& id) const;
  // Of an object that does not exist. Errors: kStale: it was destroyed, so it is no hole.
  Status CheckNotDestroyed(const layout::ObjectId& id) const;
  async::Task<Status> MakeObjectDirectory(io::FileIo* io, uint32_t hash);

  // Destroyed, damaged, or the layout generation is behind the fence?
  Status CheckUsable(Object* object, uint32_t layout_generation) const;
  Status CheckReadable(Object* object) const;
  // What CheckUsable is to look at, under the object's lock. Whatever was answered before a fence
  // was answered, is committed: what is to be repeated comes before the fences of earlier starts,
  // which are asked for again. But fences wait for recovery: a replay that meets one of this start
  // was on its way when its client was given up.
  template <class Args>
  uint32_t GenerationOf(const Args& args) const {
    return args.replay && !fenced_now.load() ? UINT32_MAX : args.owner.layout_generation;
  }
  // Bytes of [offset, offset + length) that may need new disk space.
  static uint64_t NewBytes(Object* object, uint64_t offset, uint64_t length);
  // Reserves; when that fails, commits (which counts exactly) and tries once more.
  // `granted`: bytes set aside for it, which are used up in any case.
  async::Task<Result<uint64_t>> Reserve(io::FileIo* io, ObjectPointer object, uint64_t offset,
                                        uint64_t length, uint64_t granted = 0);
  // Gives the change its transno, times and place in the next commit.
  ChangeResult Finish(const ObjectPointer& object, const Change& change);
  // Of a request that found nothing to change: that, too, is remembered.
  ChangeResult FinishNothing(const RequestName& request);
  // Puts it into the next commit without a change of its own.
  void MarkDirty(const ObjectPointer& object);
  void RequestCommitIfDue(io::FileIo* io);
  static ObjectAttr AttrOf(Object* object);
  async::Task<Status> CloseFiles(io::FileIo* io, std::vector<io::FileId> files);

  // ---- lazy.cc: objects with data in S3 ----
  // "buffered". REQUIRES: row_lock.
  async::Task<Status> WriteRow(ObjectPointer object);
  // Is all here that reading (`change`: changing) the range needs? Errors: kAbsent.
  Status CheckPresent(Object* object, uint64_t offset, uint64_t length, bool change) const;
  // Around a change of the range: what was clean is dirty before, what was absent is here `after`.
  async::Task<Status> NoteChange(ObjectPointer object, uint64_t offset, uint64_t length,
                                 bool after);
  // Bytes from `size` on, or in the range, are not S3's any more: durable when it returns.
  async::Task<Status> CutSource(io::FileIo* io, ObjectPointer object, uint64_t size);
  async::Task<Status> PunchSource(io::FileIo* io, ObjectPointer object, uint64_t offset,
                                  uint64_t length);
  // First data or hole at or after `offset`, absent bytes being data. UINT64_MAX: none.
  async::Task<Result<uint64_t>> SeekWithSource(io::FileIo* io, ObjectPointer object,
                                               uint64_t offset, bool hole);
  // The file of an object that has a source, as long as it at least; made if a power cut took it.
  async::Task<Status> RestoreFile(io::FileIo* io, ObjectPointer object, IndexRecord* record);

  // ---- commit.cc ----
  async::Task<Status> CommitRound(io::FileIo* io);
  async::Task<void> CloseDestroyed(io::FileIo* io);
  async::Task<void> ExpireTombstones(int64_t before_ns);

  // ---- change.cc: intents, made durable before the file is touched ----
  async::Task<Status> BeginPending(io::FileIo* io, ObjectPointer object,
                                   PendingOperation operation);
  // `size`: the object's from now on; known to commits at the same moment as the end of the cut.
  async::Task<Status> EndPending(ObjectPointer object, std::optional<uint64_t> size);

  // ---- open.cc ----
  async::Task<Status> Start(io::FileIo* io, std::string machine_boot_id);
  async::Task<Status> RedoDestroys(io::FileIo* io);
  async::Task<Status> RedoPending(io::FileIo* io, bool same_machine_boot);
  async::Task<Status> RedoOne(io::FileIo* io, layout::ObjectId id, bool same_machine_boot,
                              kv::Batch* batch);
  async::Task<Status> CountUsed();
};

// Bytes an object counts: what is allocated, without what the file system set aside beyond the end
// on its own account (XFS).
uint64_t CountedBytes(uint64_t allocated_bytes, uint64_t size, uint64_t preallocated_end);
// "16 at a time": limits how much of a batch is in flight at once.
inline constexpr size_t kParallelCalls = 64;

}  // namespace sheen::ost
