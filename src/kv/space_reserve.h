// How much of a disk a store must find free, so that what it has accepted can always be written.
// RocksDB does not bear a full disk: a table or a log that cannot be written stops the store.
//
//   0 ................................... available bytes ...................................
//   |-- CompactionFloor --|------ room of a compaction ------|
//   |------------------ SpaceReserve ------------------------|--- rows may be added ---
//
// Below the reserve only rows that replace or delete others are written. The arithmetic, with R the
// reserve and the store's sizes made to fit it (RocksOptions::reserve_bytes):
//
//   R / 8     all memory tables as tables on the disk: four write buffers of R / 32, at most 8 MiB
//             each, before the log that has the same rows can be deleted;
//   R / 4     the log: R / 32 between two looks at the disk, what is in flight meanwhile, and R / 8
//             of deletions until a flush gives the log back (mds::OwnSpace);
//   5 R / 8   compactions, which write their output before their input goes. One takes R / 4: of
//             level 0 four tables of a write buffer each, and the first level (R / 8); of a deeper
//             level one table of R / 48, and the about eleven that overlap it below. So there is
//             room for two, and for one when a quarter of the reserve is gone.
//
// With write buffers of 4 MiB that is 128 MiB. A large store has large tables (43 MiB at 2 GiB), so
// it is 1 % of a larger disk; above 2 GiB little would be gained. It is never more than 10 %: a
// tiny disk gets small buffers and tables instead.
//
// Pure functions; thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

namespace sheen::kv {

inline constexpr uint64_t kReserveBytesUsual = 128ULL << 20;
inline constexpr uint64_t kReserveBytesMax = 2ULL << 30;

// Bytes to keep free of a disk of `disk_bytes`; 0 for a disk of unknown size (0).
constexpr uint64_t SpaceReserve(uint64_t disk_bytes) {
  const uint64_t share = std::clamp(disk_bytes / 100, kReserveBytesUsual, kReserveBytesMax);
  return std::min(share, disk_bytes / 10);
}

// What a compaction must leave of the disk for the log and for flushes: 3 R / 8, at most 48 MiB
// (four write buffers of 8 MiB and 16 MiB of log).
constexpr uint64_t CompactionFloor(uint64_t reserve_bytes) {
  return std::min<uint64_t>(reserve_bytes / 8 * 3, 48ULL << 20);
}

}  // namespace sheen::kv
