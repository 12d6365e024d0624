// Migrations: copies of open files that are under way on this mount, by the handle that each
// belongs to (migrate_ops.cc).
//
// Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "base/clock.h"
#include "client/data_version.h"
#include "client/types.h"

namespace sheen::client {

struct Migration {
  Fid file;
  uint64_t handle = 0;
  Fid copy;
  uint64_t copy_handle = 0;
  CredentialId who = 0;
  // Below: one step at a time (`busy`).
  SeenVersion version;     // of the file when the copying of it began
  uint64_t next = 0;       // everything before it was copied
  Nanos renewed{0};        // the hold
  bool began = false;      // something was copied
  bool complete = false;   // all of it, and durable
  LayoutPtr held;          // the file's layout under the hold; null: no hold
  std::atomic<bool> busy{false};
  std::atomic<bool> ended{false};
};
using MigrationPtr = std::shared_ptr<Migration>;

class Migrations final {
 public:
  // False: there is one of this handle.
  bool Add(const MigrationPtr& migration) {
    const std::scoped_lock lock(mutex_);
    return by_handle_.try_emplace({migration->file, migration->handle}, migration).second;
  }
  MigrationPtr Find(const Fid& file, uint64_t handle) const {
    const std::scoped_lock lock(mutex_);
    const auto found = by_handle_.find({file, handle});
    return found == by_handle_.end() ? nullptr : found->second;
  }
  MigrationPtr Take(const Fid& file, uint64_t handle) {
    const std::scoped_lock lock(mutex_);
    auto node = by_handle_.extract({file, handle});
    return node.empty() ? nullptr : node.mapped();
  }

 private:
  mutable std::mutex mutex_;  // guards by_handle_
  std::map<std::pair<Fid, uint64_t>, MigrationPtr> by_handle_;
};

}  // namespace sheen::client
