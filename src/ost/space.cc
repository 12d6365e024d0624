#include "ost/space.h"

#include <fmt/core.h>

namespace sheen::ost {
namespace {

constexpr uint64_t kLimitReserveMax = 32 << 20;
constexpr uint64_t kDiskReserveMax = 64 << 20;
constexpr uint64_t kReserveFraction = 64;

}  // namespace

SpaceAccount::SpaceAccount(uint64_t limit_bytes)
    : limit_(limit_bytes), reserve_(std::min(limit_bytes / kReserveFraction, kLimitReserveMax)) {}

uint64_t SpaceAccount::DiskReserve(const io::DiskSpace& disk) {
  return std::min(disk.bytes_total / kReserveFraction, kDiskReserveMax);
}

uint64_t SpaceAccount::used() const {
  std::lock_guard lock(mutex_);
  return used_;
}

Status SpaceAccount::Reserve(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  return ReserveLocked(bytes);
}

Status SpaceAccount::ReserveLocked(uint64_t bytes) {
  if (bytes == 0) return {};
  if (limited()) {
    const uint64_t writable = limit_ - reserve_;
    const uint64_t taken = used_ + granted_;
    if (taken > writable || bytes > writable - taken) {
      return Fail(Errc::kNoSpace,
                  fmt::format("{} more bytes do not fit: {} of the target's {} are used, {} are "
                              "kept in reserve",
                              bytes, used_, limit_, reserve_));
    }
  }
  const uint64_t promised = reserved_since_disk_ + granted_;
  if (disk_known_ && (promised > disk_available_ || bytes > disk_available_ - promised)) {
    return Fail(Errc::kNoSpace,
                fmt::format("{} more bytes do not fit: the target's disk has {} left", bytes,
                            disk_available_ - std::min(disk_available_, promised)));
  }
  used_ += bytes;
  reserved_since_disk_ += bytes;
  return {};
}

uint64_t SpaceAccount::Left() const {
  std::lock_guard lock(mutex_);
  return LeftLocked();
}

uint64_t SpaceAccount::LeftLocked() const {
  uint64_t left = UINT64_MAX;
  if (limited()) {
    const uint64_t writable = limit_ - reserve_;
    left = writable - std::min(writable, used_ + granted_);
  }
  if (disk_known_) {
    const uint64_t promised = reserved_since_disk_ + granted_;
    left = std::min(left, disk_available_ - std::min(disk_available_, promised));
  }
  return left == UINT64_MAX ? 0 : left;
}

bool SpaceAccount::Grant(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  if (LeftLocked() < bytes) return false;
  granted_ += bytes;
  return true;
}

void SpaceAccount::AddGrant(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  granted_ += bytes;
}

void SpaceAccount::ReturnGrant(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  granted_ -= std::min(granted_, bytes);
}

Status SpaceAccount::ReserveGranted(uint64_t bytes, uint64_t granted) {
  std::lock_guard lock(mutex_);
  const uint64_t covered = std::min(bytes, granted);
  SHEEN_TRY(ReserveLocked(bytes - covered));
  granted_ -= std::min(granted_, granted);
  used_ += covered;
  reserved_since_disk_ += covered;
  return {};
}

void SpaceAccount::Charge(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  used_ += bytes;
}

void SpaceAccount::Uncharge(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  used_ -= std::min(used_, bytes);
}

void SpaceAccount::Unreserve(uint64_t bytes) {
  std::lock_guard lock(mutex_);
  used_ -= std::min(used_, bytes);
  reserved_since_disk_ -= std::min(reserved_since_disk_, bytes);
}

void SpaceAccount::SetDisk(const io::DiskSpace& disk) {
  const uint64_t reserve = DiskReserve(disk);
  std::lock_guard lock(mutex_);
  disk_known_ = true;
  disk_available_ = disk.bytes_free - std::min(disk.bytes_free, reserve);
  reserved_since_disk_ = 0;
}

}  // namespace sheen::ost
