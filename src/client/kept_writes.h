// KeptWrites: changes of objects that an OSS has answered and may lose, with their bytes: what it
// has not committed when its machine loses power. They are repeated, in order, to a server that has
// restarted, before anything else goes there (replay.cc).
//
//   answered --Keep--> kept --Committed--> gone
//                       ^ |  the server restarts: ToReplay, Find, send again
//                       +-+  Repeated, under the number that the new boot gave; or Drop
//
// While it is repeated a write stays here, so that whoever syncs or unmounts meanwhile sees it.
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
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "fid/fid.h"
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
  Fid file;              // whose bytes; its objects may have another's name
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
  struct Key {
    uint32_t ost = 0;
    uint64_t order = 0;
    uint64_t transno = 0;
    uint64_t xid = 0;
  };
  // What other boots than this have answered of these targets, of each in the order in which it was
  // first answered.
  std::vector<Key> ToReplay(const std::set<uint32_t>& osts, uint64_t boot) const;
  // Nothing: it was committed, or dropped.
  std::optional<KeptWrite> Find(const Key& key) const;
  // That boot has answered it now. `transno` 0: there is nothing that it could lose.
  void Repeated(const Key& key, uint64_t boot, uint64_t transno);
  void Drop(const Key& key);
  // All of that target: it cannot commit them.
  void DropAll(uint32_t ost);
  // There are some that this boot of the server may not have: a sync that it has answered does not
  // speak for them.
  bool AwaitReplay(uint32_t ost, uint64_t boot) const;
  // Bytes by target and file.
  std::map<uint32_t, std::map<Fid, uint64_t>> Files() const;
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
  // By transno. Numbers of later boots are higher.
  using Writes = std::multimap<uint64_t, KeptWrite>;
  struct Target {
    Writes writes;
    uint64_t bytes = 0;
  };
  struct Pool;
  void CommittedLocked(Target* target, uint64_t last_committed);
  void PutLocked(Target* target, KeptWrite write);
  // Gives what follows.
  Writes::iterator EraseLocked(Target* target, Writes::const_iterator at);
  static Writes::const_iterator FindLocked(const Writes& writes, const Key& key);

  const std::shared_ptr<Pool> pool_ = MakePool();
  static std::shared_ptr<Pool> MakePool();
  std::atomic<uint64_t> bytes_{0};
  std::atomic<uint64_t> count_{0};
  mutable std::mutex mutex_;  // guards what follows
  std::map<uint32_t, Target> targets_;
  bool watching_ = false;
};

// How many bytes of which files, for people; of one target or of all.
std::string KeptFilesText(const KeptWrites& kept, std::optional<uint32_t> only);
// The request to repeat: as it was, without what it asked for beside its change.
std::string ReplayBody(const KeptWrite& write);

}  // namespace sheen::client
