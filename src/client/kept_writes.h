// KeptWrites: changes of objects that an OSS has answered and may lose, with their bytes: what it
// has not committed when its machine loses power. They are repeated, in order, to a server that has
// restarted, before anything else goes there (replay.cc).
//
// The bytes of a chunk that was held back are kept as they are; those of a write through are
// copied, since they are the caller's.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "rpc/frame.h"

namespace sheen::client {

struct KeptWrite {
  rpc::Opcode opcode = rpc::Opcode::kOstWrite;
  uint32_t ost = 0;
  uint64_t boot = 0;     // of the server that answered
  uint64_t transno = 0;  // of the target's boot
  uint64_t order = 0;    // the first transno that it got; 0: `transno`
  uint64_t xid = 0;      // of the request, and its slot: a replay is the same request
  uint32_t slot = 0;
  Nanos since{0};
  std::string body;
  std::string reply;                  // the times that were decided are in it
  std::shared_ptr<const void> owner;  // of `bytes`
  ByteSpan bytes;

  uint64_t Cost() const;  // memory, about
};

class KeptWrites final {
 public:
  // Also drops what `last_committed`, which came with the answer, covers.
  void Keep(KeptWrite write, uint64_t last_committed);
  // Of that target's boot everything up to there survives power loss.
  void Committed(uint32_t ost, uint64_t last_committed);
  // All of these targets, in the order in which they were first answered. Whoever takes them keeps
  // them again, or not.
  std::vector<KeptWrite> Take(const std::set<uint32_t>& osts);
  // They have been repeated, or kept again.
  void EndReplay(const std::set<uint32_t>& osts);
  // There are some that this boot of the server may not have: a sync that it has answered does not
  // speak for them.
  bool AwaitReplay(uint32_t ost, uint64_t boot) const;
  // What all of them cost, and those of one target.
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  uint64_t BytesOf(uint32_t ost) const;
  bool empty() const { return count_.load(std::memory_order_relaxed) == 0; }
  // Targets that have kept writes from before `before`.
  std::set<uint32_t> OlderThan(Nanos before) const;
  // True once, until StopWatching: somebody has to have what grows old committed.
  bool StartWatching();
  bool StopWatching();  // false: there are some

  // A copy of bytes, in memory that is used again.
  std::shared_ptr<const void> Copy(ByteSpan bytes, ByteSpan* copy);

 private:
  // What one target has; by transno. Numbers of later boots are higher.
  struct Target {
    std::multimap<uint64_t, KeptWrite> writes;
    uint64_t bytes = 0;
  };
  struct Pool;
  void CommittedLocked(Target* target, uint64_t last_committed);

  const std::shared_ptr<Pool> pool_ = MakePool();
  static std::shared_ptr<Pool> MakePool();
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> count_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint32_t, Target> targets_;
  std::multiset<uint32_t> replaying_;  // Take to EndReplay
  bool watching_ = false;
};

// The request to repeat: as it was, without what it asked for beside its change.
std::string ReplayBody(const KeptWrite& write);

}  // namespace sheen::client
