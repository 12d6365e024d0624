// Compactions that stop before the disk is full. RocksDB starts a compaction without a look at the
// disk; one that fills it takes the log with it, and a log that cannot be written stops the store.
// Here the tables that a compaction writes find the disk full while it still has room for the log
// and for flushes. To RocksDB that is the one kind of "no space" that it goes on from: the
// half-written tables are deleted, and it tries again a second later.
//
// A listener tells a compaction's tables from a flush's: RocksDB announces each just before it
// makes the file, on the same thread.
//
// Thread-safe.
#pragma once

#include <rocksdb/env.h>
#include <rocksdb/listener.h>

#include <cstdint>
#include <functional>
#include <memory>

namespace sheen::kv {

// Bytes that a compaction may write at this moment. Called on RocksDB's threads; a system call is
// allowed.
using CompactionRoom = std::function<uint64_t()>;

struct LimitedEnv {
  std::unique_ptr<rocksdb::Env> env;                 // for DBOptions::env; outlives the DB
  std::shared_ptr<rocksdb::EventListener> listener;  // for DBOptions::listeners
};

LimitedEnv LimitCompactions(CompactionRoom room);

}  // namespace sheen::kv
