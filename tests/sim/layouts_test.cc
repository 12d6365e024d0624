// Layouts under locks: a layout is what it is on every client, while components come into being and
// while the file is migrated to and fro under its readers and writers.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "client/state.h"
#include "sheen/v1/mds.pb.h"
#include "layout_rig.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr uint64_t kSlots = 80;

// Records of one file: a read shows what had been answered when it began, or something newer.
class Records final {
 public:
  explicit Records(uint64_t seed) : random_(seed) {}

  async::Task<void> Work(Handle handle, int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      const uint64_t slot = random_.Below(kSlots);
      if (random_.Below(10) < 6) {
        co_await WriteOne(handle, slot);
      } else {
        co_await ReadOne(handle, slot);
      }
      co_await async::Shard::Current()->Sleep(std::chrono::microseconds(random_.Below(900)));
    }
    ++ended;
  }
  async::Task<void> CheckAll(Handle handle) {
    for (uint64_t slot = 0; slot < kSlots; ++slot) co_await ReadOne(handle, slot);
    const auto attr = co_await handle.fs->GetAttr(0, handle.fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->size, end_);
  }
  int ended = 0;

 private:
  async::Task<void> WriteOne(Handle handle, uint64_t slot) {
    if (busy_[slot]) co_return;
    busy_[slot] = true;
    const uint64_t version = ++started_[slot];
    const std::vector<std::byte> record = RecordOf(version);
    const auto wrote =
        co_await handle.fs->Write(handle.fid, handle.id, slot * kRecordBytes, record, {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    if (wrote) EXPECT_EQ(*wrote, kRecordBytes);
    answered_[slot] = version;
    end_ = std::max(end_, (slot + 1) * kRecordBytes);
    busy_[slot] = false;
  }
  async::Task<void> ReadOne(Handle handle, uint64_t slot) {
    const uint64_t least = answered_[slot];
    const uint64_t end = end_;
    std::vector<std::byte> got(kRecordBytes);
    const auto read = co_await handle.fs->Read(handle.fid, handle.id, slot * kRecordBytes, got);
    EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
    if (!read) co_return;
    if ((slot + 1) * kRecordBytes <= end) EXPECT_EQ(*read, kRecordBytes) << "slot " << slot;
    for (size_t at = 0; at + sizeof(uint64_t) <= *read; at += sizeof(uint64_t)) {
      uint64_t version = 0;
      std::memcpy(&version, got.data() + at, sizeof version);
      EXPECT_GE(version, least) << "slot " << slot << " at " << at;
      EXPECT_LE(version, started_[slot]) << "slot " << slot << " at " << at;
      if (::testing::Test::HasFailure()) co_return;
    }
  }

  Random random_;
  std::map<uint64_t, uint64_t> started_;
  std::map<uint64_t, uint64_t> answered_;
  std::map<uint64_t, bool> busy_;
  uint64_t end_ = 0;
};

TEST(SimLayouts, AnInstantiationCallsTheLayoutBackFromOthers) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  cluster.Run([](Filesystem* a, Filesystem* b) -> async::Task<void> {
    std::vector<Handle> handles;
    co_await OpenAll({a, b}, TwoComponents(), &handles);
    EXPECT_EQ(handles.size(), 2u);
    if (handles.size() != 2) co_return;
    const std::vector<std::byte> record = RecordOf(7);
    std::vector<std::byte> got(kRecordBytes);
    EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, 0, record, {}));
    EXPECT_TRUE(co_await b->Read(handles[1].fid, handles[1].id, 0, got));
    EXPECT_TRUE(HoldsLayout(handles[1])) << "it came with the open";
    const uint32_t before = GenerationAt(handles[1]);
    EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, 3 * kMebibyte, record, {}));
    EXPECT_FALSE(HoldsLayout(handles[1])) << "the second component has objects now";
    EXPECT_TRUE(HoldsLayout(handles[0])) << "it came with the answer";
    const auto read = co_await b->Read(handles[1].fid, handles[1].id, 3 * kMebibyte, got);
    EXPECT_TRUE(read && *read == kRecordBytes && got == record);
    EXPECT_GT(GenerationAt(handles[1]), before);
    EXPECT_TRUE(HoldsLayout(handles[1]));
  }(alice, bob));
}

TEST(SimLayouts, WhatIsHeldBackReachesTheOldObjectsBeforeTheyAreReplaced) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  cluster.Run([](Filesystem* a, Filesystem* b) -> async::Task<void> {
    std::vector<Handle> handles;
    co_await OpenAll({a, b}, Plain(1, kMebibyte), &handles);
    EXPECT_EQ(handles.size(), 2u);
    if (handles.size() != 2) co_return;
    for (uint64_t slot = 0; slot < 6; ++slot) {
      EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, slot * kRecordBytes,
                                    RecordOf(slot + 1), {}));
    }
    EXPECT_GT(a->state()->held_budget.bytes.load(), 0u);
    const Status moved = co_await Migrate(handles[1], Plain(2, 65536), true);
    EXPECT_TRUE(moved) << (moved ? "" : moved.error().ToString());
    // The writer goes on, on the new objects, and sees its own bytes there.
    const Handle& writer = handles[0];
    EXPECT_TRUE(co_await a->Write(writer.fid, writer.id, 6 * kRecordBytes, RecordOf(7), {}));
    for (uint64_t slot = 0; slot < 7; ++slot) {
      std::vector<std::byte> got(kRecordBytes);
      EXPECT_TRUE(co_await b->Read(handles[1].fid, handles[1].id, slot * kRecordBytes, got));
      EXPECT_TRUE(got == RecordOf(slot + 1)) << slot;
      EXPECT_TRUE(co_await a->Read(handles[0].fid, handles[0].id, slot * kRecordBytes, got));
      EXPECT_TRUE(got == RecordOf(slot + 1)) << slot;
    }
    EXPECT_EQ(a->state()->files.Find(handles[0].fid)->layout()->components[0].osts.size(), 2u);
    EXPECT_TRUE(co_await a->Fsync(handles[0].fid));
  }(alice, bob));
}

TEST(SimLayouts, WhoDoesNotBlockGivesUpWhenTheFileWasWritten) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  cluster.Run([](Filesystem* a, Filesystem* b) -> async::Task<void> {
    std::vector<Handle> handles;
    co_await OpenAll({a, b}, Plain(1, kMebibyte), &handles);
    EXPECT_EQ(handles.size(), 2u);
    if (handles.size() != 2) co_return;
    EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, 0, RecordOf(1), {}));
    const Handle& mover = handles[1];
    EXPECT_TRUE(co_await b->BeginCopy(0, mover.fid, mover.id, Plain(2, 65536)));
    EXPECT_TRUE(co_await CopyAll(mover));
    EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, 0, RecordOf(2), {}));
    const auto complete = co_await b->HoldLayout(mover.fid, mover.id);
    EXPECT_TRUE(complete && !*complete);
    // Nor can whoever goes on where the copy ended exchange what lacks the second record.
    EXPECT_FALSE(co_await b->CopySome(mover.fid, mover.id, kRecordBytes, kMebibyte));
    EXPECT_FALSE(co_await b->FinishCopy(mover.fid, mover.id));
    b->EndCopy(mover.fid, mover.id);
    // The hold ends with it: the writer goes on, on the same objects.
    EXPECT_TRUE(co_await a->Write(handles[0].fid, handles[0].id, 0, RecordOf(3), {}));
    std::vector<std::byte> got(kRecordBytes);
    EXPECT_TRUE(co_await b->Read(mover.fid, mover.id, 0, got));
    EXPECT_TRUE(got == RecordOf(3));
    EXPECT_EQ(a->state()->files.Find(mover.fid)->layout()->components[0].osts.size(), 1u);
  }(alice, bob));
}

TEST(SimLayouts, TwoFilesChangeBytesAndSizes) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  cluster.Run([](Filesystem* a, Filesystem* b) -> async::Task<void> {
    const auto one = co_await a->Create(0, a->root(), "one", {.mode = 0644, .flags = O_RDWR});
    const auto two = co_await a->Create(0, a->root(), "two", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(one && two);
    if (!one || !two) co_return;
    EXPECT_TRUE(co_await a->Write(one->attr.fid, one->handle, 0, RecordOf(1), {}));
    EXPECT_TRUE(co_await a->Write(two->attr.fid, two->handle, kRecordBytes, RecordOf(2), {}));
    const auto reader = co_await b->Open(0, one->attr.fid, O_RDWR);
    EXPECT_TRUE(reader);
    std::vector<std::byte> got(kRecordBytes);
    EXPECT_TRUE(co_await b->Read(one->attr.fid, reader->handle, 0, got));
    const Status swapped = co_await b->SwapLayouts(0, one->attr.fid, reader->handle, two->attr.fid);
    EXPECT_TRUE(swapped) << (swapped ? "" : swapped.error().ToString());
    const auto size_one = co_await a->GetAttr(0, one->attr.fid);
    const auto size_two = co_await b->GetAttr(0, two->attr.fid);
    EXPECT_TRUE(size_one && size_one->size == 2 * kRecordBytes);
    EXPECT_TRUE(size_two && size_two->size == kRecordBytes);
    EXPECT_TRUE(co_await a->Read(two->attr.fid, two->handle, 0, got));
    EXPECT_TRUE(got == RecordOf(1));
    EXPECT_TRUE(co_await b->Read(one->attr.fid, reader->handle, kRecordBytes, got));
    EXPECT_TRUE(got == RecordOf(2));
  }(alice, bob));
}

// Two clients at work, a third that migrates all the time.
void RunMigrations(SimOptions options, int steps, int* migrated) {
  Random random(options.seed);
  SimCluster cluster(options);
  std::vector<Filesystem*> clients;
  for (const char* name : {"alice", "bob", "carol"}) clients.push_back(cluster.AddClient(name));
  std::vector<Handle> handles;
  cluster.Run(OpenAll(clients, TwoComponents(), &handles));
  ASSERT_EQ(handles.size(), 3u);
  Records records(random.Next());
  const auto first = cluster.Begin(records.Work(handles[0], steps));
  const auto second = cluster.Begin(records.Work(handles[1], steps));
  cluster.Run([](Records* at_work, Handle handle, Random* dice, int* count) -> async::Task<void> {
    const std::string layouts[] = {Plain(2, 65536), Plain(1, kMebibyte), TwoComponents(), ""};
    while (at_work->ended < 2 && !::testing::Test::HasFailure()) {
      const bool block = dice->Below(3) != 0;
      const Status moved = co_await Migrate(handle, layouts[dice->Below(4)], block);
      if (moved) ++*count;
      const Errc code = moved ? Errc::kOk : moved.error().code();
      EXPECT_TRUE(moved || (!block && code == Errc::kBusy) || code == Errc::kAgain)
          << moved.error().ToString();
      co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(dice->Below(20)));
    }
  }(&records, handles[2], &random, migrated));
  cluster.Finish(first);
  cluster.Finish(second);
  for (const Handle& handle : handles) cluster.Run(records.CheckAll(handle));
}

TEST(SimLayouts, NoByteIsLostWhileTheFileIsMigrated) {
  const uint64_t seed = TestSeed();
  int migrated = 0;
  for (uint64_t round = 0; round < 4; ++round) {
    RunMigrations({.seed = seed + round}, 150, &migrated);
  }
  EXPECT_GT(migrated, 0);
}

TEST(SimLayouts, NorOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  int migrated = 0;
  for (uint64_t round = 0; round < 4; ++round) {
    RunMigrations({.seed = seed + round, .break_one_in = 700}, 150, &migrated);
  }
  EXPECT_GT(migrated, 0);
}

TEST(SimLayouts, ARestartOfTheMdsEndsAHoldAndTheFileIsAsItWas) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  std::vector<Handle> handles;
  cluster.Run(OpenAll({alice, bob}, Plain(1, kMebibyte), &handles));
  ASSERT_EQ(handles.size(), 2u);
  cluster.Run([](Handle a, Handle b) -> async::Task<void> {
    EXPECT_TRUE(co_await a.fs->Write(a.fid, a.id, 0, RecordOf(1), {}));
    EXPECT_TRUE(co_await b.fs->BeginCopy(0, b.fid, b.id, Plain(2, 65536)));
    EXPECT_TRUE(co_await CopyAll(b));
    const auto complete = co_await b.fs->HoldLayout(b.fid, b.id);
    EXPECT_TRUE(complete && *complete);
  }(handles[0], handles[1]));
  cluster.RestartMds();
  cluster.Run([](Handle a, Handle b) -> async::Task<void> {
    // Not held any more, and fenced at a generation that the file has.
    const auto wrote = co_await a.fs->Write(a.fid, a.id, 0, RecordOf(2), {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    const Status finished = co_await b.fs->FinishCopy(b.fid, b.id);
    EXPECT_FALSE(finished);
    if (!finished) EXPECT_EQ(finished.error().code(), Errc::kAgain);
    b.fs->EndCopy(b.fid, b.id);
    std::vector<std::byte> got(kRecordBytes);
    EXPECT_TRUE(co_await b.fs->Read(b.fid, b.id, 0, got));
    EXPECT_TRUE(got == RecordOf(2));
  }(handles[0], handles[1]));
}

TEST(SimLayouts, OpenFilesGoOnWhileTheMdsIsAway) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  std::vector<Handle> handles;
  cluster.Run(OpenAll({alice}, Plain(1, kMebibyte), &handles));
  ASSERT_EQ(handles.size(), 1u);
  cluster.Run([](Handle a) -> async::Task<void> {
    EXPECT_TRUE(co_await a.fs->Write(a.fid, a.id, 0, RecordOf(1), {}));
  }(handles[0]));
  cluster.StopMds();
  cluster.Run([](Handle a) -> async::Task<void> {
    for (uint64_t slot = 1; slot < 20; ++slot) {
      const Nanos began = async::Shard::Current()->Now();
      EXPECT_TRUE(co_await a.fs->Write(a.fid, a.id, slot * kRecordBytes, RecordOf(slot), {}));
      EXPECT_LT(async::Shard::Current()->Now() - began, std::chrono::seconds(2));
      co_await async::Shard::Current()->Sleep(std::chrono::seconds(1));
    }
  }(handles[0]));
  cluster.StartMds();
}

}  // namespace
}  // namespace sheen::test
