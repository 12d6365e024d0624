// Txn: one operation's reads and its pending batch. A read sees the operation's own writes, then
// the store. Nothing reaches the store before Mdt::Commit.
//
// Not thread-safe: one operation at a time; it may move between threads between calls.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "fid/fid.h"
#include "kv/store.h"
#include "mdt/schema.h"
#include "mdt/transno.h"
#include "sheen/result.h"

namespace sheen::mdt {

class Txn final {
 public:
  Txn(kv::Store* store, TransnoTracker* transnos, kv::Blocking blocking)
      : store_(store), transnos_(transnos), blocking_(blocking) {}
  // Gives the transno up if it was not committed.
  ~Txn() { Abort(); }
  Txn(const Txn&) = delete;
  Txn& operator=(const Txn&) = delete;

  // nullopt: no such row. Errors: kWouldBlock, kIo, kCorrupt.
  Result<std::optional<std::string>> Get(Family family, std::string_view key) const;
  void Put(Family family, std::string key, std::string value) {
    batch_.Put(family, std::move(key), std::move(value));
  }
  void Delete(Family family, std::string key) { batch_.Delete(family, std::move(key)); }
  // Keys in [begin, end). This transaction's own reads still see them.
  void DeleteRange(Family family, std::string begin, std::string end) {
    batch_.DeleteRange(family, std::move(begin), std::move(end));
  }
  // Calls `row` for each row whose key starts with `prefix`, from `from` on (own writes included),
  // in key order, until it returns false. Errors: as Get.
  Status Scan(Family family, std::string_view prefix, std::string_view from,
              const std::function<bool(std::string_view key, std::string_view value)>& row) const;

  // Taken at the first call: call it as late as possible, with all latches held.
  uint64_t transno();
  bool has_transno() const { return transno_ != 0; }
  bool has_writes() const { return !batch_.empty(); }
  const kv::Batch& batch() const { return batch_; }

  // What the batch changes of inodes, for those who hold locks on them (lock::InodeBits).
  struct Touched {
    Fid fid;
    uint32_t bits = 0;
    bool gone = false;  // the inode is deleted
  };
  void Touch(const Fid& fid, uint32_t bits, bool gone = false);
  const std::vector<Touched>& touched() const { return touched_; }

  // ---- whose changes this rests on: rows by hashes of their keys ----
  // Of `directory` only times and counts change, as its children do; they count for who has looked
  // at all of them (NoteReadChildren) only.
  void NoteParent(const Fid& directory);
  void NoteReadChildren(const Fid& directory) const;
  // Rows of the name space that were read.
  const std::vector<uint64_t>& reads() const { return reads_; }
  std::vector<uint64_t> ChangedRows() const;

  kv::Blocking blocking() const { return blocking_; }
  kv::Store* store() const { return store_; }
  // Finishes the transno (committed or not) and forgets the writes.
  void Abort();

 private:
  kv::Store* const store_;
  TransnoTracker* const transnos_;
  const kv::Blocking blocking_;
  kv::Batch batch_;
  std::vector<Touched> touched_;  // each inode once
  std::vector<Fid> parents_;
  mutable std::vector<uint64_t> reads_;
  uint64_t transno_ = 0;
};

}  // namespace sheen::mdt
