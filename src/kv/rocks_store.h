// The real kv::Store: RocksDB, set so that a failed or damaged log is noticed and never skipped.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "kv/store.h"

namespace sheen::kv {

struct RocksOptions {
  std::string directory;              // created when `create` and not there
  std::vector<std::string> families;  // Family i is families[i]; "default" is added inside
  bool create = false;
  uint64_t cache_bytes = 32 << 20;        // block cache
  uint64_t write_buffer_bytes = 8 << 20;  // per column family
  // The owner keeps so many bytes of the disk free (kv/space_reserve.h): buffers, log and tables
  // are made no larger than fits. 0: nothing is kept, RocksDB's own sizes.
  uint64_t reserve_bytes = 0;
  // Bytes that a compaction may write at this moment, of those that are free; called on RocksDB's
  // threads. Empty: whatever there is.
  std::function<uint64_t()> compaction_room;
};

// Errors: kNoEntry (no store there), kExists (create over one), kBusy (open in another process,
// with its lock file named), kNoSpace (kv/rocks_start.h), kCorrupt, kIo.
Result<std::unique_ptr<Store>> OpenRocksStore(const RocksOptions& options);

}  // namespace sheen::kv
