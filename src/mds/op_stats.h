// What the MDS did: how often, how long each operation took from its request's arrival in the
// service to its answer, and what operations waited on.
//
// Thread-safe.
#pragma once

#include <array>
#include <string>

#include "base/clock.h"
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
};
inline constexpr size_t kWaitKinds = 6;

struct WaitTimes {
  std::array<Nanos, kWaitKinds> took{};
  Fid fid;  // of the latest latch or lock

  void Add(Wait kind, Nanos time) { took[static_cast<size_t>(kind)] += time; }
};

class OpStats final {
 public:
  OpStats();
  // An operation has ended; one that took long is logged with what it waited on.
  void Note(const rpc::FrameHeader& header, std::string_view body, const rpc::Session* session,
            const WaitTimes& waits, Nanos took, const Status& status);
  const TallyTable& operations() const { return operations_; }
  const TallyTable& waits() const { return waits_; }
  void Clear(int64_t now_ns);

  Counter lock_callbacks;  // asked of clients

 private:
  TallyTable operations_;
  TallyTable waits_;
};

}  // namespace sheen::mds
