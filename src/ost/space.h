// SpaceAccount: may a target still take these bytes? It counts what its objects hold against the
// target's own limit, and what was written since the disk was last asked against the disk's space.
//
//   0 ........ used ............. limit - reserve ... limit
//              |---- writes may ----|---- reserve ----|
//
// The reserve keeps truncate, unlink and the index working on a full target. Thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <string>

#include "io/file_io.h"
#include "sheen/result.h"

namespace sheen::ost {

inline constexpr uint64_t kAllocationUnit = 4096;  // blocks of the file systems below

constexpr uint64_t RoundUp(uint64_t bytes) {
  return (bytes + kAllocationUnit - 1) / kAllocationUnit * kAllocationUnit;
}
constexpr uint64_t RoundDown(uint64_t bytes) { return bytes / kAllocationUnit * kAllocationUnit; }

class SpaceAccount final {
 public:
  // `limit_bytes` 0: no limit but the disk's.
  explicit SpaceAccount(uint64_t limit_bytes);

  bool limited() const { return limit_ != 0; }
  uint64_t limit() const { return limit_; }
  // Part of the limit that writes may not use: 1/64, at most 32 MiB.
  uint64_t reserve() const { return reserve_; }
  uint64_t used() const;

  // Counts `bytes` as used. Errors: kNoSpace, with what is left, nothing counted.
  Status Reserve(uint64_t bytes);
  // What was reserved and not used, or not written.
  void Unreserve(uint64_t bytes);
  // Counts without asking: what is on the disk already, or no longer.
  void Charge(uint64_t bytes);
  void Uncharge(uint64_t bytes);
  // Space set aside for data that clients hold back. False: not so much is left.
  bool Grant(uint64_t bytes);
  void AddGrant(uint64_t bytes);  // without asking
  void ReturnGrant(uint64_t bytes);
  // As Reserve, with `granted` bytes that were set aside for it: used up, unless it fails.
  Status ReserveGranted(uint64_t bytes, uint64_t granted);
  // What Reserve would still take.
  uint64_t Left() const;
  // What the disk says now.
  void SetDisk(const io::DiskSpace& disk);
  // Part of the disk's free space that writes may not use: 1/64 of it, at most 64 MiB.
  static uint64_t DiskReserve(const io::DiskSpace& disk);

 private:
  Status ReserveLocked(uint64_t bytes);
  uint64_t LeftLocked() const;

  const uint64_t limit_;
  const uint64_t reserve_;
  mutable std::mutex mutex_;  // guards what follows
  uint64_t used_ = 0;
  bool disk_known_ = false;
  uint64_t disk_available_ = 0;       // free minus reserve, when last asked
  uint64_t reserved_since_disk_ = 0;  // by writes since then
  uint64_t granted_ = 0;              // set aside and not written yet
};

}  // namespace sheen::ost
