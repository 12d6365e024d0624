// Room on the disk for the start of a store. RocksDB does not bear a disk that fills up while it
// opens a store: it ends the process. So what it will write is added up before, and a start that
// would not fit is refused.
//
// What fills the disk is as a rule not the store, whose owner keeps a reserve free, but a neighbour
// on the same disk. For that case DIR/sheen.reserve holds some megabytes that nothing uses. A start
// that finds too little room removes it first: so a full target can be started, and things deleted
// from it. The next start that finds room makes it anew.
//
// Blocking; not thread-safe: call with the store's lock held, while no store is open.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "sheen/result.h"

namespace sheen::kv {

inline constexpr uint64_t kStartReserveMax = 16ULL << 20;

// Size of DIR/sheen.reserve on a disk of `disk_bytes`.
constexpr uint64_t StartReserve(uint64_t disk_bytes) {
  return std::min(disk_bytes / 32, kStartReserveMax);
}

// The log becomes tables, which are no larger; then there are the options (50 KiB), a log of events
// (100 KiB), the manifest and the next log.
constexpr uint64_t BytesToStart(uint64_t log_bytes) { return log_bytes + (512ULL << 10); }

// Removes DIR/sheen.reserve if it must. Errors: kNoSpace, with what is missing and what to do; kIo.
Status MakeRoomToStart(const std::string& directory);
// Makes DIR/sheen.reserve where there is none and the disk has four times as much left. Nothing is
// lost when that fails.
void KeepStartReserve(const std::string& directory);

}  // namespace sheen::kv
