#include "kv/memory_store.h"

#include <gtest/gtest.h>

#include "support/kv_conformance.h"

namespace sheen::kv {
namespace {

class MemoryRig final {
 public:
  MemoryRig() : disk_(kConformanceFamilies), store_(OpenMemoryStore(&disk_)) {}
  Store* store() { return store_.get(); }
  void Restart() {
    store_.reset();
    store_ = OpenMemoryStore(&disk_);
  }

 private:
  MemoryDisk disk_;
  std::unique_ptr<Store> store_;
};

INSTANTIATE_TYPED_TEST_SUITE_P(Memory, KvConformance, MemoryRig);

Batch PutOf(const std::string& key, const std::string& value) {
  Batch batch;
  batch.Put(0, key, value);
  return batch;
}

bool Has(Store* store, const std::string& key) {
  const auto value = store->Get(0, key, Blocking::kMayBlock);
  return value.has_value() && value->has_value();
}

TEST(MemoryStoreTest, PowerCutLosesWhatWasNotSynced) {
  MemoryDisk disk(1);
  const auto store = OpenMemoryStore(&disk);
  ASSERT_TRUE(store->Write(PutOf("a", "1"), Blocking::kMayBlock));
  ASSERT_TRUE(store->Sync());
  ASSERT_TRUE(store->Write(PutOf("b", "2"), Blocking::kMayBlock));
  EXPECT_EQ(disk.unsynced_batches(), 1U);
  disk.PowerCut();
  EXPECT_TRUE(Has(store.get(), "a"));
  EXPECT_FALSE(Has(store.get(), "b"));
  EXPECT_EQ(disk.unsynced_batches(), 0U);
}

TEST(MemoryStoreTest, PowerCutKeepsAPrefixOfTheUnsyncedBatches) {
  MemoryDisk disk(1);
  const auto store = OpenMemoryStore(&disk);
  for (const char* key : {"a", "b", "c"})
    ASSERT_TRUE(store->Write(PutOf(key, "v"), Blocking::kMayBlock));
  disk.PowerCut(2);
  EXPECT_TRUE(Has(store.get(), "a"));
  EXPECT_TRUE(Has(store.get(), "b"));
  EXPECT_FALSE(Has(store.get(), "c"));
  // What it kept is durable now.
  disk.PowerCut();
  EXPECT_TRUE(Has(store.get(), "b"));
}

TEST(MemoryStoreTest, FailedWriteChangesNothing) {
  MemoryDisk disk(1);
  const auto store = OpenMemoryStore(&disk);
  disk.FailWrites(Errc::kIo);
  const Status status = store->Write(PutOf("a", "1"), Blocking::kMayBlock);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code(), Errc::kIo);
  EXPECT_FALSE(store->Sync());
  EXPECT_FALSE(Has(store.get(), "a"));
  disk.FailWrites(Errc::kOk);
  EXPECT_TRUE(store->Write(PutOf("a", "1"), Blocking::kMayBlock));
}

TEST(MemoryStoreTest, EveryNthCallThatMayNotBlockAnswersWouldBlock) {
  MemoryDisk disk(1);
  const auto store = OpenMemoryStore(&disk);
  ASSERT_TRUE(store->Write(PutOf("a", "1"), Blocking::kMayBlock));
  disk.WouldBlockEvery(2);
  EXPECT_TRUE(store->Get(0, "a", Blocking::kNever));
  EXPECT_EQ(store->Get(0, "a", Blocking::kNever).error().code(), Errc::kWouldBlock);
  EXPECT_TRUE(store->Get(0, "a", Blocking::kMayBlock));
  EXPECT_TRUE(store->Write(PutOf("b", "2"), Blocking::kNever));
  EXPECT_EQ(store->Write(PutOf("c", "3"), Blocking::kNever).error().code(), Errc::kWouldBlock);
  EXPECT_FALSE(Has(store.get(), "c"));
}

TEST(MemoryStoreTest, CursorThatWouldBlockSaysSo) {
  MemoryDisk disk(1);
  const auto store = OpenMemoryStore(&disk);
  ASSERT_TRUE(store->Write(PutOf("a", "1"), Blocking::kMayBlock));
  disk.WouldBlockEvery(2);
  const auto cursor = store->NewCursor(0, Blocking::kNever);
  cursor->Seek("");
  EXPECT_FALSE(cursor->Valid());
  EXPECT_EQ(cursor->status().error().code(), Errc::kWouldBlock);
}

}  // namespace
}  // namespace sheen::kv
