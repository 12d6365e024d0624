// kv::Store: an ordered key-value store as a seam. RocksStore is the real thing (RocksDB),
// MemoryStore the fake, which can lose unsynced batches (a power cut).
//
// Thread-safe. A batch is atomic over all column families. Write() is "buffered": it survives the
// death of the process, and power loss only after a Sync() that began after it returned.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sheen/result.h"

namespace sheen::kv {

// Index into the column family names given at open.
using Family = uint32_t;

// May the call wait for the disk or for a compaction? On a shard: kNever, and Errc::kWouldBlock
// means: run the whole operation again on the blocking pool with kMayBlock.
enum class Blocking : uint8_t { kNever, kMayBlock };

// What to win back of the disk: the log, by a flush; or also what deleted rows take, by rewriting
// the tables that have some.
enum class Reclaim : uint8_t { kLog, kDeletedRows };

class Batch final {
 public:
  struct Operation {
    enum class Kind : uint8_t { kPut, kDelete, kDeleteRange } kind;
    Family family;
    std::string key;
    std::string value;  // kDeleteRange: the first key after the range
  };
  void Put(Family family, std::string key, std::string value) {
    operations_.push_back({Operation::Kind::kPut, family, std::move(key), std::move(value)});
  }
  void Delete(Family family, std::string key) {
    operations_.push_back({Operation::Kind::kDelete, family, std::move(key), {}});
  }
  // Keys in [begin, end).
  void DeleteRange(Family family, std::string begin, std::string end) {
    operations_.push_back(
        {Operation::Kind::kDeleteRange, family, std::move(begin), std::move(end)});
  }
  const std::vector<Operation>& operations() const { return operations_; }
  bool empty() const { return operations_.empty(); }
  void Clear() { operations_.clear(); }

 private:
  std::vector<Operation> operations_;
};

// A consistent view from the moment it was made. Not thread-safe itself.
class Cursor {
 public:
  virtual ~Cursor() = default;
  // To the first key >= `key`.
  virtual void Seek(std::string_view key) = 0;
  virtual void Next() = 0;
  // False at the end and after an error or a would-block: look at status().
  virtual bool Valid() const = 0;
  virtual std::string_view key() const = 0;
  virtual std::string_view value() const = 0;
  virtual Status status() const = 0;
};

class Store {
 public:
  virtual ~Store() = default;
  // nullopt: no such key. Errors: kWouldBlock (kNever only), kIo, kCorrupt.
  virtual Result<std::optional<std::string>> Get(Family family, std::string_view key,
                                                 Blocking blocking) = 0;
  virtual std::unique_ptr<Cursor> NewCursor(Family family, Blocking blocking) = 0;
  // Errors: kWouldBlock, kNoSpace, kIo. After kIo every later Write and Sync fails too.
  virtual Status Write(const Batch& batch, Blocking blocking) = 0;
  // Everything written before the call survives power loss when it returns. Blocks.
  virtual Status Sync() = 0;
  // Gives space back to the disk. Blocks for a flush; of kDeletedRows one step begins, which goes
  // on in the background, table by table as far as there is room: call it again until nothing
  // comes back any more. Nothing is begun while an earlier step goes on. Errors: kIo.
  virtual Status ReclaimSpace(Reclaim what) = 0;
  virtual uint64_t ApproximateBytes() const = 0;
  // Deleted rows whose space tables on the disk still take, about; not those in memory.
  virtual uint64_t DeletedRows() const = 0;
};

}  // namespace sheen::kv
