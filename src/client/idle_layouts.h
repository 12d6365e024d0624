// IdleLayouts: locks on layouts that the MDS keeps for a connection of this mount although no close
// will tell it to let go of them: those of files that were opened here without the MDS
// (local_opens.cc) and are closed again, those for which another connection has one now, and those
// that came when they could not be taken. They are given back, many with one request. Whatever is
// open under such a lock by then loses it, as in a callback.
//
// Thread-safe. The mutexes are leaves, and no two are held together.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <unordered_set>
#include <vector>

#include "client/lock_cache.h"
#include "fid/fid.h"

namespace sheen::client {

class OpenFile;
class State;

class IdleLayouts final {
 public:
  static constexpr size_t kBatch = 256;
  static constexpr size_t kShardsMax = 256;

  // Came by that shard's connection. True: there is a batch, which nobody is giving back yet: do.
  bool Add(uint32_t shard, const Fid& fid);
  // That shard's connection was granted the file's lock again. False: the one before is on its way
  // back, and would take this one with it.
  bool Reclaim(uint32_t shard, const Fid& fid);
  // Sent must follow, when the server has answered or the connection has ended.
  std::vector<Fid> Take(uint32_t shard);
  // True: there is another batch.
  bool Sent(uint32_t shard);
  size_t size() const { return count_.load(std::memory_order_relaxed); }

 private:
  struct Shard {
    std::mutex mutex;  // guards the rest
    std::unordered_set<Fid> queued;
    std::unordered_set<Fid> going;
    bool busy = false;
  };

  std::atomic<size_t> count_{0};  // queued and going
  std::array<Shard, kShardsMax> shards_;
};

// A lock on the layout of `fid` that nobody here goes by, and that the MDS may still keep.
void GiveLayoutBack(State* state, const LockOrigin& origin, const Fid& fid);
// The file was closed; the MDS does not hear of it.
void GiveIdleLayoutBack(State* state, OpenFile* file);

}  // namespace sheen::client
