#include "mds/background.h"

#include <gtest/gtest.h>

#include "kv/memory_store.h"
#include "mdt/inode_table.h"

namespace sheen::mds {
namespace {

class OutboxTest : public ::testing::Test {
 protected:
  OutboxTest() : store_(kv::OpenMemoryStore(&disk_)) {
    EXPECT_TRUE(mdt::Format(store_.get(), {.fsname = "sheen"}).has_value());
    mdt_ = std::move(*mdt::Mdt::Open(store_.get(), {.fsname = "sheen"}));
  }
  void Order(uint32_t ost, mdt::OutboxRow::Kind kind, uint32_t oid) {
    const Fid fid{kFirstClientSequence, oid, 0};
    layout::Layout layout;
    layout.components.push_back({.object_fid = fid, .birth = 1, .osts = {ost}});
    mdt::Txn txn(store_.get(), mdt_->transnos(), kv::Blocking::kMayBlock);
    mdt::AddOutbox(&txn, layout, {.kind = kind});
    ASSERT_TRUE(mdt_->Commit(&txn).has_value());
  }

  kv::MemoryDisk disk_{mdt::kFamilyCount};
  std::unique_ptr<kv::Store> store_;
  std::unique_ptr<mdt::Mdt> mdt_;
};

using Kind = mdt::OutboxRow::Kind;

TEST_F(OutboxTest, OnlyCommittedRowsAreOrders) {
  Order(3, Kind::kDestroy, 1);
  EXPECT_TRUE(ReadOrders(mdt_.get(), 3)->keys.empty());
  ASSERT_TRUE(mdt_->Sync().has_value());
  Order(3, Kind::kDestroy, 2);
  const auto orders = ReadOrders(mdt_.get(), 3);
  ASSERT_EQ(orders->keys.size(), 1u);
  EXPECT_EQ(orders->order.objects[0].fid.oid, 1u);
}

TEST_F(OutboxTest, DestroysGoTogetherAndOwnersAlone) {
  Order(0, Kind::kDestroy, 1);
  Order(7, Kind::kDestroy, 2);
  Order(7, Kind::kDestroy, 3);
  Order(7, Kind::kSetOwner, 4);
  Order(7, Kind::kDestroy, 5);
  ASSERT_TRUE(mdt_->Sync().has_value());
  EXPECT_EQ(OstsWithOrders(mdt_.get()).value(), (std::vector<uint32_t>{0, 7}));
  const auto erase = [&](const OutboxOrders& orders) {
    kv::Batch batch;
    for (const std::string& key : orders.keys) batch.Delete(mdt::kOutbox, key);
    ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
  };
  const auto first = ReadOrders(mdt_.get(), 7);
  EXPECT_EQ(first->keys.size(), 2u);
  EXPECT_EQ(first->order.objects.size(), 2u);
  erase(*first);
  const auto second = ReadOrders(mdt_.get(), 7);
  EXPECT_EQ(second->order.kind, Kind::kSetOwner);
  EXPECT_EQ(second->order.objects.size(), 1u);
  erase(*second);
  EXPECT_EQ(ReadOrders(mdt_.get(), 7)->order.objects[0].fid.oid, 5u);
}

}  // namespace
}  // namespace sheen::mds
