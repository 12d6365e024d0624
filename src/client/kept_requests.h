// KeptRequests: requests that the MDS has answered and may lose: what it has not committed when its
// machine loses power. They are sent again, in the order of their transnos, to a server that has
// restarted, before anything else is asked of it.
//
//   answered --Keep--> kept --Committed--> gone
//                       ^ |  the server restarts: ToReplay, Find, send again
//                       +-+  Repeated, under the number that the new boot gave; or Drop
//
// While it is repeated a request stays here, so that an unmount meanwhile sees it.
//
// A number says nothing of another boot's: what an earlier boot answered and nobody has replayed
// since is kept, whatever a later boot has committed.
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/transno.h"
#include "rpc/frame.h"

namespace sheen::client {

inline constexpr int kBootShift = kTransnoBootShift;

// Does what a target has committed cover this number? Of another boot's numbers it says nothing:
// what they stood for may have been repeated under later ones.
inline bool Covers(uint64_t committed, uint64_t transno) {
  return committed >= transno && BootOf(committed) == BootOf(transno);
}

struct KeptRequest {
  rpc::Opcode opcode = rpc::Opcode::kPing;
  uint32_t credential = 0;
  uint32_t slot = 0;
  uint64_t xid = 0;
  uint64_t transno = 0;
  uint64_t order = 0;  // the first transno that it got; 0: `transno`
  std::string body;
  std::string reply;  // what the server decided is in it
};

class KeptRequests final {
 public:
  // Above it somebody should ask for a commit.
  static constexpr uint64_t kBytesMax = 32 << 20;

  // Drops what `last_committed`, which came with the answer, covers.
  void Keep(KeptRequest request, uint64_t last_committed);
  // Up to there everything of the same boot survives power loss.
  void Committed(uint64_t transno);
  struct Key {
    uint64_t order = 0;
    uint64_t transno = 0;
    uint64_t xid = 0;
  };
  // What other boots than this have answered, in the order in which it was first executed, which a
  // replay that was cut short does not change.
  std::vector<Key> ToReplay(uint64_t boot) const;
  // Nothing: it was committed, or dropped.
  std::optional<KeptRequest> Find(const Key& key) const;
  // It was executed again, under that number.
  void Repeated(const Key& key, uint64_t transno);
  void Drop(const Key& key);
  void Clear();
  uint64_t bytes() const { return bytes_.load(std::memory_order_relaxed); }
  size_t size() const;

 private:
  using Requests = std::multimap<uint64_t, KeptRequest>;
  void CommittedLocked(uint64_t transno);
  Requests::const_iterator FindLocked(const Key& key) const;

  std::atomic<uint64_t> bytes_{0};
  mutable std::mutex mutex_;  // guards what follows
  Requests requests_;         // by transno
  uint64_t committed_ = 0;
};

// The body to replay: the request's, with what its answer decided.
std::string ReplayBody(const KeptRequest& request);

}  // namespace sheen::client
