// ReplySlots: the last answer of each reply slot of each session, so that a change whose answer was
// lost is answered again and not executed again. What an earlier life of the server executed is
// known from the target (ost/answered.h), as far as it was committed; what was not is done anew:
// nobody else has changed these bytes since (uncommitted.h).
//
// Thread-safe; mutexes are leaves.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>

#include "rpc/server.h"

namespace sheen::oss {

class ReplySlots final {
 public:
  // Slots are the client's to number; this bounds what one may make the server keep.
  static constexpr uint32_t kSlotMax = 65535;

  struct Memo {
    uint64_t xid = 0;
    uint64_t transno = 0;
    std::string body;
  };
  struct Slot {
    uint32_t target = 0;
    uint32_t slot = 0;
    bool operator==(const Slot&) const = default;
  };

  void Set(uint64_t session, Slot slot, Memo memo) {
    Bucket& bucket = BucketOf(session);
    const std::scoped_lock lock(bucket.mutex);
    Memo& kept = bucket.sessions[session][slot];
    if (memo.xid >= kept.xid) kept = std::move(memo);
  }
  std::optional<Memo> Find(uint64_t session, Slot slot) const {
    const Bucket& bucket = buckets_[session % kBuckets];
    const std::scoped_lock lock(bucket.mutex);
    const auto slots = bucket.sessions.find(session);
    if (slots == bucket.sessions.end()) return std::nullopt;
    const auto found = slots->second.find(slot);
    if (found == slots->second.end()) return std::nullopt;
    return found->second;
  }
  void DropSession(uint64_t session) {
    Bucket& bucket = BucketOf(session);
    const std::scoped_lock lock(bucket.mutex);
    bucket.sessions.erase(session);
  }

 private:
  struct SlotHash {
    size_t operator()(const Slot& slot) const {
      return static_cast<size_t>(slot.target) << 16 ^ slot.slot;
    }
  };
  static constexpr size_t kBuckets = 16;
  struct Bucket {
    mutable std::mutex mutex;  // guards sessions
    std::unordered_map<uint64_t, std::unordered_map<Slot, Memo, SlotHash>> sessions;
  };
  Bucket& BucketOf(uint64_t session) { return buckets_[session % kBuckets]; }

  std::array<Bucket, kBuckets> buckets_;
};

}  // namespace sheen::oss
