// Layouts under locks when something goes wrong meanwhile: clients die in a hold, servers lose what
// they had not committed, some are away, handles are known to one side only.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/dot_lustre.h"
#include "client/state.h"
#include "layout_rig.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

class SimLayoutFaults : public LayoutScene {};

TEST_F(SimLayoutFaults, AClientThatDiesInTheHoldDelaysOthersForSecondsOnly) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  cluster_.Run(ToTheHold(handles_[1], Plain(2, 65536)));
  cluster_.LoseClient("carol");
  EXPECT_LT(Write(handles_[0], 0, 2), std::chrono::seconds(5));
  ExpectRecord(handles_[0], 0, 2);
}

// With the open comes no lock, and what is written waits for the new layout.
TEST_F(SimLayoutFaults, WhoOpensTheFileInAHoldWritesToTheNewObjects) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  clients_.push_back(cluster_.AddClient("bob"));
  Write(handles_[0], 0, 1);
  cluster_.Run(ToTheHold(handles_[1], Plain(2, 65536)));
  const auto writing = cluster_.Begin([](Filesystem* fs, Fid fid) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, fid, O_RDWR);
    EXPECT_TRUE(opened);
    if (opened) co_await WriteOne({fs, fid, opened->handle}, 0, 2, {.direct = true});
  }(clients_[2], handles_[0].fid));
  Pass(std::chrono::seconds(1));
  cluster_.Run([](Handle mover) -> async::Task<void> {
    const Status swapped = co_await mover.fs->FinishCopy(mover.fid, mover.id);
    EXPECT_TRUE(swapped) << (swapped ? "" : swapped.error().ToString());
    mover.fs->EndCopy(mover.fid, mover.id);
  }(handles_[1]));
  cluster_.Finish(writing);
  ExpectRecord(handles_[0], 0, 2);
}

// As lfs does when it is stopped by a signal.
TEST_F(SimLayoutFaults, AHoldThatGoesNowhereEndsByItself) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  cluster_.Run(ToTheHold(handles_[1], Plain(2, 65536)));
  EXPECT_LT(Write(handles_[0], 0, 2), std::chrono::seconds(15));
  cluster_.Run([](Handle mover) -> async::Task<void> {
    const Status late = co_await mover.fs->FinishCopy(mover.fid, mover.id);
    EXPECT_FALSE(late);
    if (!late) EXPECT_EQ(late.error().code(), Errc::kAgain);
    mover.fs->EndCopy(mover.fid, mover.id);
  }(handles_[1]));
  ExpectRecord(handles_[1], 0, 2);
}

TEST_F(SimLayoutFaults, AMigrateDoesNotWaitForAnOstThatIsAwayAndItsUsersGoOn) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  cluster_.Run([](SimCluster* cluster, Handle mover) -> async::Task<void> {
    EXPECT_TRUE(co_await mover.fs->BeginCopy(0, mover.fid, mover.id, Plain(2, 65536)));
    EXPECT_TRUE(co_await CopyAll(mover));
    for (const char* oss : {"oss0", "oss1"}) cluster->network()->Partition("carol", oss);
    const auto complete = co_await mover.fs->HoldLayout(mover.fid, mover.id);
    EXPECT_FALSE(complete);
    // What is not fenced is not exchanged, whoever asks for it.
    const Status swapped = co_await mover.fs->FinishCopy(mover.fid, mover.id);
    EXPECT_FALSE(swapped);
    for (const char* oss : {"oss0", "oss1"}) cluster->network()->Heal("carol", oss);
    mover.fs->EndCopy(mover.fid, mover.id);
  }(&cluster_, handles_[1]));
  EXPECT_LT(Write(handles_[0], 0, 2), std::chrono::seconds(5));
  ExpectRecord(handles_[1], 0, 2);
}

TEST_F(SimLayoutFaults, WhatIsLostAfterAMigrateIsToldByTheFile) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  // From here on the objects have another file's name.
  ExpectMigrated(handles_[1], Plain(1, 65536));
  cluster_.Run([](SimCluster* cluster, Handle alice) -> async::Task<void> {
    co_await WriteOne(alice, 0, 2, {.direct = true});
    for (const char* oss : {"oss0", "oss1"}) cluster->network()->Partition("alice", oss);
  }(&cluster_, handles_[0]));
  cluster_.PowerCutOss(&random_);
  // She is not waited for any longer.
  Pass(std::chrono::seconds(30));
  cluster_.Run([](Handle carol) -> async::Task<void> {
    co_await WriteOne(carol, 0, 3, {.direct = true});
  }(handles_[1]));
  for (const char* oss : {"oss0", "oss1"}) cluster_.network()->Heal("alice", oss);
  Pass(std::chrono::seconds(10));
  EXPECT_FALSE(Fsync(handles_[0])) << "bytes that had been written are gone";
  EXPECT_FALSE(clients_[0]->state()->late_errors.any());
  ExpectRecord(handles_[0], 0, 3);
}

TEST_F(SimLayoutFaults, AnExchangeWithWhatHasNoLayoutIsRefusedAndHoldsNothing) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  cluster_.Run([](Handle carol) -> async::Task<void> {
    for (const Fid& other : {client::kDotLustreFid, client::kDotLustre, carol.fid, kRootFid}) {
      const Status swapped = co_await carol.fs->SwapLayouts(0, carol.fid, carol.id, other);
      EXPECT_FALSE(swapped);
      if (!swapped && other != kRootFid) EXPECT_EQ(swapped.error().code(), Errc::kInvalid);
    }
  }(handles_[1]));
  EXPECT_LT(Write(handles_[0], 0, 2), std::chrono::seconds(1));
}

TEST_F(SimLayoutFaults, AWriteThatMeetsAShorterLayoutSaysHowMuchOfItIsThere) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  layout::Layout shorter = layout::DefaultTemplate();
  shorter.components.resize(1);
  shorter.components[0].end = kMebibyte;
  // On its way when the objects are fenced.
  ASSERT_TRUE(cluster_.faults("alice")->Arm(
      "client.send.ost_write", {.action = rpc::FaultAction::kDelay, .delay_ms = 2000}));
  const auto writing = cluster_.Begin([](Handle alice) -> async::Task<void> {
    const std::vector<std::byte> record = RecordOf(2);
    const auto wrote = co_await alice.fs->Write(alice.fid, alice.id, kMebibyte - 1000, record,
                                                {.direct = true});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    if (wrote) EXPECT_EQ(*wrote, 1000u);
    const auto beyond =
        co_await alice.fs->Write(alice.fid, alice.id, kMebibyte, record, {.direct = true});
    EXPECT_FALSE(beyond);
    if (!beyond) EXPECT_EQ(beyond.error().code(), Errc::kFileTooBig);
  }(handles_[0]));
  Pass(std::chrono::milliseconds(100));
  ExpectMigrated(handles_[1], layout::Encode(shorter));
  cluster_.Finish(writing);
}

TEST_F(SimLayoutFaults, BytesThatGoWithADeletedComponentAreNoLoss) {
  Start({"alice", "carol"}, TwoComponents());
  for (const size_t deleter : {0u, 1u}) {
    for (uint64_t i = 0; i < 6; ++i) Write(handles_[0], 2 * kMebibyte + i * kRecordBytes, i + 1);
    EXPECT_GT(clients_[0]->state()->held_budget.bytes.load(), 0u);
    cluster_.Run([](Handle handle) -> async::Task<void> {
      client::LayoutChange change{client::LayoutEdit::kDelete, 2};
      const Status cut = co_await handle.fs->SetLayout(0, handle.fid, "", change);
      EXPECT_TRUE(cut) << (cut ? "" : cut.error().ToString());
      change = {client::LayoutEdit::kAdd, 0};
      const Status added =
          co_await handle.fs->SetLayout(0, handle.fid, Plain(1, kMebibyte), change);
      EXPECT_TRUE(added) << (added ? "" : added.error().ToString());
    }(handles_[deleter]));
    const Status synced = Fsync(handles_[0]);
    EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
  }
}

TEST_F(SimLayoutFaults, AnInstantiationDoesNotWaitForWhatGoesToAnOstThatIsAway) {
  Start({"alice", "bob"}, TwoComponents());
  for (uint64_t i = 0; i < 6; ++i) Write(handles_[0], i * kRecordBytes, i + 1);
  EXPECT_GT(clients_[0]->state()->held_budget.bytes.load(), 0u);
  for (const char* oss : {"oss0", "oss1"}) cluster_.network()->Partition("alice", oss);
  EXPECT_LT(Write(handles_[1], 3 * kMebibyte, 9), std::chrono::seconds(5));
  for (const char* oss : {"oss0", "oss1"}) cluster_.network()->Heal("alice", oss);
  for (uint64_t i = 0; i < 6; ++i) ExpectRecord(handles_[1], i * kRecordBytes, i + 1);
}

async::Task<void> SwapWith(Handle handle, Fid other) {
  const Status swapped = co_await handle.fs->SwapLayouts(0, handle.fid, handle.id, other);
  EXPECT_TRUE(swapped) << (swapped ? "" : swapped.error().ToString());
}

TEST_F(SimLayoutFaults, TheLockGoesWithTheLastHandleThatTheMdsKnows) {
  Start({"bob", "alice"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  Fid other;
  cluster_.Run(MakeOther(clients_[0], 2, &other));
  cluster_.Run([](Handle alice, Handle bob) -> async::Task<void> {
    EXPECT_TRUE(co_await alice.fs->Close(alice.fid, alice.id));
    EXPECT_TRUE(co_await bob.fs->Fsync(bob.fid));
    EXPECT_TRUE(co_await bob.fs->Close(bob.fid, bob.id));
  }(handles_[1], handles_[0]));
  Handle known;
  Handle local;
  cluster_.Run([](Filesystem* fs, Fid fid, Handle* first, Handle* second) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, fid, O_RDONLY | O_NOATIME);
    EXPECT_TRUE(opened);
    if (opened) *first = {fs, fid, opened->handle};
    co_await fs->state()->Here()->TellOpensOf({fid});
    co_await ReadOne(*first, 0, 1);
    co_await OpenToRead(fs, fid, second);
    EXPECT_TRUE(fs->state()->files.Find(fid)->IsLocal(second->id)) << "or this shows nothing";
    EXPECT_TRUE(co_await fs->Close(fid, first->id));
  }(clients_[1], handles_[0].fid, &known, &local));
  // The MDS has let go of the lock, and calls nobody back.
  EXPECT_FALSE(clients_[1]->state()->files.Find(local.fid)->layout_lock()->origin());
  ExpectRecord(local, 0, 1);
  Handle bob;
  cluster_.Run([](Filesystem* fs, Fid fid, Handle* out) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, fid, O_RDWR);
    EXPECT_TRUE(opened);
    if (opened) *out = {fs, fid, opened->handle};
  }(clients_[0], handles_[0].fid, &bob));
  cluster_.Run(SwapWith(bob, other));
  ExpectRecord(local, 0, 2);
}

TEST_F(SimLayoutFaults, AFileOpenedWithoutTheMdsIsMigratedAndExchanged) {
  Start({"bob", "alice"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  Fid other;
  cluster_.Run(MakeOther(clients_[0], 2, &other));
  cluster_.Run([](Handle alice, Handle bob) -> async::Task<void> {
    EXPECT_TRUE(co_await alice.fs->Close(alice.fid, alice.id));
    EXPECT_TRUE(co_await bob.fs->Close(bob.fid, bob.id));
  }(handles_[1], handles_[0]));
  for (const bool exchange : {false, true}) {
    Handle local;
    cluster_.Run(OpenToRead(clients_[1], handles_[0].fid, &local));
    EXPECT_TRUE(clients_[1]->state()->files.Find(local.fid)->IsLocal(local.id));
    if (exchange) {
      cluster_.Run(SwapWith(local, other));
    } else {
      ExpectMigrated(local, Plain(2, 65536));
    }
    ExpectRecord(local, 0, exchange ? 2 : 1);
    cluster_.Run([](Handle handle) -> async::Task<void> {
      EXPECT_TRUE(co_await handle.fs->Close(handle.fid, handle.id));
    }(local));
  }
}

TEST_F(SimLayoutFaults, LocksOfFilesThatWereOpenedWithoutTheMdsAreGivenBack) {
  constexpr int kFiles = 1000;
  clients_ = {cluster_.AddClient("alice"), cluster_.AddClient("bob")};
  std::vector<Fid> files(kFiles);
  cluster_.Run([](Filesystem* fs, std::vector<Fid>* out) -> async::Task<void> {
    for (int i = 0; i < kFiles; ++i) {
      client::CreateOptions options{.mode = 0644, .flags = O_RDWR | O_CREAT};
      const auto opened =
          co_await fs->Create(0, fs->root(), "f" + std::to_string(i), std::move(options));
      EXPECT_TRUE(opened);
      if (!opened) co_return;
      (*out)[static_cast<size_t>(i)] = opened->attr.fid;
      EXPECT_TRUE(co_await fs->Write(opened->attr.fid, opened->handle, 0, RecordOf(1), {}));
      EXPECT_TRUE(co_await fs->Close(opened->attr.fid, opened->handle));
    }
  }(clients_[0], &files));
  const auto read_all = [](Filesystem* fs, std::vector<Fid> fids) -> async::Task<void> {
    for (const Fid& fid : fids) {
      Handle local;
      co_await OpenToRead(fs, fid, &local);
      co_await ReadOne(local, 0, 1);
      EXPECT_TRUE(co_await fs->Close(fid, local.id));
    }
  };
  cluster_.Run(read_all(clients_[1], files));
  Pass(std::chrono::seconds(2));
  // Those that are left are fewer than what is given back at once.
  EXPECT_LT(clients_[1]->state()->idle_layouts.size(), client::IdleLayouts::kBatch);
  clients_[1]->state()->locks.Trim(0);
  clients_[0]->state()->locks.Trim(0);
  cluster_.Run([](Filesystem* a, Filesystem* b) -> async::Task<void> {
    for (Filesystem* fs : {a, b}) fs->state()->Here()->TrimLocks(true);
    co_await async::Shard::Current()->Sleep(std::chrono::seconds(1));
  }(clients_[0], clients_[1]));
  EXPECT_LE(cluster_.mds()->lock_counts().granted, client::IdleLayouts::kBatch + 10);
  // And are asked for again.
  cluster_.Run(read_all(clients_[1], files));
}

// Who is cut off from the MDS goes on by what it knows; not with bytes that were replaced.
TEST_F(SimLayoutFaults, AReaderThatIsCutOffSeesNoReplacedBytes) {
  Start({"alice", "bob", "carol"}, Plain(1, kMebibyte));
  Write(handles_[1], 0, 1, {.direct = true});
  ExpectRecord(handles_[0], 0, 1);
  cluster_.network()->Partition("alice", "mds0");
  cluster_.network()->Break("alice", "mds0");
  Fid other;
  cluster_.Run(MakeOther(clients_[1], 2, &other));
  cluster_.Run(SwapWith(handles_[2], other));
  const auto reading = cluster_.Begin(ReadOne(handles_[0], 0, 2));
  Pass(std::chrono::seconds(8));
  cluster_.network()->Heal("alice", "mds0");
  cluster_.Finish(reading);
}

// Its size is the other file's from then on, whatever its writer knows.
TEST_F(SimLayoutFaults, AWriterThatClosesAfterAnExchangeReportsNoOldSize) {
  Start({"alice"}, Plain(1, kMebibyte));
  clients_.push_back(cluster_.AddClient("bob"));
  Write(handles_[0], 3 * kRecordBytes, 1);
  Fid other;
  cluster_.Run(MakeOther(clients_[1], 2, &other));
  cluster_.Run([](Handle alice, Filesystem* fs, Fid second) -> async::Task<void> {
    Handle bob;
    co_await OpenToRead(fs, alice.fid, &bob);
    co_await SwapWith(bob, second);
    EXPECT_TRUE(co_await alice.fs->Close(alice.fid, alice.id));
    const auto attr = co_await fs->GetAttr(0, alice.fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->size, kRecordBytes);
    co_await ReadOne(bob, 0, 2);
  }(handles_[0], clients_[1], other));
}

// Writers are answered, the OSS dies, the file is migrated: nobody loses anything or hears of it.
void RunOssDeaths(bool power_cuts) {
  const uint64_t seed = TestSeed();
  Random random(seed);
  SimCluster cluster({.seed = seed});
  std::vector<Filesystem*> clients;
  for (const char* name : {"alice", "bob"}) clients.push_back(cluster.AddClient(name));
  std::vector<Handle> handles;
  cluster.Run(OpenAll(clients, Plain(2, 65536), &handles));
  ASSERT_EQ(handles.size(), 2u);
  constexpr uint64_t kSlots = 20;
  uint64_t written[kSlots] = {};
  int migrated = 0;
  for (uint64_t round = 1; round <= 12 && !::testing::Test::HasFailure(); ++round) {
    bool at_work = true;
    const auto writing = cluster.Begin(
        [](Handle alice, uint64_t version, bool* on, uint64_t* out) -> async::Task<void> {
          const std::vector<std::byte> record = RecordOf(version);
          for (uint64_t slot = 0; *on && !::testing::Test::HasFailure(); ++slot) {
            const uint64_t at = slot % kSlots;
            const auto wrote = co_await alice.fs->Write(alice.fid, alice.id, at * kRecordBytes,
                                                        record, {.direct = slot % 3 == 0});
            EXPECT_TRUE(wrote && *wrote == kRecordBytes)
                << (wrote ? "" : wrote.error().ToString());
            out[at] = version;
            co_await async::Shard::Current()->Sleep(std::chrono::microseconds(300));
          }
        }(handles[0], round, &at_work, written));
    const auto moving = cluster.Begin([](Handle bob, bool one, int* count) -> async::Task<void> {
      const Status moved = co_await Migrate(bob, one ? Plain(1, kMebibyte) : Plain(2, 65536), true);
      if (moved) ++*count;
    }(handles[1], round % 2 != 0, &migrated));
    async::RunFor(cluster.shard(), std::chrono::microseconds(500 + random.Below(20'000)));
    if (power_cuts) {
      cluster.PowerCutOss(&random);
    } else {
      cluster.KillOss();
    }
    async::RunFor(cluster.shard(), std::chrono::milliseconds(random.Below(3000)));
    at_work = false;
    cluster.Finish(writing);
    cluster.Finish(moving);
    cluster.Run([](Handle alice, Handle bob, const uint64_t* versions) -> async::Task<void> {
      const Status synced = co_await alice.fs->Fsync(alice.fid);
      EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
      for (uint64_t slot = 0; slot < kSlots; ++slot) {
        if (versions[slot] == 0) continue;
        std::vector<std::byte> got(kRecordBytes);
        const auto read = co_await bob.fs->Read(bob.fid, bob.id, slot * kRecordBytes, got);
        EXPECT_TRUE(read && *read == kRecordBytes && got == RecordOf(versions[slot]))
            << "slot " << slot;
      }
    }(handles[0], handles[1], written));
  }
  EXPECT_GT(migrated, 0);
}

TEST(SimLayoutDeaths, NothingIsLostWhenTheOssLosesPowerWhileAFileIsMigrated) {
  RunOssDeaths(true);
}

TEST(SimLayoutDeaths, NorWhenItsProcessIsKilled) { RunOssDeaths(false); }

}  // namespace
}  // namespace sheen::test
