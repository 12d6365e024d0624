// What the MDS did: how often, how long each operation took from its request's arrival in the
// service to its answer, and what operations waited on.
//
// Thread-safe.
#pragma once

#include <array>
#include <string>

#include "base/clock.h"
#include "base/origin_stats.h"
#include "base/stats.h"
#include "fid/fid.h"
#include "rpc/server.h"

namespace sheen::mds {

// What one operation waited on.
enum class Wait : uint8_t {
  kLatch,    // another operation on the same inode
  kLock,     // clients that hold locks
  kStore,    // the store, on the blocking pool
  kClients,  // known clients that are still to come back after a restart
  kOsts,     // OSTs that have not reported yet
  kCommit,   // the log's sync
  kS3,       // S3, for owner and mode of what was imported
};
inline constexpr size_t kWaitKinds = 7;

struct WaitTimes {
  std::array<Nanos, kWaitKinds> took{};
  Fid fid;  // of the latest latch or lock

  void Add(Wait kind, Nanos time) { took[static_cast<size_t>(kind)] += time; }
};

class OpStats final {
 public:
  OpStats();
  // An operation has ended; one that took long is logged with what it waited on.
  // `now_ns`: wall clock.
  void Note(const rpc::FrameHeader& header, std::string_view body, const rpc::Session* session,
            const WaitTimes& waits, Nanos took, const Status& status, int64_t now_ns);
  const TallyTable& operations() const { return operations_; }
  const TallyTable& waits() const { return waits_; }
  // Of the operations, by job id and by the number of the user that asked.
  OriginStats& jobs() { return jobs_; }
  OriginStats& users() { return users_; }
  const OriginStats& jobs() const { return jobs_; }
  const OriginStats& users() const { return users_; }
  void Clear(int64_t now_ns);

  Counter lock_callbacks;  // asked of clients

 private:
  TallyTable operations_;
  TallyTable waits_;
  OriginStats jobs_;
  OriginStats users_;
};

}  // namespace sheen::mds
