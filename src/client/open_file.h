// OpenFile: what this mount knows of one file that it has open: handles, layout, owner, and the
// objects that it wrote. OpenTable: all of them, by FID, shared by the shards.
//
// Lock order: a table bucket's mutex, then the file's.
//
// The knowledge of objects counts from the moment when this mount got its first handle for writing
// (everything is forgotten there): if no other client wrote in between, which the MDS knows, it is
// exact, and the last close can report size, blocks and times without asking an OST.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <unordered_map>
#include <vector>

#include "async/rw_lock.h"
#include "client/attr_merge.h"
#include "client/held_writes.h"
#include "client/layout_lock.h"
#include "client/open_handle.h"
#include "client/shared_waiters.h"
#include "client/types.h"

namespace sheen::client {

// Thread-safe.
class OpenFile final {
 public:
  explicit OpenFile(const Fid& fid) : fid_(fid) {}
  const Fid& fid() const { return fid_; }

  // `created`: by this very open, so that no object exists yet.
  void AddHandle(const OpenHandle& handle, const Attr& attr, LayoutPtr layout, bool created);
  // Takes the handle away; EndClose must follow, whatever becomes of the request.
  CloseStart BeginClose(uint64_t handle);
  // Reports go one after the other, each with what is known when its turn comes: an older one
  // never reaches the MDS after a newer. `while (!file->TryBeginReport()) co_await
  // file->WaitReport();`, then EndReport before EndClose.
  bool TryBeginReport();
  CloseReport Report() const;
  void EndReport();
  void EndClose();
  bool idle() const;

  // Handles that the MDS does not know, and that nobody else is telling it: they count as being
  // told from now on. EndTelling of each must follow. `only`: that handle, if it is one of them.
  std::vector<OpenHandle> BeginTelling(uint64_t only = 0);
  // `known`: the MDS knows it now, or never will; else it can be told again.
  void EndTelling(uint64_t handle, bool known);
  // There are some, or some are being told.
  bool HasLocal() const;
  bool IsLocal(uint64_t handle) const;
  bool telling() const;
  // Suspends while handles are being told: `while (file->telling()) co_await file->WaitTold();`
  auto WaitTold() {
    struct Awaiter {
      OpenFile* file;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return file->AddTold(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }
  // Nothing of this mount can be changing its size and times: no writer, no close under way.
  bool quiet() const;
  // This client was evicted: what it knows of size and objects may be older than what others have
  // written since. It asks, until the file is opened for writing anew.
  void MissedChanges();
  // Attributes as of now from those at the open, of a file that no other mount has opened for
  // writing since: nothing was written, or all its objects are known here. nullopt: they are not,
  // or a close is under way.
  std::optional<Attr> SoleWriterAttr(const Attr& at_open) const;
  std::vector<OpenHandle> handles() const;
  // Who opened the handle; when it is not there any more, who opened the file last.
  CredentialId WhoOf(uint64_t handle) const;
  // It was opened with O_DIRECT.
  bool IsDirect(uint64_t handle) const;

  // Suspends while a close is under way: `while (file->closing()) co_await file->WaitClosed();`
  bool closing() const;
  auto WaitClosed() {
    struct Awaiter {
      OpenFile* file;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return file->AddWaiter(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

  auto WaitReport() {
    struct Awaiter {
      OpenFile* file;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return file->AddReporter(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

  // What was accepted and not sent yet.
  HeldWrites* held() { return &held_; }
  // Before I/O: LayoutForIo.
  LayoutLock* layout_lock() { return &layout_lock_; }

  // Appends of this mount go one after the other.
  async::AsyncRwLock* append_turn() { return &append_turn_; }
  // Calls `done` when no append is under way that relies on nobody else writing; perhaps at once.
  void WhenNoSoleAppend(std::function<void()> done);

  IoView View() const;
  // As View; the file counts as written from now on.
  IoView ViewForWrite();
  LayoutPtr layout() const;
  // Unless the one in place is as new.
  void UpdateLayout(LayoutPtr layout);
  void NoteAttr(const Attr& attr);
  void NoteTransno(uint64_t mds_transno);
  // With the access time, unless the handle was opened with O_NOATIME.
  void NoteRead(uint64_t handle, int64_t now_ns);
  // An OST's answer to a change of an object of `layout`. `transno` 0: nothing was changed.
  void NoteChange(const LayoutPtr& layout, ObjectPlace place, const ObjectState& state,
                  uint64_t transno);

  // Size of the newest attributes seen; a read that finds less asks the MDS.
  uint64_t size_seen() const;
  int64_t ctime_seen_ns() const;
  uint64_t mds_transno() const;
  std::vector<DirtyObject> Dirty() const;
  // They survive power loss now, as far as they were written up to the given transno.
  void NoteCommitted(const std::vector<DirtyObject>& objects);

  // For a short while after the MDS said that there is no security.capability: the kernel asks for
  // it before each write.
  bool KnownWithoutCapability(int64_t now_ns) const;
  void SetWithoutCapability(int64_t until_ns);
  // Likewise for set-user-ID and set-group-ID bits.
  bool KnownWithoutSetIds(int64_t now_ns) const;
  void SetWithoutSetIds(int64_t until_ns);

 private:
  friend class SoleAppend;
  struct Written {
    uint64_t first_transno = 0;
    uint64_t last_transno = 0;
    bool dirty = false;
  };
  using WrittenMap = std::vector<std::vector<Written>>;

  bool AddWaiter(std::coroutine_handle<> caller);
  bool AddReporter(std::coroutine_handle<> caller);
  bool AddTold(std::coroutine_handle<> caller);
  bool TellingLocked() const;
  void ForgetObjectsLocked(bool absent);
  void UpdateLayoutLocked(LayoutPtr layout);
  void NoteAttrLocked(const Attr& attr);

  const Fid fid_;
  HeldWrites held_;
  LayoutLock layout_lock_;
  mutable std::mutex mutex_;  // guards everything below
  std::vector<OpenHandle> handles_;
  CredentialId last_who_ = 0;
  uint32_t writer_count_ = 0;
  uint32_t closing_count_ = 0;
  SharedWaiters waiters_;
  bool reporting_ = false;
  SharedWaiters reporters_;
  SharedWaiters told_;
  LayoutPtr layout_;
  ObjectStates states_;  // shaped as layout_
  WrittenMap written_;   // likewise
  bool wrote_ = false;
  bool missed_ = false;        // see MissedChanges; until a first writer opens it anew
  bool safe_at_open_ = false;  // the MDS's size was right when the first writer opened
  uint32_t uid_ = 0;
  uint32_t gid_ = 0;
  uint32_t project_id_ = 0;
  uint64_t size_seen_ = 0;
  uint64_t size_epoch_ = 0;
  uint64_t mds_transno_ = 0;
  int64_t atime_ns_ = 0;
  int64_t mtime_ns_ = 0;
  int64_t ctime_seen_ns_ = 0;
  int64_t read_at_ns_ = 0;
  int64_t no_capability_until_ns_ = 0;
  uint32_t sole_appends_ = 0;
  std::vector<std::function<void()>> sole_waiters_;
  async::AsyncRwLock append_turn_;
  int64_t no_set_ids_until_ns_ = 0;
};

// An append under way whose place was decided without asking anybody.
class SoleAppend final {
 public:
  explicit SoleAppend(OpenFile* file);
  ~SoleAppend();
  SoleAppend(const SoleAppend&) = delete;
  SoleAppend& operator=(const SoleAppend&) = delete;

 private:
  OpenFile* const file_;
};

// Thread-safe.
class OpenTable final {
 public:
  // nullptr: not open here, no close under way.
  std::shared_ptr<OpenFile> Find(const Fid& fid) const;
  std::shared_ptr<OpenFile> AddHandle(const OpenHandle& handle, const Attr& attr, LayoutPtr layout,
                                      bool created);
  // OpenFile::EndClose; forgets the file when nothing holds it any more.
  void EndClose(OpenFile* file);
  std::vector<std::shared_ptr<OpenFile>> All() const;

 private:
  static constexpr size_t kBuckets = 64;
  struct Bucket {
    mutable std::mutex mutex;  // guards files
    std::unordered_map<Fid, std::shared_ptr<OpenFile>> files;
  };
  static size_t IndexOf(const Fid& fid) { return std::hash<Fid>()(fid) % kBuckets; }

  std::array<Bucket, kBuckets> buckets_;
};

// The handle may change the file: by its access mode, or because it was opened with O_TRUNC.
bool IsWriter(uint32_t open_flags);

}  // namespace sheen::client
