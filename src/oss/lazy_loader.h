// LazyLoader: brings blocks of objects from S3 when somebody needs them, each once however many
// ask, and the next ones of those who read in order.
//
//   reader --Load--> missing? --> flight of a block (one at a time) --> agent --> Target::Fill
//   reader ----------------------^ waits for it, and looks again
//
// A flight fetches a run of up to kRunBlocks blocks that lie side by side in the object and in S3.
// Read-ahead: from the second request on that goes on where one ended, kWindowMin blocks, twice as
// many with each step, up to kWindowMax. Who jumps gets none.
// Whole objects (Restore): kRestoreBlocks at a time on this server, behind all else at the agent.
// What somebody reads has no such bound, and makes a demand of the flight that it meets.
//
// Thread-safe; on the shards of the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "async/sync.h"
#include "async/task.h"
#include "oss/block_source.h"
#include "oss/object_locks.h"
#include "ost/target.h"

namespace sheen::oss {

class LazyLoader final {
 public:
  static constexpr uint64_t kRunBlocks = 4;
  static constexpr uint64_t kWindowMin = 4;
  static constexpr uint64_t kWindowMax = 32;
  static constexpr uint64_t kPrefetchFlightsMax = 48;
  static constexpr uint64_t kRestoreBlocks = 64;
  static constexpr size_t kRestoreFlightsPerObject = 4;

  // An object, where it is.
  struct Place {
    ost::Target* target = nullptr;
    io::FileIo* io = nullptr;
    ObjectKey key;
  };
  struct Range {
    uint64_t offset = 0;
    uint64_t length = 0;
  };
  // A fetch that failed for good, for the status.
  struct Failure {
    std::string object;  // key in S3
    std::string reason;
    int64_t wall_ns = 0;
  };

  ~LazyLoader();
  // Before the first request. Null: what is absent cannot be had.
  void SetSource(BlockSource* source) { source_ = source; }

  // Returns when nothing is missing for a read, or a change, of the range. Errors: kIo with the
  // reason; kNoSpace; kUnavailable (the server stops).
  async::Task<Status> Load(Place place, Range range, bool change);
  // S3 has the object as it was imported, if any block of it could be dropped: asked for one byte.
  // Errors: kPerm (it has not, and why), kIo (it cannot be asked).
  async::Task<Status> CheckSource(Place place);
  struct RestoreLimits {
    uint64_t bytes = UINT64_MAX;
    Nanos until = Nanos::max();
  };
  struct Restored {
    uint64_t bytes = 0;
    bool complete = false;  // nothing is absent any more
  };
  // Brings what is absent of the object, until a limit is reached; goes on for a little while, so
  // that the next call finds more (lazy_restore.cc). All calls on one shard.
  // Errors: as Load; kUnavailable where Load has patience no more.
  async::Task<Result<Restored>> Restore(Place place, RestoreLimits limits);
  // Bytes a second of all restores together; 0: no limit. Any thread.
  void SetRestoreRate(uint64_t bytes_per_second) { restore_rate_.store(bytes_per_second); }
  uint64_t restore_rate() const { return restore_rate_.load(); }
  // A read of the range has come: what follows it may be wanted soon.
  void NoteRead(const Place& place, Range range);
  std::vector<Failure> Failures() const;
  uint64_t fetched_bytes() const { return fetched_bytes_.load(std::memory_order_relaxed); }

  // What waits is refused from now on; any thread.
  void BeginStop() { stopping_.store(true); }
  // Returns when no flight is under way.
  async::Task<void> Stop();

 private:
  struct Flight;
  struct RestoreJob;
  using FlightPointer = std::shared_ptr<Flight>;
  using BlockKey = std::pair<ObjectKey, uint64_t>;
  struct Stream {
    uint64_t next = 0;    // offset at which the last request ended
    uint64_t hits = 0;    // requests in order
    uint64_t ahead = 0;   // block up to which was asked for
    uint64_t window = 0;  // blocks
  };
  struct Run {
    uint64_t first = 0;
    uint64_t count = 0;
  };

  struct Joined {
    FlightPointer flight;
    bool begun = false;  // by this call
  };
  // The flights of the blocks, begun where there are none.
  // A demand hastens those that it meets.
  std::vector<Joined> Join(const Place& place, const ost::Target::Missing& missing,
                           Urgency urgency);
  void Hasten(const FlightPointer& flight);
  // Waits for them. nullopt: none has failed in a way that is the caller's too; it looks again.
  async::Task<std::optional<Error>> AwaitAll(const std::vector<Joined>* joined, bool change);
  // The blocks from `at` on that one request can bring. REQUIRES: mutex_.
  Run NextRun(const Place& place, const ost::Target::Missing& missing, size_t at) const;
  async::Task<void> Fly(Place place, ost::ObjectSource source, FlightPointer flight);
  async::Task<Status> FetchAndFill(Place place, const ost::ObjectSource* source,
                                   const Flight* flight);
  async::Task<void> ReadAhead(Place place, Range range);
  enum class Begun : uint8_t { kYes, kFull, kNothingLeft };
  // The next run of a restore. kFull: others have the room, and one of its own is to end first.
  async::Task<Result<Begun>> BeginRestoreRun(RestoreJob* job);
  async::Task<Status> EndRestoreRun(RestoreJob* job);
  async::Task<Status> BringAll(RestoreJob* job);
  async::Task<void> RunRestore(std::shared_ptr<RestoreJob> job);
  async::Task<bool> Pace(const RestoreJob* job, uint64_t blocks, uint64_t bytes);
  // Beside demands so many blocks more would be too many.
  bool Crowded(uint64_t blocks) const;
  bool DemandsGoOn() const;
  void NoteFailure(const std::string& key, const Error& error, int64_t wall_ns);

  BlockSource* source_ = nullptr;  // fixed after set-up
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> running_{0};
  std::atomic<uint64_t> prefetches_{0};
  std::atomic<uint64_t> fetched_bytes_{0};
  std::atomic<uint64_t> restore_rate_{0};
  std::atomic<int64_t> demand_ns_{0};  // when somebody had to wait last, or did so no more
  std::atomic<uint64_t> demands_{0};   // who waits now
  async::Semaphore restore_blocks_{kRestoreBlocks};  // of the restores' shard, as the next
  std::map<ObjectKey, std::shared_ptr<RestoreJob>> restores_;
  uint64_t restore_waiters_ = 0;
  uint64_t restore_flying_ = 0;  // blocks of runs that have begun
  Nanos restore_next_{0};
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<BlockKey, FlightPointer> flights_;
  std::map<ObjectKey, Stream> streams_;
  std::deque<Failure> failures_;
  uint64_t flights_begun_ = 0;
};

}  // namespace sheen::oss
