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
  // Names the client in inodes (Inode::unsafe_session): unlike session ids it is not used again.
  uint64_t writer_id() const { return writer_id_; }

  std::optional<SlotMemo> Slot(uint32_t slot) const;
  void SetSlot(uint32_t slot, const SlotMemo& memo);
  std::vector<uint32_t> Slots() const;
  // The latch that a request in `slot` holds while it runs.
  Fid SlotLatch(uint32_t slot) const { return Fid{id_, slot, UINT32_MAX}; }

  std::atomic<bool> ended{false};
  std::atomic<bool> awaited{false};  // known from before a restart, not heard of since
  // Known from before this boot: it may declare handles again.
  std::atomic<bool> earlier_boot{false};

 private:
  const uint64_t id_;
  const uint64_t writer_id_;
  mutable std::mutex mutex_;  // guards slots_
  std::unordered_map<uint32_t, SlotMemo> slots_;
};

class SessionMap final {
 public:
  std::shared_ptr<ClientSession> Find(uint64_t id) const;
  std::shared_ptr<ClientSession> Insert(uint64_t id, const Uuid& client);
  void Erase(uint64_t id);
  size_t size() const;

 private:
  mutable std::shared_mutex mutex_;  // guards sessions_
  std::unordered_map<uint64_t, std::shared_ptr<ClientSession>> sessions_;
};

// The time after a restart in which open-unlinked files wait for clients to declare their handles.
// It ends when all known clients are back or at its deadline. Thread-safe.
class Recovery final {
 public:
  void Begin(const std::vector<uint64_t>& sessions, Nanos deadline);
  // The session made its first ordinary request, or ended.
  void Back(uint64_t session);
  bool Active(Nanos now);

 private:
  std::atomic<bool> active_{false};
  std::mutex mutex_;  // guards the rest
  std::unordered_set<uint64_t> awaited_;
  Nanos deadline_{0};
};

}  // namespace sheen::mds
