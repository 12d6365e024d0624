// The real kv::Store: RocksDB, set so that a failed or damaged log is noticed and never skipped.
#pragma once

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
};

// Errors: kNoEntry (no store there), kExists (create over one), kBusy (open in another process,
// with its lock file named), kCorrupt, kIo.
Result<std::unique_ptr<Store>> OpenRocksStore(const RocksOptions& options);

}  // namespace sheen::kv
