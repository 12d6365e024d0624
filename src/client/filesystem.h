// The client library: one mounted Sheen filesystem. It finds the servers by the cluster map, keeps
// the table of open files, splits reads and writes over the stripes, and merges what MDS and OSTs
// know of size and times. The FUSE front end, the simulator and tests all call this.
//
//   client::Filesystem fs(options);
//   fs.AddShard(&shard, &transport);           // each shard that will call
//   SHEEN_CO_TRY(co_await fs.Mount());         // on one of them
//   auto opened = co_await fs.Create(0, fs.root(), "name", {.mode = 0644, .flags = O_RDWR});
//
// Thread-safe: operations run on the shard that calls them (async::Shard::Current(), which must
// have been added) and talk to the servers over that shard's own connections; the open-file table
// is shared. It must outlive every task; Unmount() ends them.
//
// Waits: an operation whose server is down waits until it is back, or until options.deadline has
// passed (kTimedOut); what lies on other servers goes on. Errors carry what failed and where.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/shard.h"
#include "async/task.h"
#include "client/options.h"
#include "client/types.h"
#include "rpc/client.h"
#include "rpc/link.h"
#include "sheen/result.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

class ClientStats;
class KernelCache;
class ShardContext;
class OpenFile;
class State;

class Filesystem final {
 public:
  explicit Filesystem(Options options);
  ~Filesystem();
  Filesystem(const Filesystem&) = delete;
  Filesystem& operator=(const Filesystem&) = delete;

  // Before the shard's first call here; from any thread while no operation runs.
  // REQUIRES: one shard an index, index < 256; both outlive the filesystem.
  void AddShard(async::Shard* shard, rpc::Transport* transport);

  // Connects to the MGS, fetches the cluster map, resolves the subdirectory. Errors (within
  // mount_timeout): kConnectionRefused, kTimedOut, kWrongFilesystem, kNoEntry (host or
  // subdirectory), kNotDirectory; the message names the address and what to look at.
  async::Task<Status> Mount();
  // Waits for what is in flight (closes in the background too), ends the sessions on all shards.
  // Every shard that was added must still run. Nothing may be called after it. What was written and
  // is on no server's disk yet is waited for until `patience` is over or, if a request has a
  // deadline (Options), a server has not answered by then; the log says for what. Errors: kIo (all
  // has ended, but not all of that is known to be stored; it is in the log).
  async::Task<Status> Unmount(Nanos patience = Nanos::max());

  const Options& options() const;
  // Whether data carries its checksums from end to end, from now on; frames have theirs besides.
  bool block_sums() const;
  void SetBlockSums(bool on);
  Fid root() const;  // the subdirectory's, if one was given
  const rpc::ClientIdentity& identity() const;
  // Version of the cluster map in use.
  uint64_t map_version() const;

  // The id that stands for these ids, groups and the job (at most rpc::kJobIdBytesMax) in requests.
  // Cheap; kept for the mount's life.
  CredentialId CredentialFor(uint32_t uid, uint32_t gid, std::vector<uint32_t> groups,
                             std::string job_id = {});

  // ---- what the caller may keep without asking (kernel_cache.h) ----
  KernelCache* kernel();
  // For how long, of an answer that is about to be given.
  KernelPromise PromiseEntry(const Fid& directory, const std::string& name, const Attr& attr);
  Nanos PromiseAttr(const Attr& attr);
  // Of a file just opened: the pages that the caller may have of it are as they should be.
  bool KeepPages(const Attr& opened);
  KernelListing OpenListing(const Attr& opened);  // of a directory
  // Attributes were changed by this mount in a way that the kernel has not seen.
  void ChangedHere(const Fid& fid);
  // The MDS keeps file locks; appends take turns by one.
  bool KnowsFileLocks() const;
  // Attributes as of now, if no server need be asked for them.
  std::optional<Attr> KnownAttr(const Fid& fid) const;

  // ---- names (namespace_ops.cc) ----
  async::Task<Result<Attr>> Lookup(CredentialId who, Fid parent, std::string name);
  async::Task<Result<Attr>> Search(CredentialId who, Attr parent, std::string name);  // or kAccess
  async::Task<Result<Attr>> MakeNode(CredentialId who, Fid parent, std::string name,
                                     NodeOptions options);
  async::Task<Result<Attr>> Symlink(CredentialId who, Fid parent, std::string name,
                                    std::string target);
  async::Task<Result<Attr>> Link(CredentialId who, Fid fid, Fid parent, std::string name);
  async::Task<Status> Unlink(CredentialId who, Fid parent, std::string name);
  async::Task<Status> RemoveDir(CredentialId who, Fid parent, std::string name);
  async::Task<Status> Rename(CredentialId who, Fid old_parent, std::string old_name,
                             Fid new_parent, std::string new_name, uint32_t flags);
  async::Task<Result<std::string>> ReadLink(CredentialId who, Fid fid);
  // Entries after `cookie` (0: all) in cookie order, without "." and "..".
  async::Task<Result<DirBatch>> ReadDir(CredentialId who, Fid fid, uint64_t cookie, bool plus);

  // ---- attributes (attr_ops.cc) ----
  // Size and times as of now: asks the OSTs when somebody may be writing.
  async::Task<Result<Attr>> GetAttr(CredentialId who, Fid fid);
  // `handle`: an open handle of this mount for ftruncate and futimens, or 0.
  async::Task<Result<Attr>> SetAttr(CredentialId who, Fid fid, AttrChange change, uint64_t handle);

  // ---- open files (open_ops.cc) ----
  // A regular file, created if it is not there, and opened. With O_TRUNC it is empty when answered.
  async::Task<Result<Opened>> Create(CredentialId who, Fid parent, std::string name,
                                     CreateOptions options);
  // Errors: also kTextBusy, when another client runs what is to be written, or the other way about.
  async::Task<Result<Opened>> Open(CredentialId who, Fid fid, uint32_t flags);
  // Tells the MDS size and times if this mount wrote. Later operations on `fid` by this mount come
  // after it. The handle is gone in any case.
  async::Task<Status> Close(Fid fid, uint64_t handle);
  // True while this mount has the file open or its close is under way. Thread-safe, cheap.
  bool IsOpen(Fid fid) const;

  // ---- data (read_ops.cc, write_ops.cc, space_ops.cc) ----
  // Bytes read into `out`: fewer than asked only at the end of the file. `out` stays valid until
  // the task ends. Errors: kCorrupt (checksum), kIo, kBadHandle.
  async::Task<Result<size_t>> Read(Fid fid, uint64_t handle, uint64_t offset, MutableByteSpan out);
  // What a write by someone unprivileged takes away: the file's capabilities, and its set-id bits.
  // That there is nothing to take away is believed for a second.
  async::Task<Status> DropPrivileges(Fid fid, bool set_ids);
  // Bytes written, fewer than given only when a later part failed. `data` as `out` above.
  // Errors: kFileTooBig, kNoSpace, kIo, kBadHandle. "buffered" unless options.sync.
  async::Task<Result<size_t>> Write(Fid fid, uint64_t handle, uint64_t offset, ByteSpan data,
                                    WriteOptions options);
  // What this mount wrote to the file and the file itself survive power loss when it returns.
  async::Task<Status> Fsync(Fid fid);
  // Sends what was answered before it was stored; an error of it is told once.
  async::Task<Status> Flush(Fid fid);
  // The error of a write that was answered before it was stored. Never waits. Fsync and Flush take
  // it, or, after the last close, the next open.
  Status WriteError(const Fid& fid) const;
  async::Task<Status> FsyncDir(Fid fid);
  // `mode` as fallocate(2): 0, KEEP_SIZE, PUNCH_HOLE|KEEP_SIZE, ZERO_RANGE[|KEEP_SIZE].
  async::Task<Status> Fallocate(Fid fid, uint64_t handle, uint32_t mode, uint64_t offset,
                                uint64_t length);
  // lseek(2) SEEK_DATA, SEEK_HOLE. Errors: kNoDevice (ENXIO) at or beyond the end.
  async::Task<Result<uint64_t>> Seek(Fid fid, uint64_t offset, SeekKind kind);

  // ---- flock(2) and fcntl(2) locks (file_lock_ops.cc) ----
  // False: they are left to the kernel (the option, or an MDS that does not know them).
  bool KeepsFileLocks() const;
  // F_GETLK: the lowest lock in the way, of pid 0 when another client has it.
  async::Task<Result<std::optional<FileLockSpec>>> GetLock(Fid fid, FileLockSpec spec);
  // Names a request for InterruptLock.
  uint64_t NewLockTicket();
  // Errors: kAgain (refused), kDeadlock, kInterrupted, kNoLocks, kTimedOut (of the server; a wait
  // for a lock has no end).
  async::Task<Status> SetLock(Fid fid, uint64_t handle, FileLockSpec spec, LockWait wait);
  // The request ends with kInterrupted, now. Nothing when it has ended. On the request's shard.
  void InterruptLock(uint64_t ticket);
  // At FLUSH and RELEASE. What is let go is so for this mount's later requests at once, for others
  // when the server has heard of it: FLUSH is answered after the task (a second at most).
  std::optional<async::Task<void>> FlushLocks(Fid fid, uint64_t owner);
  void ReleaseLocks(Fid fid, uint64_t handle, std::optional<uint64_t> flock_owner);

  // ---- xattrs and layouts (xattr_ops.cc, layout_ops.cc) ----
  async::Task<Result<std::string>> GetXattr(CredentialId who, Fid fid, std::string name);
  async::Task<Status> SetXattr(CredentialId who, Fid fid, std::string name, std::string value,
                               uint32_t flags);
  async::Task<Result<std::vector<std::string>>> ListXattr(CredentialId who, Fid fid);
  async::Task<Status> RemoveXattr(CredentialId who, Fid fid, std::string name);
  // A directory: its default template; `effective`: what a file created in it gets.
  // Errors: kNoData: a directory without a default of its own.
  async::Task<Result<LayoutAnswer>> GetLayout(CredentialId who, Fid fid, bool effective);
  // An empty template removes a directory's default. `edit`: of a file's components.
  async::Task<Status> SetLayout(CredentialId who, Fid fid, std::string layout_template,
                                LayoutChange edit = {});
  // Creates a regular file with this layout and leaves it closed. Errors: kExists.
  async::Task<Result<Fid>> CreateWithLayout(CredentialId who, Fid parent, std::string name,
                                            uint32_t mode, std::string layout_template);

  // ---- other objects for the same bytes (migrate_ops.cc, data_version.cc) ----
  // Another number after each change of the bytes. Errors: kNoData, kNotSupported (they are in S3).
  async::Task<Result<uint64_t>> DataVersion(Fid fid, DataLook look);
  // A migrate of an open handle: BeginCopy; CopySome from 0 on until everything is copied;
  // HoldLayout: false: it was written meanwhile, again from 0, or EndCopy; FinishCopy.
  // `layout_template` empty: as its layout is. Errors: kBusy, kPerm, kNoSpace: it is as it was.
  async::Task<Status> BeginCopy(CredentialId who, Fid fid, uint64_t handle,
                                std::string layout_template);
  async::Task<Result<CopyStep>> CopySome(Fid fid, uint64_t handle, uint64_t offset,
                                         uint64_t length);
  async::Task<Result<bool>> HoldLayout(Fid fid, uint64_t handle);
  async::Task<Status> FinishCopy(Fid fid, uint64_t handle);
  void EndCopy(Fid fid, uint64_t handle);
  // `handle` of the first. Errors: kPerm (other owners, or not the caller's), kBusy.
  async::Task<Status> SwapLayouts(CredentialId who, Fid first, uint64_t handle, Fid second);

  // ---- the rest (space_ops.cc) ----
  // All targets, MDTs first, then OSTs, each by index.
  async::Task<Result<std::vector<TargetSpace>>> Targets();
  async::Task<Result<SpaceSummary>> StatFs();
  // Paths relative to the filesystem's root, without a leading slash.
  async::Task<Result<std::vector<std::string>>> FidToPath(CredentialId who, Fid fid,
                                                          uint32_t links_max);

  // ---- the MDT's changelog, for the superuser (changelog_ops.cc) ----
  async::Task<Result<v1::ReadChangelogReply>> ReadChangelog(CredentialId who,
                                                            v1::ReadChangelogRequest request);
  // Errors: kNoEntry (no such user), kInvalid (beyond the last record).
  async::Task<Status> ClearChangelog(CredentialId who, v1::ClearChangelogRequest request);

  // ---- statistics and limits; on any thread ----
  ClientStats* stats() const;
  struct LockNumbers {
    uint64_t inodes = 0;  // of which something is kept under locks
    uint64_t limit = 0;
  };
  LockNumbers inode_locks() const;
  // Fewer are kept from now on; what is too much is given back.
  void SetInodeLocksMax(uint64_t inodes_max);
  void DropInodeLocks();
  struct HeldNumbers {
    uint64_t bytes = 0;  // accepted, not yet written
    uint64_t limit = 0;
  };
  HeldNumbers held() const;
  // What the OSTs have granted, by index.
  uint64_t GrantedBytes(uint32_t ost) const;
  // OST index and server name.
  std::vector<std::pair<uint32_t, std::string>> OstServers() const;

  // For the library's own files (src/client/*.cc).
  State* state() const { return state_.get(); }

 private:
  async::Task<Status> SyncFile(Fid fid);
  Status TakeLostChange(const Fid& fid);
  async::Task<Result<uint64_t>> SeekOnce(Fid fid, uint64_t offset, SeekKind kind);
  async::Task<Result<Opened>> OpenOnce(CredentialId who, Fid fid, uint32_t flags);
  // local_opens.cc; nullopt: the MDS is to be asked.
  std::optional<Attr> MayOpenHere(CredentialId who, const Fid& fid, uint32_t flags) const;
  std::optional<Opened> OpenHere(CredentialId who, const Fid& fid, uint32_t flags);
  async::Task<void> CloseUnused(Fid fid, uint64_t handle);

  const std::unique_ptr<State> state_;
};

}  // namespace sheen::client
