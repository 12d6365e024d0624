// SessionMap: what the MDS keeps of each client besides its open handles: the last request executed
// in each reply slot (the whole reply is in the store), and who has not come back after a restart.
//
// Thread-safe. A slot's memo is read and changed only under the slot's latch.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "fid/fid.h"

namespace sheen::rpc {
class Session;
}

namespace sheen::mds {

struct SlotMemo {
  uint64_t xid = 0;
  uint64_t transno = 0;
};

class ClientSession final {
 public:
  // Reply slots are the client's to number; this bounds what one may make the server keep.
  static constexpr uint32_t kSlotMax = 65535;

  ClientSession(uint64_t id, const Uuid& client);
  uint64_t id() const { return id_; }
  const Uuid& client() const { return client_; }
  // Names the client in inodes (Inode::unsafe_session): unlike session ids it is not used again.
  uint64_t writer_id() const { return writer_id_; }

  std::optional<SlotMemo> Slot(uint32_t slot) const;
  void SetSlot(uint32_t slot, const SlotMemo& memo);
  std::vector<uint32_t> Slots() const;
  // The latch that a request in `slot` holds while it runs.
  Fid SlotLatch(uint32_t slot) const { return Fid{id_, slot, UINT32_MAX}; }

  std::atomic<bool> ended{false};
  std::atomic<bool> evicted{false};  // by the server (eviction.h); ended too
  // Known from before a restart, and it has not made an ordinary request since.
  std::atomic<bool> awaited{false};
  // Known from before this boot: it may declare handles again.
  std::atomic<bool> earlier_boot{false};
  // Of the last request that gave the recovery more time (coming_back.cc).
  std::atomic<uint64_t> extended_xid{0};

  // Has an awaited session shown a sign of life since the restart? A request, or a connection of
  // `connections`, which the server's session table keeps.
  bool Heard() const;
  void NoteHeard() { heard_.store(true, std::memory_order_relaxed); }
  // Before the first request.
  void SetConnections(std::shared_ptr<const rpc::Session> connections);

 private:
  const uint64_t id_;
  const Uuid client_;
  const uint64_t writer_id_;
  std::atomic<bool> heard_{false};
  std::shared_ptr<const rpc::Session> connections_;
  mutable std::mutex mutex_;  // guards slots_
  std::unordered_map<uint32_t, SlotMemo> slots_;
};

class SessionMap final {
 public:
  std::shared_ptr<ClientSession> Find(uint64_t id) const;
  std::shared_ptr<ClientSession> Insert(uint64_t id, const Uuid& client);
  void Erase(uint64_t id);
  std::vector<std::shared_ptr<ClientSession>> All() const;
  size_t size() const;

 private:
  mutable std::shared_mutex mutex_;  // guards sessions_
  std::unordered_map<uint64_t, std::shared_ptr<ClientSession>> sessions_;
};

// What is not known after a restart: who has what open. Clients that were known come back and
// declare their handles; the time for that ends when all are back or at a deadline.
//
// A client that is coming back moves the deadline, but never beyond kLongest after the start: then
// the others go on, and who was still at it is to be evicted, since what it would repeat after that
// might undo theirs.
//
// Two kinds may have files open for longer: clients that were silent until the deadline, and those
// whose eviction an earlier boot began. Nothing that they may have had open is destroyed before
// every OSS refuses them. Thread-safe.
class Recovery final {
 public:
  // `idle`: they had gone before the restart, and nobody waits for them; but they may have files
  // open.
  struct Known {
    std::vector<std::shared_ptr<ClientSession>> awaited;
    std::vector<std::shared_ptr<ClientSession>> idle;
    std::vector<uint64_t> evicted;
  };
  static constexpr Nanos kLongest = std::chrono::minutes(5);

  void Begin(const Known& known, Nanos now, Nanos wait);
  // A client is coming back: nobody is late before `until`.
  void Extend(Nanos until);
  // The session made its first ordinary request, or ended.
  void Back(uint64_t session);
  // The time for coming back is not over.
  bool Active(Nanos now);
  // Files may be open that nobody has declared.
  bool HandlesUnknown(Nanos now) {
    return Active(now) || others_.load(std::memory_order_acquire);
  }
  // After the deadline: those who have not shown a sign of life since the restart.
  std::vector<uint64_t> Silent();
  // Once each: those who were still coming back when kLongest was over.
  std::vector<uint64_t> TakeOverdue();

 private:
  void EndLocked();
  void CountLocked() { others_.store(!silent_.empty() || !evicted_.empty()); }

  std::atomic<bool> active_{false};
  std::atomic<bool> others_{false};  // silent_ or evicted_ has some
  std::mutex mutex_;                 // guards the rest
  std::unordered_map<uint64_t, std::shared_ptr<ClientSession>> awaited_;
  std::unordered_map<uint64_t, std::shared_ptr<ClientSession>> silent_;
  std::unordered_set<uint64_t> evicted_;
  std::vector<uint64_t> overdue_;
  Nanos deadline_{0};
  Nanos last_deadline_{0};
};

}  // namespace sheen::mds
