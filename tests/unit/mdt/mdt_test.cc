#include "mdt/mdt.h"

#include "mdt/inode_table.h"
#include "mdt_fixture.h"

namespace sheen::mdt {
namespace {

class MdtTest : public MdtFixture {
 protected:
  uint64_t WriteSomething() {
    auto txn = Begin();
    txn->Put(kConfig, "x", "y");
    const uint64_t transno = txn->transno();
    EXPECT_TRUE(mdt_->Commit(txn.get()).has_value());
    return transno;
  }
  Errc OpenError(const OpenOptions& options) {
    const auto opened = Mdt::Open(store_.get(), options);
    return opened ? Errc::kOk : opened.error().code();
  }
};

TEST_F(MdtTest, OpenRefusesWhatIsNotItsStore) {
  EXPECT_EQ(OpenError({.fsname = "sheen"}), Errc::kNoEntry);
  ASSERT_TRUE(Format(store_.get(), {.fsname = "sheen"}).has_value());
  EXPECT_EQ(Format(store_.get(), {.fsname = "sheen"}).error().code(), Errc::kExists);
  EXPECT_EQ(OpenError({.fsname = "other"}), Errc::kWrongFilesystem);
  EXPECT_EQ(OpenError({.fsname = "sheen", .index = 1}), Errc::kWrongFilesystem);
  EXPECT_EQ(OpenError({.fsname = "sheen"}), Errc::kOk);
}

TEST_F(MdtTest, FormatRefusesBadNames) {
  for (const char* name : {"", "ninechars", "a/b", "a b"}) {
    EXPECT_EQ(Format(store_.get(), {.fsname = name}).error().code(), Errc::kInvalid) << name;
  }
}

TEST_F(MdtTest, OpenRefusesUnknownFeatureAndVersion) {
  ASSERT_TRUE(Format(store_.get(), {.fsname = "sheen"}).has_value());
  kv::Batch batch;
  Superblock superblock;
  superblock.fsname = "sheen";
  superblock.incompat = 1ULL << 40;
  batch.Put(kConfig, std::string(kSuperblockKey), Encode(superblock));
  ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
  EXPECT_EQ(OpenError({}), Errc::kBadVersion);
  std::string newer = Encode(Superblock{.fsname = "sheen"});
  newer[0] = 2;
  batch.Clear();
  batch.Put(kConfig, std::string(kSuperblockKey), newer);
  ASSERT_TRUE(store_->Write(batch, kv::Blocking::kMayBlock).has_value());
  EXPECT_EQ(OpenError({}), Errc::kBadVersion);
}

TEST_F(MdtTest, BootCountIsDurableBeforeOpenReturnsAndTransnosNeverRecur) {
  FormatAndOpen();
  EXPECT_EQ(mdt_->superblock().boot, 1u);
  const uint64_t first = WriteSomething();
  disk_.PowerCut();
  Reopen();
  EXPECT_EQ(mdt_->superblock().boot, 2u);
  EXPECT_GT(WriteSomething(), first);
}

TEST_F(MdtTest, LastCommittedNeverPassesANumberInFlight) {
  FormatAndOpen();
  WriteSomething();
  auto pending = Begin();
  const uint64_t gap = pending->transno();
  const uint64_t after = WriteSomething();
  ASSERT_TRUE(mdt_->Sync().has_value());
  EXPECT_EQ(mdt_->LastCommitted(), gap - 1);
  pending->Abort();
  ASSERT_TRUE(mdt_->Sync().has_value());
  EXPECT_GE(mdt_->LastCommitted(), after);
}

TEST_F(MdtTest, WhatWasReportedCommittedIsRecoveredAfterAPowerCut) {
  FormatAndOpen();
  WriteSomething();
  ASSERT_TRUE(mdt_->Sync().has_value());
  const uint64_t reported = mdt_->LastCommitted();
  WriteSomething();
  disk_.PowerCut();
  Reopen();
  EXPECT_EQ(mdt_->recovered_transno(), reported);
  EXPECT_EQ(mdt_->LastCommitted(), reported);
}

TEST_F(MdtTest, AFailedWriteStopsTheTarget) {
  FormatAndOpen();
  disk_.FailWrites(Errc::kIo);
  auto txn = Begin();
  txn->Put(kConfig, "x", "y");
  EXPECT_EQ(mdt_->Commit(txn.get()).error().code(), Errc::kIo);
  disk_.FailWrites(Errc::kOk);
  txn = Begin();
  txn->Put(kConfig, "x", "y");
  EXPECT_FALSE(mdt_->Commit(txn.get()).has_value());
  EXPECT_FALSE(mdt_->Sync().has_value());
  EXPECT_FALSE(mdt_->StopReason().empty());
}

TEST_F(MdtTest, AFailedSyncStopsTheTargetAndCommitsNothing) {
  FormatAndOpen();
  WriteSomething();
  const uint64_t before = mdt_->LastCommitted();
  disk_.FailWrites(Errc::kIo);
  EXPECT_FALSE(mdt_->Sync().has_value());
  disk_.FailWrites(Errc::kOk);
  EXPECT_TRUE(mdt_->stopped());
  EXPECT_EQ(mdt_->LastCommitted(), before);
}

TEST_F(MdtTest, SequencesAreGrantedOnceAcrossPowerCuts) {
  FormatAndOpen();
  auto txn = Begin();
  const auto first = mdt_->GrantSequence(txn.get());
  ASSERT_TRUE(mdt_->Commit(txn.get()).has_value());
  ASSERT_TRUE(mdt_->Sync().has_value());
  disk_.PowerCut();
  Reopen();
  txn = Begin();
  const auto second = mdt_->GrantSequence(txn.get());
  EXPECT_EQ(*first, kFirstClientSequence);
  EXPECT_EQ(*second, *first + 1);
}

TEST_F(MdtTest, ATransactionReadsItsOwnWrites) {
  FormatAndOpen();
  auto setup = Begin();
  setup->Put(kXattrs, "a1", "stored");
  setup->Put(kXattrs, "a3", "stored");
  ASSERT_TRUE(mdt_->Commit(setup.get()).has_value());
  auto txn = Begin();
  txn->Put(kXattrs, "a0", "own");
  txn->Put(kXattrs, "a2", "own");
  txn->Put(kXattrs, "a3", "over");
  txn->Put(kXattrs, "b0", "outside");
  txn->Delete(kXattrs, "a1");
  txn->Put(kXattrs, "a9", "own");
  EXPECT_EQ(txn->Get(kXattrs, "a3").value(), "over");
  EXPECT_EQ(txn->Get(kXattrs, "a1").value(), std::nullopt);
  std::string seen;
  const auto take = [&](std::string_view key, std::string_view value) {
    seen += std::string(key) + "=" + std::string(value) + " ";
    return true;
  };
  ASSERT_TRUE(txn->Scan(kXattrs, "a", "", take).has_value());
  EXPECT_EQ(seen, "a0=own a2=own a3=over a9=own ");
  seen.clear();
  ASSERT_TRUE(txn->Scan(kXattrs, "a", "a3", take).has_value());
  EXPECT_EQ(seen, "a3=over a9=own ");
}

TEST_F(MdtTest, ALatchGoesToItsWaitersInOrder) {
  LatchTable table;
  const Fid fid{0x200000400, 1, 0};
  ASSERT_TRUE(table.TryLock(fid, 1));
  EXPECT_TRUE(table.TryLock(fid, 1)) << "its owner has it already";
  EXPECT_FALSE(table.TryLock(fid, 2));
  std::string order;
  EXPECT_TRUE(table.Wait(fid, 2, [&] { order += "2"; }));
  EXPECT_TRUE(table.Wait(fid, 3, [&] { order += "3"; }));
  table.Unlock(fid, 1);
  EXPECT_EQ(order, "2");
  EXPECT_FALSE(table.TryLock(fid, 4)) << "handed over: nobody overtakes";
  table.Unlock(fid, 2);
  EXPECT_EQ(order, "23");
  table.Unlock(fid, 3);
  EXPECT_EQ(table.held_count(), 0u);
  EXPECT_FALSE(table.Wait(fid, 5, [&] { order += "5"; })) << "free by now: taken at once";
  table.Unlock(fid, 5);
  EXPECT_EQ(order, "23");
}

TEST_F(MdtTest, DeletingAnInodeTakesItsXattrsAndNoOthers) {
  FormatAndOpen();
  const Fid a{0x200000400, 1, 0};
  const Fid b{0x200000400, 2, 0};
  auto txn = Begin();
  Inode inode;
  ASSERT_TRUE(PutXattr(txn.get(), a, &inode, "user.x", "1").has_value());
  ASSERT_TRUE(PutXattr(txn.get(), a, &inode, "user.y", "2").has_value());
  EXPECT_EQ(inode.xattr_count, 2u);
  EXPECT_EQ(inode.xattr_name_bytes, 14u);
  PutInode(txn.get(), a, inode);
  Inode other;
  ASSERT_TRUE(PutXattr(txn.get(), b, &other, "user.x", "3").has_value());
  ASSERT_TRUE(mdt_->Commit(txn.get()).has_value());
  txn = Begin();
  ASSERT_TRUE(DeleteInode(txn.get(), a, inode).has_value());
  ASSERT_TRUE(mdt_->Commit(txn.get()).has_value());
  txn = Begin();
  EXPECT_TRUE(ListXattrs(*txn, a).value().empty());
  EXPECT_EQ(FindXattr(*txn, b, "user.x").value(), "3");
}

TEST_F(MdtTest, OutboxHasOneRowForEachOst) {
  FormatAndOpen();
  layout::Layout layout;
  const Fid fid{0x200000400, 1, 0};
  layout.components.push_back({.object_fid = fid, .birth = 5, .osts = {0, 1, 0}});
  auto txn = Begin();
  AddOutbox(txn.get(), layout, {.kind = OutboxRow::Kind::kDestroy});
  const uint64_t transno = txn->transno();
  ASSERT_EQ(txn->batch().operations().size(), 2u);
  EXPECT_EQ(txn->batch().operations()[0].key, OutboxKey(0, transno, 0));
  const auto row = DecodeOutbox(txn->batch().operations()[0].value);
  ASSERT_TRUE(row.has_value());
  ASSERT_EQ(row->objects.size(), 2u);
  EXPECT_EQ(row->objects[1], (layout::ObjectId{fid, 5, 2}));
}

TEST_F(MdtTest, ThatPowerWasLostIsKnownUntilTheRecoveryHasEndedHoweverOftenItStarts) {
  ASSERT_TRUE(Format(store_.get(), {.fsname = "sheen"}).has_value());
  const auto open = [this](const std::string& machine) {
    auto opened = Mdt::Open(store_.get(), {.fsname = "sheen", .machine_boot_id = machine});
    EXPECT_TRUE(opened.has_value());
    return std::move(*opened);
  };
  EXPECT_FALSE(open("one")->lost_power()) << "new";
  EXPECT_FALSE(open("one")->lost_power()) << "the process alone";
  EXPECT_TRUE(open("two")->lost_power());
  const auto again = open("two");
  EXPECT_TRUE(again->lost_power()) << "its clients have brought nothing back yet";
  ASSERT_TRUE(again->EndRecovery().has_value());
  EXPECT_FALSE(again->lost_power());
  EXPECT_FALSE(open("two")->lost_power());
}

}  // namespace
}  // namespace sheen::mdt
