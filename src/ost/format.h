// Format: makes a directory an OST; and the names of what is in one.
//
//   DIR/superblock   who this is (superblock.h)
//   DIR/lock         flock of the process that serves it (directory_lock.h)
//   DIR/objects/HH/HH/<object id>   one file per object
//   DIR/index/       the key-value store: object records, tombstones, sessions (index_record.h)
//
// The caller opens the store in DIR/index (kv::OpenRocksStore with IndexFamilies(), create = true)
// and gives it in, so that this module knows no RocksDB.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/random.h"
#include "io/file_io.h"
#include "kv/store.h"
#include "ost/superblock.h"
#include "sheen/result.h"

namespace sheen::ost {

// Families of the index store, in this order.
enum IndexFamily : kv::Family {
  kObjectFamily = 0,     // object key -> record
  kPendingFamily = 1,    // object key -> empty: record has an operation to finish after a crash
  kTombstoneFamily = 2,  // object key -> time of the destroy
  kSessionFamily = 3,    // the OSS's sessions and fences
  kMetaFamily = 4,       // "identity", "boot", "committed"
};
std::vector<std::string> IndexFamilies();

struct FormatOptions {
  std::string directory;
  std::string fsname = "sheen";  // 1 to 8 characters: letters, digits, '_', '-'
  uint32_t ost_index = 0;
  uint64_t generation = 1;
  uint64_t size_limit_bytes = 0;  // 0: none; else at least kSizeLimitBytesMin
  int64_t now_ns = 0;             // wall clock
  Uuid uuid;                      // empty: a random one
};

inline constexpr uint64_t kSizeLimitBytesMin = 16 << 20;

// "survives power loss": the index's identity row first, the superblock last, so that a directory
// with a superblock is complete. REQUIRES: runs on a shard; `index` may block (start-up only).
// Errors: kExists (there is an OST already, named), kInvalid (fsname, index, size), kNotEmpty (the
// index holds objects but there is no superblock), kReadOnly, kNoSpace, kIo.
async::Task<Result<Superblock>> Format(io::FileIo* io, kv::Store* index, FormatOptions options);

// Errors: kNoEntry (not an OST: says how to make one), kCorrupt, kBadVersion.
async::Task<Result<Superblock>> ReadSuperblock(io::FileIo* io, std::string directory);

}  // namespace sheen::ost
