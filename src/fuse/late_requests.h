// Requests whose callers were killed and have their answer, EINTR, while the request itself goes on
// until a server has answered it: it may still change things.
//
// Nobody of this mount may overtake it. The kernel has given the inode's lock back, so a write to
// the same bytes could come now, be answered, and have the older bytes land on it. So what changes
// an inode waits while one of these is about it, and so do closing and unlocking.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

#include "base/bytes.h"
#include "base/clock.h"

namespace sheen::fuse {

// What a request is about, from its message.
struct Subject {
  std::array<uint64_t, 2> nodes{};  // 0: none; the second of RENAME and LINK
  // In nodes[0], and in nodes[1]; empty: no name is given or taken away.
  std::array<std::string, 2> names;
};
Subject SubjectOf(uint32_t opcode, ByteSpan message);

// What a request is to do while late ones are about the same inode.
enum class Overtaking : uint8_t {
  kAllowed,   // it changes nothing
  kWaits,     // for those that change something: its caller waits with it
  kDeferred,  // FLUSH, RELEASE: answered at once, the effect waits for all of them; so a process
              // that ends never hangs, and a handle is closed after its last use
};
Overtaking OvertakingOf(uint32_t opcode, ByteSpan message);
// Whether an abandoned request of this kind is one: all but questions for a file lock. (Who asks
// for the lock itself is interrupted, not abandoned.)
bool IsFollowed(uint32_t opcode);

// Of one mount. Thread-safe.
class LateRequests final {
 public:
  // Cheap.
  bool Any() const { return count_.load(std::memory_order_acquire) != 0; }
  void Begin(const Subject& subject, bool changes);
  void End(const Subject& subject, bool changes);
  // Whether a request about `subject` has to wait.
  bool Hold(const Subject& subject, Overtaking rule) const;
  // A caller was killed. Those behind it in the kernel, killed with it maybe, come one after the
  // other now.
  void NoteKill(Nanos now) { last_kill_.store(now, std::memory_order_relaxed); }
  bool KilledLately(Nanos now) const {
    return now < last_kill_.load(std::memory_order_relaxed) + kKillsFollow;
  }

 private:
  struct Count {
    uint32_t all = 0;
    uint32_t changing = 0;
  };
  static constexpr Nanos kKillsFollow = std::chrono::seconds(1);

  std::atomic<uint64_t> count_{0};
  std::atomic<Nanos> last_kill_{-kKillsFollow};
  mutable std::mutex mutex_;  // guards nodes_
  std::unordered_map<uint64_t, Count> nodes_;
};

}  // namespace sheen::fuse
