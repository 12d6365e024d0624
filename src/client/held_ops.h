// Write-behind: what is done with HeldWrites. See held_writes.h.
//
// Call on a shard of the filesystem.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "async/task.h"
#include "client/held_writes.h"
#include "client/open_file.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::client {

class State;

// Lists of slots (rpc::Call::slot_list_apart) for chunks. Those of objects with a source may wait
// for S3, as long as no agent is there; the others must not wait for them.
inline constexpr uint32_t kSlotsForHere = 1;
inline constexpr uint32_t kSlotsForAbsent = 2;
inline constexpr uint32_t kSlotListsForHeld = 2;

// Which open file a lock belongs to, for the OSS's callbacks. Thread-safe.
class ExtentBook final {
 public:
  uint64_t NewId() { return next_id_.fetch_add(1); }
  void Add(uint64_t id, std::weak_ptr<OpenFile> file);
  void Remove(uint64_t id);
  std::shared_ptr<OpenFile> Find(uint64_t id) const;
  // The server's session as of now; true: it was another one before.
  bool NoteSession(const std::string& server, uint64_t session);

 private:
  std::atomic<uint64_t> next_id_{1};
  mutable std::mutex mutex_;  // guards what follows
  std::unordered_map<uint64_t, std::weak_ptr<OpenFile>> files_;
  std::map<std::string, uint64_t> sessions_;  // by server
};

// Errors of writes whose file was closed since, for its next open. Thread-safe.
class LateErrors final {
 public:
  static constexpr size_t kCountMax = 4096;
  void Put(const Fid& fid, const Error& error);
  std::optional<Error> Take(const Fid& fid);
  bool any() const { return any_.load(std::memory_order_acquire); }

 private:
  std::atomic<bool> any_{false};
  std::mutex mutex_;  // guards errors_
  std::unordered_map<Fid, Error> errors_;
};

// True: all of `data` is held, and will be written.
async::Task<bool> Hold(State* state, std::shared_ptr<OpenFile> file, uint64_t handle,
                       uint64_t offset, ByteSpan data);
// Writes what is held of the file; returns when that has been answered, one way or the other.
async::Task<void> WriteHeld(State* state, std::shared_ptr<OpenFile> file);
inline bool HasHeld(const std::shared_ptr<OpenFile>& file) {
  return file && file->held()->any();
}

// For a write through: asks for a lock if one may help, and for space.
uint64_t AskForLock(State* state, OpenFile* file, const layout::Layout& layout, ObjectPlace place,
                    v1::OstWriteRequest* request);
// The session that this client has with the OST's server; 0: none, or it knows no locks.
uint64_t OstSession(State* state, uint32_t ost);
// In the background; what is not given back is called back when somebody wants it.
async::Task<void> SendCancel(State* state, uint32_t ost, v1::OstLockCancelRequest request);
// `lock`: of AskForLock. `reply` nullptr: the write failed.
void TakeLock(State* state, OpenFile* file, uint32_t ost, uint64_t lock,
              const v1::OstWriteReply* reply);
// The file is closed: its locks go back, in the background.
void ReleaseExtents(State* state, OpenFile* file);

}  // namespace sheen::client
