// HeldWrites: bytes of one open file that were accepted and not sent yet, and the write locks on
// its objects under which that is allowed (write-behind).
//
//   Take      part of a write that a lock covers is copied into a chunk: the write is answered
//   chunk     one object's bytes in one aligned window of the file (kChunkBytes, where bytes may be
//             in S3 kAbsentChunkBytes); open, then being written; then gone. A full one is written
//             at once, others within kAgeMax, or when somebody needs it: fsync, close, anything
//             that reads or asks, the OSS's callback
//   lock      asked -> held -> ending (called back: nothing new, what is held is written) -> gone
//
// What is held is in the space that the OSTs have granted (GrantPool), so it fits.
// A write that fails leaves its error for the next fsync, close or open; until somebody has heard
// of it nothing more is held.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <coroutine>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "client/shared_waiters.h"
#include "fid/fid.h"
#include "layout/layout.h"
#include "lock/extent.h"
#include "sheen/result.h"

namespace sheen::client {

// Space that the OSTs have granted to this client. Thread-safe.
class GrantPool final {
 public:
  // Below the first more is asked for, up to the second.
  static constexpr uint64_t kLow = 16 << 20;
  static constexpr uint64_t kHigh = 48 << 20;

  // Not `counted`: as much as anybody wants is there, none is asked for; a server may be full.
  explicit GrantPool(bool counted = true) : counted_(counted) {}

  // All or nothing.
  bool Take(uint32_t ost, uint64_t bytes);
  uint64_t TakeUpTo(uint32_t ost, uint64_t bytes);
  void Add(uint32_t ost, uint64_t bytes);
  uint64_t Have(uint32_t ost) const;
  uint64_t Wanted(uint32_t ost) const;
  void Drop(uint32_t ost);  // the server has forgotten it

 private:
  const bool counted_;
  mutable std::mutex mutex_;  // guards bytes_
  std::map<uint32_t, uint64_t> bytes_;
};

// How many bytes of all files are held. Thread-safe.
struct HeldBudget {
  static constexpr uint64_t kBytesMax = 64 << 20;
  std::atomic<uint64_t> bytes{0};
};

// A part of a write inside one object and one window of the file.
struct HeldPart {
  uint64_t file_offset = 0;
  uint64_t object_offset = 0;
  ByteSpan bytes;
  uint32_t component = 0;
  uint32_t stripe = 0;
  uint32_t ost = 0;
  uint64_t window = 0;       // bytes
  bool ends_stripe = false;  // the next byte is in another object
  // That the part was cut by: a file may get another one, whose objects have other births.
  std::shared_ptr<const layout::Layout> layout;
  uint64_t birth = 0;
};

struct HeldChunk {
  uint64_t file_offset = 0;
  uint64_t object_offset = 0;
  uint64_t window = 0;                // bytes
  std::unique_ptr<std::byte[]> data;  // to the window's end
  uint64_t size = 0;
  uint32_t component = 0;
  uint32_t stripe = 0;
  uint32_t ost = 0;
  uint64_t lock = 0;
  uint64_t session = 0;  // of the lock
  uint64_t handle = 0;
  uint64_t granted_bytes = 0;
  std::shared_ptr<const layout::Layout> layout;  // as HeldPart
  uint64_t birth = 0;
  uint64_t sequence = 0;
  Nanos since{0};
  bool writing = false;  // fixed from then on

  uint64_t end() const { return file_offset + size; }
  ByteSpan bytes() const { return {data.get(), size}; }
};
using HeldChunkPtr = std::shared_ptr<HeldChunk>;

// A write lock on an object.
struct ExtentLock {
  enum class State : uint8_t { kAsked, kHeld, kEnding };
  uint64_t id = 0;
  uint64_t session = 0;  // of the server, in which it was given
  uint32_t ost = 0;
  uint32_t component = 0;
  uint32_t stripe = 0;
  layout::ObjectId object;
  lock::Extent extent;
  State state = State::kAsked;
};

class HeldWrites final {
 public:
  static constexpr uint64_t kChunkBytes = 512 << 10;
  // What is overwritten whole is not fetched from S3 before: a block of residency at a time.
  static constexpr uint64_t kAbsentChunkBytes = 1 << 20;
  static constexpr Nanos kAgeMax = std::chrono::seconds(1);
  static constexpr uint64_t kFileBytesMax = 16 << 20;
  static constexpr size_t kChunksMax = 512;
  // After others wanted a lock none is asked for, for so long.
  static constexpr Nanos kContended = std::chrono::seconds(1);

  enum class Offer : uint8_t {
    kTaken,
    kPass,  // write it through, after Flush
    kWait,  // await Progress (or Flush), then offer again
  };
  // All parts or none. What has become full is added to `full`, to be written now.
  Offer Take(const std::vector<HeldPart>& parts, uint64_t handle, Nanos now, GrantPool* grants,
             HeldBudget* budget, std::vector<HeldChunkPtr>* full);
  // False: from now on nothing is taken. The layout is known under a lock, or was.
  void Allow(bool allowed);
  // Anything held or being written? Cheap.
  bool any() const { return any_.load(std::memory_order_acquire); }

  // ---- writing back ----
  // Chunks that wait, those since `before`, marked as being written.
  std::vector<HeldChunkPtr> Begin(Nanos before);
  void End(const HeldChunkPtr& chunk, const Status& written, HeldBudget* budget);
  uint64_t last_sequence() const;
  // Chunks taken up to then that are not written yet: suspends until something has ended, else
  // goes on at once. `while (held->HasUpTo(n)) co_await held->Progress();`
  bool HasUpTo(uint64_t sequence) const;
  bool HasUnder(uint64_t lock_id) const;
  auto Progress() {
    struct Awaiter {
      HeldWrites* held;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) { return held->AddWaiter(caller); }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }
  // True once, until StopAging: somebody has to look after the chunks' age.
  bool StartAging();
  bool StopAging();  // false: there are chunks
  // Something that had been written is lost after all.
  void SetError(const Error& error);
  // The error of a write, told once.
  std::optional<Error> TakeError();
  std::optional<Error> PeekError() const;

  // ---- locks ----
  // A call is written through: locks are asked for from the second on.
  void NoteWriteThrough();
  // Registers a lock that a write through asks for; false: none should be asked for now.
  bool BeginAsk(const ExtentLock& lock, Nanos now);
  // The answer: granted, or not. False: called back meanwhile, or refused: there is no lock.
  bool EndAsk(uint64_t id, const std::optional<lock::Extent>& granted, Nanos now);
  enum class Called : uint8_t { kGone, kFlush };
  // kFlush: write what is held, then EndLock.
  Called Callback(uint64_t id, Nanos now);
  void EndLock(uint64_t id);
  // The OSS has taken it away: what is held under it is lost.
  // Space of it goes back to `grants`, if given. Returns what is lost, without the chunks that are
  // being written: the OSS refuses them.
  std::vector<HeldChunkPtr> LoseLock(uint64_t id, const Error& why, HeldBudget* budget,
                                     GrantPool* grants);
  std::vector<ExtentLock> locks() const;
  bool HasLocks() const;
  uint64_t SessionOf(uint64_t id) const;  // 0: no such lock
  // Takes out those that are held and not wanted by anybody. REQUIRES: nothing is held.
  std::vector<ExtentLock> ReleaseAll();
  // Space that is used up by what waits, by OST.
  std::map<uint32_t, uint64_t> GrantedBytes() const;

 private:
  bool AddWaiter(std::coroutine_handle<> caller);
  ExtentLock* FindLockLocked(uint32_t component, uint32_t stripe, uint64_t birth);
  const HeldChunk* OverlapLocked(uint64_t begin, uint64_t end) const;
  bool AllowedLocked(const HeldPart& part);
  void PutLocked(const HeldPart& part, uint64_t handle, Nanos now);
  void EraseLocked(const HeldChunkPtr& chunk, HeldBudget* budget);

  std::atomic<bool> any_{false};
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint64_t, HeldChunkPtr> chunks_;  // by file offset; they do not overlap
  std::vector<ExtentLock> locks_;
  uint64_t bytes_ = 0;
  uint64_t sequence_ = 0;
  uint64_t writing_count_ = 0;
  uint64_t through_count_ = 0;  // calls written through
  bool aging_ = false;
  bool allowed_ = true;
  Nanos quiet_until_{0};
  std::optional<Error> error_;
  SharedWaiters waiters_;
};

}  // namespace sheen::client
