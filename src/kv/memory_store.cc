#include "kv/memory_store.h"

#include <utility>

#include "base/log.h"

namespace sheen::kv {

namespace {

Status WouldBlock() { return Fail(Errc::kWouldBlock, "memory store: told to block"); }

}  // namespace

MemoryDisk::MemoryDisk(size_t family_count) {
  for (size_t i = 0; i < family_count; ++i) {
    current_.push_back(std::make_shared<Table>());
    durable_.push_back(std::make_shared<Table>());
  }
}

void MemoryDisk::PowerCut(size_t keep_batches) {
  const std::scoped_lock lock(mutex_);
  for (size_t i = 0; i < keep_batches && i < unsynced_.size(); ++i) Apply(unsynced_[i], &durable_);
  unsynced_.clear();
  for (size_t i = 0; i < current_.size(); ++i) current_[i] = std::make_shared<Table>(*durable_[i]);
}

void MemoryDisk::PowerOff(size_t keep_batches) {
  PowerCut(keep_batches);
  const std::scoped_lock lock(mutex_);
  off_ = true;
}

void MemoryDisk::PowerOn() {
  const std::scoped_lock lock(mutex_);
  off_ = false;
}

void MemoryDisk::FailWrites(Errc code) {
  const std::scoped_lock lock(mutex_);
  fail_writes_ = code;
}

void MemoryDisk::WouldBlockEvery(uint64_t n) {
  const std::scoped_lock lock(mutex_);
  would_block_every_ = n;
  calls_ = 0;
}

size_t MemoryDisk::unsynced_batches() const {
  const std::scoped_lock lock(mutex_);
  return unsynced_.size();
}

void MemoryDisk::set_deleted_rows(uint64_t rows) {
  const std::scoped_lock lock(mutex_);
  deleted_rows_ = rows;
}

size_t MemoryDisk::reclaims(Reclaim what) const {
  const std::scoped_lock lock(mutex_);
  return reclaims_[static_cast<size_t>(what)];
}

void MemoryDisk::Apply(const Batch& batch, Tables* tables) {
  for (const Batch::Operation& operation : batch.operations()) {
    SHEEN_ASSERT(operation.family < tables->size());
    std::shared_ptr<Table>& table = (*tables)[operation.family];
    if (table.use_count() > 1) table = std::make_shared<Table>(*table);
    switch (operation.kind) {
      case Batch::Operation::Kind::kPut:
        table->insert_or_assign(operation.key, operation.value);
        break;
      case Batch::Operation::Kind::kDelete:
        table->erase(operation.key);
        break;
      case Batch::Operation::Kind::kDeleteRange:
        if (operation.key < operation.value)
          table->erase(table->lower_bound(operation.key), table->lower_bound(operation.value));
        break;
    }
  }
}

bool MemoryDisk::MustBlock(Blocking blocking) {
  if (blocking == Blocking::kMayBlock || would_block_every_ == 0) return false;
  return ++calls_ % would_block_every_ == 0;
}

Status MemoryDisk::WriteFailure() const {
  if (fail_writes_ == Errc::kOk) return {};
  return Fail(fail_writes_, "memory store: told to fail");
}

class MemoryCursor final : public Cursor {
 public:
  MemoryCursor(MemoryDisk* disk, Family family, Blocking blocking)
      : disk_(disk), blocking_(blocking) {
    const std::scoped_lock lock(disk_->mutex_);
    SHEEN_ASSERT(family < disk_->current_.size());
    table_ = disk_->current_[family];
    at_ = table_->end();
    if (disk_->MustBlock(blocking_)) status_ = WouldBlock();
  }
  // Under the mutex, so that Apply's look at the use count is not a race.
  ~MemoryCursor() override {
    const std::scoped_lock lock(disk_->mutex_);
    table_.reset();
  }
  MemoryCursor(const MemoryCursor&) = delete;
  MemoryCursor& operator=(const MemoryCursor&) = delete;

  void Seek(std::string_view key) override {
    if (Stopped()) return;
    at_ = table_->lower_bound(key);
  }
  void Next() override {
    if (Stopped()) return;
    ++at_;
  }
  bool Valid() const override { return status_.has_value() && at_ != table_->end(); }
  std::string_view key() const override { return at_->first; }
  std::string_view value() const override { return at_->second; }
  Status status() const override { return status_; }

 private:
  bool Stopped() {
    const std::scoped_lock lock(disk_->mutex_);
    if (status_ && disk_->MustBlock(blocking_)) status_ = WouldBlock();
    return !status_;
  }

  MemoryDisk* const disk_;
  const Blocking blocking_;
  std::shared_ptr<MemoryDisk::Table> table_;
  MemoryDisk::Table::const_iterator at_;
  Status status_;
};

class MemoryStore final : public Store {
 public:
  explicit MemoryStore(MemoryDisk* disk) : disk_(disk) {}

  Result<std::optional<std::string>> Get(Family family, std::string_view key,
                                         Blocking blocking) override {
    const std::scoped_lock lock(disk_->mutex_);
    if (disk_->MustBlock(blocking)) return std::unexpected(WouldBlock().error());
    SHEEN_ASSERT(family < disk_->current_.size());
    const MemoryDisk::Table& table = *disk_->current_[family];
    const auto found = table.find(key);
    if (found == table.end()) return std::optional<std::string>();
    return std::optional<std::string>(found->second);
  }

  std::unique_ptr<Cursor> NewCursor(Family family, Blocking blocking) override {
    return std::make_unique<MemoryCursor>(disk_, family, blocking);
  }

  Status Write(const Batch& batch, Blocking blocking) override {
    const std::scoped_lock lock(disk_->mutex_);
    if (disk_->MustBlock(blocking)) return WouldBlock();
    SHEEN_TRY(disk_->WriteFailure());
    if (batch.empty() || disk_->off_) return {};
    MemoryDisk::Apply(batch, &disk_->current_);
    disk_->unsynced_.push_back(batch);
    return {};
  }

  Status Sync() override {
    const std::scoped_lock lock(disk_->mutex_);
    SHEEN_TRY(disk_->WriteFailure());
    if (disk_->off_) return {};
    for (const Batch& batch : disk_->unsynced_) MemoryDisk::Apply(batch, &disk_->durable_);
    disk_->unsynced_.clear();
    return {};
  }

  Status ReclaimSpace(Reclaim what) override {
    const std::scoped_lock lock(disk_->mutex_);
    SHEEN_TRY(disk_->WriteFailure());
    ++disk_->reclaims_[static_cast<size_t>(what)];
    return {};
  }

  uint64_t ApproximateBytes() const override {
    const std::scoped_lock lock(disk_->mutex_);
    uint64_t bytes = 0;
    for (const auto& table : disk_->current_) {
      for (const auto& [key, value] : *table) bytes += key.size() + value.size();
    }
    return bytes;
  }

  uint64_t DeletedRows() const override {
    const std::scoped_lock lock(disk_->mutex_);
    return disk_->deleted_rows_;
  }

 private:
  MemoryDisk* const disk_;
};

std::unique_ptr<Store> OpenMemoryStore(MemoryDisk* disk) {
  return std::make_unique<MemoryStore>(disk);
}

}  // namespace sheen::kv
