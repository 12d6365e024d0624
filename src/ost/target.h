// Target: the object store engine of one OST. Objects are files in hashed directories; an index of
// them (existence, size, owner, times, last transno) is kept beside in a kv::Store and committed
// after the data:
//
//   write:     file (buffered) ---------------> commit: fdatasync files, sync directories,
//                                                       then one index batch, then store sync
//   truncate, punch, destroy:  index row (durable) -> file -> row cleared at the next commit
//
// So: not in the index = never written, a hole; in the index with the file absent or shorter than
// the committed size = damage, kCorrupt. docs/formats/ost.md has the format and what is done after
// a crash at each point; this module knows no RPC.
//
// Thread-safe: every call runs on the caller's shard and uses that shard's FileIo; calls for one
// object from several shards are ordered by a lock of the object (reads and writes share it).
// Callers must be on a shard. The target must outlive all calls; Close() before it is destroyed.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/blocking_pool.h"
#include "async/task.h"
#include "io/file_io.h"
#include "kv/store.h"
#include "layout/layout.h"
#include "ost/changes.h"
#include "ost/directory_lock.h"
#include "ost/format.h"
#include "ost/residency.h"
#include "ost/superblock.h"
#include "sheen/result.h"

namespace sheen::ost {

struct OpenOptions {
  std::string directory;
  std::string fsname;                   // must match the superblock; empty: any
  std::optional<uint32_t> ost_index;    // must match when given
  kv::Store* index = nullptr;           // opened with IndexFamilies(); outlives the target
  async::BlockingPool* pool = nullptr;  // for the store's blocking calls; outlives the target
  // Held until the target goes. Take it before the store is opened, for the better message. Null:
  // Open takes it itself when lock_directory is set (a MemoryFileIo's directories are not real).
  std::unique_ptr<DirectoryLock> lock;
  bool lock_directory = true;
  uint32_t open_objects_max = 4096;  // file descriptors; dirty objects may exceed it
  uint64_t commit_bytes = 64 << 20;  // uncommitted bytes that start a commit
  // Tells a restarted process from a restarted machine. Empty: the kernel's boot id
  // (random(4), /proc/sys/kernel/random/boot_id).
  std::string machine_boot_id;
};

// One write may need as much more space, at either end.
inline constexpr uint64_t kGrantUnit = 4096;

struct ReadResult {
  size_t bytes = 0;  // fewer than asked at the object's end, 0 for a hole
  ObjectAttr attr;
};

struct SeekResult {
  bool found = false;
  uint64_t offset = 0;
  uint64_t size = 0;
};

struct TargetSpace {
  uint64_t bytes_total = 0;
  uint64_t bytes_free = 0;
  uint64_t bytes_available = 0;  // without the reserve that keeps truncate and unlink working
  uint64_t files_total = 0;
  uint64_t files_free = 0;
  uint64_t device = 0;
  bool limited = false;
};

class Target final {
 public:
  // Raises the boot count (durable), finishes what a crash interrupted. Errors: kNoEntry (not
  // formatted), kBadVersion, kWrongFilesystem, kInvalid (other OST index), kBusy (another process,
  // named), kReadOnly, kNoSpace, kCorrupt (superblock, or an index that is not this target's).
  static async::Task<Result<std::unique_ptr<Target>>> Open(io::FileIo* io, OpenOptions options);
  ~Target();

  const Superblock& superblock() const;
  const std::string& name() const;  // "sheen-OST0000"
  uint64_t boot() const;
  // To at least `boot` (durable), so that the targets of one server have the same: whichever of
  // them it is started with next, its number is a new and a higher one. REQUIRES: before any
  // request.
  async::Task<Status> RaiseBoot(io::FileIo* io, uint64_t boot);
  // Highest transno that was durable when the target was opened.
  uint64_t recovered_transno() const;
  uint64_t last_committed() const;
  // Not empty: the target stopped serving, and why.
  std::string stop_reason() const;

  // All calls below: kIo with the reason once the target has stopped.
  //
  // "buffered". Errors: kStale (destroyed), kLayoutChanged (owner.layout_generation is older than
  // the object's fence), kBadHandle (absent and not to be made), kNoSpace, kCorrupt, kIo.
  async::Task<Result<ChangeResult>> Write(io::FileIo* io, WriteArgs args);
  // `layout_generation` 0: of any. Errors: kLayoutChanged (as Write), kCorrupt naming target,
  // object, expected and found; kIo.
  async::Task<Result<ReadResult>> Read(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                       MutableByteSpan out, uint32_t layout_generation = 0);
  // Errors: kStale (destroyed, as far as that is remembered).
  async::Task<Result<ObjectAttr>> GetAttr(io::FileIo* io, layout::ObjectId id);
  // Cutting committed bytes: the intent "survives power loss" when it returns.
  async::Task<Result<ChangeResult>> Truncate(io::FileIo* io, TruncateArgs args);
  async::Task<Result<ChangeResult>> Allocate(io::FileIo* io, AllocateArgs args);
  // ---- objects whose bytes may be in S3 (residency.h); the calls above give kAbsent where they
  // would need bytes that are not here ----
  // Makes the object with all of its bytes absent, unless it exists: "buffered".
  // Errors: kStale (destroyed), kNoSpace.
  async::Task<Status> Attach(io::FileIo* io, layout::ObjectId id, ObjectSource source,
                             Owner owner);
  struct Missing {
    ObjectSource source;
    std::vector<uint64_t> blocks;  // to be filled; empty: nothing is missing
  };
  // What a read (`change`: a change) of the range needs, the first `blocks_max` of it. An object
  // without a source: nothing.
  async::Task<Result<Missing>> FindMissing(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                           uint64_t length, bool change,
                                           size_t blocks_max = SIZE_MAX);
  // A change of the range covers a part of a block that was filled and is not committed.
  async::Task<Result<bool>> RestsOnFill(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                        uint64_t length);
  // Puts S3's bytes of a block where it is still absent, and S3's ETag is still the object's.
  // REQUIRES: `data` is the block's part. "survives power loss" with its mark, after a commit.
  async::Task<Status> Fill(io::FileIo* io, layout::ObjectId id, uint64_t block, std::string etag,
                           ByteSpan data);
  // Gives the disk space of clean blocks back; they are absent, durably, before. Gives the bytes.
  async::Task<Result<uint64_t>> Release(io::FileIo* io, layout::ObjectId id);
  // nullopt: no such object, or one without a source.
  async::Task<Result<std::optional<Residency>>> GetResidency(io::FileIo* io,
                                                             layout::ObjectId id);
  // First data (or hole, the end counts as one) at or after `offset`.
  async::Task<Result<SeekResult>> Seek(io::FileIo* io, layout::ObjectId id, uint64_t offset,
                                       bool hole);
  // "survives power loss". Objects that do not exist get a tombstone too: success.
  async::Task<Status> Destroy(io::FileIo* io, std::vector<layout::ObjectId> ids);
  // Kept where the owner's layout generation is not older than what is recorded; objects that do
  // not exist are left out. "survives power loss" when it returns.
  async::Task<Status> SetOwner(io::FileIo* io, std::vector<layout::ObjectId> ids, Owner owner);
  // Requests with an older layout generation are refused from now on, also those that would make
  // the object. "survives power loss" when it returns. Errors: kStale (one was destroyed), kInvalid
  // (a generation that no layout reaches).
  async::Task<Status> Fence(io::FileIo* io, std::vector<layout::ObjectId> ids,
                            uint32_t layout_generation);

  // Everything done before the call "survives power loss" when it returns; many callers share one.
  async::Task<Status> Commit(io::FileIo* io);
  // Housekeeping, once a second: commits what is dirty, refreshes the free space, drops tombstones
  // that are 60 s old and older than `oldest_request_ns` (wall time at which the oldest request
  // still in flight arrived), closes files of destroyed objects.
  async::Task<void> Tick(io::FileIo* io, int64_t oldest_request_ns);
  async::Task<Result<TargetSpace>> Space(io::FileIo* io);
  // Space set aside for data that clients hold back; multiples of kGrantUnit.
  uint64_t GrantableBytes() const;
  bool Grant(uint64_t bytes);         // false: not so much is left
  void AddGrant(uint64_t bytes);      // without asking
  void ReturnGrant(uint64_t bytes);
  // Commits and closes all files. No call may be running or follow.
  async::Task<Status> Close(io::FileIo* io);
  // The last request in that slot that was committed before the target was opened.
  std::optional<AnsweredRequest> FindAnswered(uint64_t session, uint32_t slot) const;
  // Of a session that has ended; "buffered".
  async::Task<Status> ForgetAnswered(uint64_t session);
  // And of all sessions but these.
  async::Task<Status> KeepAnsweredOf(std::set<uint64_t> sessions);

  // Rows of the OSS, in kSessionFamily and some in kMetaFamily. Write: "survives power loss".
  using Rows = std::vector<std::pair<std::string, std::string>>;
  async::Task<Status> WriteSessionRows(io::FileIo* io, kv::Batch batch);
  async::Task<Result<Rows>> ReadSessionRows();
  async::Task<Result<Rows>> ReadMetaRows(std::string prefix);

  struct Core;  // core.h

 private:
  explicit Target(std::unique_ptr<Core> core);
  async::Task<Result<Rows>> ReadRows(kv::Family family, std::string prefix);
  std::unique_ptr<Core> core_;
};

}  // namespace sheen::ost
