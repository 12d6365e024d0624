// The fake kv::Store: std::map under a mutex; unsynced batches can be dropped (PowerCut), calls can
// be made to answer kWouldBlock or to fail. For tests and the simulator only.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kv/store.h"

namespace sheen::kv {

// The disk under a MemoryStore: outlives it, so that a "restarted" daemon opens it again.
class MemoryDisk final {
 public:
  explicit MemoryDisk(size_t family_count);

  // Everything not synced is lost, except the first `keep_batches` of the unsynced ones.
  void PowerCut(size_t keep_batches = 0);
  // PowerCut, and until PowerOn() what a store still writes goes nowhere, without its noticing: so
  // that a daemon on a machine without power can be taken down in an orderly way.
  void PowerOff(size_t keep_batches = 0);
  void PowerOn();
  // Every Write and Sync fails with `code` until cleared (kOk).
  void FailWrites(Errc code);
  // Every n-th call with Blocking::kNever answers kWouldBlock; 0 = never.
  void WouldBlockEvery(uint64_t n);
  size_t unsynced_batches() const;
  // What DeletedRows answers. 0 until set.
  void set_deleted_rows(uint64_t rows);
  // How often ReclaimSpace was called.
  size_t reclaims(Reclaim what) const;

 private:
  friend class MemoryStore;
  friend class MemoryCursor;
  using Table = std::map<std::string, std::string, std::less<>>;
  // Copied before a change while a cursor looks at it; so a cursor costs nothing by itself.
  using Tables = std::vector<std::shared_ptr<Table>>;
  static void Apply(const Batch& batch, Tables* tables);
  // Does this call have to answer kWouldBlock? REQUIRES: mutex_ held.
  bool MustBlock(Blocking blocking);
  Status WriteFailure() const;

  mutable std::mutex mutex_;  // guards everything below
  Tables current_;
  Tables durable_;
  std::deque<Batch> unsynced_;  // current_ == durable_ + these
  Errc fail_writes_ = Errc::kOk;
  bool off_ = false;
  uint64_t would_block_every_ = 0;
  uint64_t calls_ = 0;
  size_t reclaims_[2] = {};  // by Reclaim
  uint64_t deleted_rows_ = 0;
};

std::unique_ptr<Store> OpenMemoryStore(MemoryDisk* disk);

}  // namespace sheen::kv
