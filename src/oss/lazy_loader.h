// LazyLoader: brings blocks of objects from S3 when somebody needs them, each once however many
// ask, and the next ones of those who read in order.
//
//   reader --Load--> missing? --> flight of a block (one at a time) --> agent --> Target::Fill
//   reader ----------------------^ waits for it, and looks again
//
// A flight fetches a run of up to kRunBlocks blocks that lie side by side in the object and in S3.
// Read-ahead: from the second request on that goes on where one ended, kWindowMin blocks, twice as
// many with each step, up to kWindowMax. Who jumps gets none.
//
// Thread-safe; on the shards of the server.
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

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

  // The flights of the blocks, begun where there are none.
  std::vector<FlightPointer> Join(const Place& place, const ost::Target::Missing& missing,
                                  bool prefetch);
  // The blocks from `at` on that one request can bring. REQUIRES: mutex_.
  Run NextRun(const Place& place, const ost::Target::Missing& missing, size_t at) const;
  async::Task<void> Fly(Place place, ost::ObjectSource source, FlightPointer flight);
  async::Task<Status> FetchAndFill(Place place, const ost::ObjectSource* source,
                                   const Flight* flight);
  async::Task<void> ReadAhead(Place place, Range range);
  void NoteFailure(const std::string& key, const Error& error, int64_t wall_ns);

  BlockSource* source_ = nullptr;  // fixed after set-up
  std::atomic<bool> stopping_{false};
  std::atomic<uint64_t> running_{0};
  std::atomic<uint64_t> prefetches_{0};
  std::atomic<uint64_t> fetched_bytes_{0};
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<BlockKey, FlightPointer> flights_;
  std::map<ObjectKey, Stream> streams_;
  std::deque<Failure> failures_;
};

}  // namespace sheen::oss
