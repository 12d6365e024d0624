// Write-behind: what one client was answered for, every other sees at once, although it is still
// held; over broken connections and restarts of the OSSs. And what becomes of it when its client is
// cut off.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "client/state.h"
#include "sheen/v1/mds.pb.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr uint64_t kRecordBytes = 47'008;
constexpr uint64_t kSlots = 60;

uint64_t HeldBytes(Filesystem* fs) { return fs->state()->held_budget.bytes.load(); }

std::vector<std::byte> RecordOf(uint64_t version) {
  std::vector<std::byte> record(kRecordBytes);
  for (size_t at = 0; at < kRecordBytes; at += sizeof version) {
    std::memcpy(record.data() + at, &version, sizeof version);
  }
  return record;
}

struct Handle {
  Filesystem* fs = nullptr;
  Fid fid;
  uint64_t id = 0;
};

async::Task<void> OpenAll(std::vector<Filesystem*> clients, std::vector<Handle>* out) {
  for (Filesystem* fs : clients) {
    auto opened = co_await fs->Create(0, fs->root(), "shared", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
    if (opened) out->push_back({fs, opened->attr.fid, opened->handle});
  }
}

// Records of one file, written by whoever; read, each word must be as new as what was answered
// when the read began.
class Records final {
 public:
  explicit Records(uint64_t seed) : random_(seed) {}
  uint64_t held_seen() const { return held_seen_; }

  async::Task<void> Work(Handle handle, int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      // Runs of neighbours, as programs write; and some anywhere.
      if (random_.OneIn(8)) position_[handle.fs] = random_.Below(kSlots);
      const uint64_t choice = random_.Below(10);
      if (choice < 7) {
        const uint64_t slot = position_[handle.fs]++ % kSlots;
        co_await WriteOne(handle, slot);
      } else if (choice < 9) {
        co_await ReadOne(handle, random_.Below(kSlots));
      } else {
        co_await Look(handle);
      }
    }
  }
  async::Task<void> CheckAll(Handle handle) {
    for (uint64_t slot = 0; slot < kSlots; ++slot) co_await ReadOne(handle, slot);
  }

 private:
  async::Task<void> WriteOne(Handle handle, uint64_t slot) {
    if (busy_[slot]) co_return;  // of two writers at once either may win
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
    if (HeldBytes(handle.fs) > 0) ++held_seen_;
  }
  async::Task<void> ReadOne(Handle handle, uint64_t slot) {
    const uint64_t at_least = answered_[slot];
    std::vector<std::byte> out(kRecordBytes);
    const auto read =
        co_await handle.fs->Read(handle.fid, handle.id, slot * kRecordBytes, out);
    EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
    if (!read) co_return;
    if (at_least > 0) EXPECT_EQ(*read, kRecordBytes) << "slot " << slot;
    for (size_t at = 0; at + sizeof(uint64_t) <= *read; at += sizeof(uint64_t)) {
      uint64_t version = 0;
      std::memcpy(&version, out.data() + at, sizeof version);
      const bool right = version >= at_least && version <= started_[slot];
      EXPECT_TRUE(right) << "slot " << slot << " at " << at << ": version " << version
                         << ", answered " << at_least << ", begun " << started_[slot];
      if (!right) co_return;
    }
  }
  // Sizes and syncs.
  async::Task<void> Look(Handle handle) {
    const uint64_t at_least = end_;
    if (random_.OneIn(3)) {
      const Status synced = co_await handle.fs->Fsync(handle.fid);
      EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
    }
    const auto attr = co_await handle.fs->GetAttr(0, handle.fid);
    EXPECT_TRUE(attr) << (attr ? "" : attr.error().ToString());
    if (attr) EXPECT_GE(attr->size, at_least);
  }

  Random random_;
  std::map<Filesystem*, uint64_t> position_;
  uint64_t started_[kSlots] = {};
  uint64_t answered_[kSlots] = {};
  bool busy_[kSlots] = {};
  uint64_t end_ = 0;
  uint64_t held_seen_ = 0;
};

struct Trial {
  SimOptions options;
  bool restarts = false;
  int rounds = 6;
  int steps = 60;
};

async::Task<void> WorkAll(Records* records, std::vector<Handle> handles, int steps) {
  std::vector<async::Task<void>> tasks;
  int left = static_cast<int>(handles.size());
  async::OneShot<bool> done;
  for (const Handle& handle : handles) {
    async::Shard::Current()->Spawn(
        [](Records* r, Handle h, int n, int* count, async::OneShot<bool>* end)
            -> async::Task<void> {
          co_await r->Work(h, n);
          if (--*count == 0) end->Set(true);
        }(records, handle, steps, &left, &done));
  }
  co_await done;
}

void RunTrial(Trial trial) {
  trial.options.seed = TestSeed();
  trial.options.checks_exclusive = true;
  SimCluster cluster(trial.options);
  std::vector<Filesystem*> clients;
  for (const char* name : {"alice", "bob", "carol"}) clients.push_back(cluster.AddClient(name));
  std::vector<Handle> handles;
  cluster.Run(OpenAll(clients, &handles));
  Records records(trial.options.seed);
  for (int round = 0; round < trial.rounds && !::testing::Test::HasFailure(); ++round) {
    // Alone a client holds; together they take turns.
    if (round % 2 == 0) {
      cluster.Run(WorkAll(&records, handles, trial.steps));
    } else {
      const size_t one = static_cast<size_t>(round / 2) % handles.size();
      async::RunFor(cluster.shard(), std::chrono::seconds(2));
      cluster.Run(records.Work(handles[one], trial.steps));
    }
    if (trial.restarts) cluster.RestartOss();
    if (trial.restarts && round % 3 == 2) cluster.RestartMds();
  }
  for (const Handle& handle : handles) cluster.Run(records.CheckAll(handle));
  EXPECT_GT(records.held_seen(), 10U) << "nothing was held";
  EXPECT_GT(cluster.exclusive_seen().locks, 10U);
}

TEST(SimHeldWritesTest, WhatWasAnsweredIsSeenByAll) { RunTrial({}); }

TEST(SimHeldWritesTest, OverBrokenConnections) { RunTrial({.options = {.break_one_in = 60}}); }

TEST(SimHeldWritesTest, OverRestartsOfTheServers) { RunTrial({.restarts = true}); }

TEST(SimHeldWritesTest, OverRestartsAndBrokenConnections) {
  RunTrial({.options = {.break_one_in = 100}, .restarts = true});
}

// ---- one client that holds, and what happens to it ----

class SimHeldScene : public ::testing::Test {
 protected:
  SimHeldScene() : cluster_({.seed = TestSeed()}) {
    std::string lost = (std::filesystem::temp_directory_path() / "sheen-held-XXXXXX").string();
    if (::mkdtemp(lost.data()) != nullptr) lost_ = lost;
    client::Options options;
    options.lost_data = lost_;
    alice_ = cluster_.AddClient("alice", options);
    bob_ = cluster_.AddClient("bob");
    cluster_.Run(OpenAll({alice_, bob_}, &handles_));
  }
  ~SimHeldScene() override { std::filesystem::remove_all(lost_); }
  // Of Alice, who ends: what she saved, by offset, the lengths.
  std::map<uint64_t, uint64_t> Saved(std::string* bytes) {
    EXPECT_TRUE(cluster_.RemoveClient(alice_));
    std::map<uint64_t, uint64_t> ranges;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(lost_)) {
      std::ifstream file(entry.path(), std::ios::binary);
      if (entry.path().extension() == ".data") bytes->assign(std::istreambuf_iterator(file), {});
      uint64_t offset = 0;
      uint64_t length = 0;
      while (entry.path().extension() == ".ranges" && file >> offset >> length) {
        ranges[offset] = length;
      }
    }
    return ranges;
  }
  // Alice writes until she holds something.
  void HoldSome() {
    for (uint64_t slot = 0; slot < 4; ++slot) Write(0, slot, 1);
    ASSERT_GT(HeldBytes(alice_), 0U);
  }
  void Write(size_t who, uint64_t slot, uint64_t version) {
    const std::vector<std::byte> record = RecordOf(version);
    cluster_.Run([](Handle h, uint64_t at, ByteSpan data) -> async::Task<void> {
      const auto wrote = co_await h.fs->Write(h.fid, h.id, at, data, {});
      EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    }(handles_[who], slot * kRecordBytes, record));
  }
  // The version there; 0: nothing.
  uint64_t Read(size_t who, uint64_t slot) {
    uint64_t version = 0;
    cluster_.Run([](Handle h, uint64_t at, uint64_t* out) -> async::Task<void> {
      std::vector<std::byte> word(sizeof *out);
      const auto read = co_await h.fs->Read(h.fid, h.id, at, word);
      EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
      if (read && *read == word.size()) std::memcpy(out, word.data(), word.size());
    }(handles_[who], slot * kRecordBytes, &version));
    return version;
  }
  Status Fsync(size_t who) {
    Status synced;
    cluster_.Run([](Handle h, Status* out) -> async::Task<void> {
      *out = co_await h.fs->Fsync(h.fid);
    }(handles_[who], &synced));
    return synced;
  }
  void Cut(const std::string& node) {
    for (const char* oss : {"oss0", "oss1"}) cluster_.network()->Partition(node, oss);
  }
  void Heal(const std::string& node) {
    for (const char* oss : {"oss0", "oss1"}) cluster_.network()->Heal(node, oss);
  }

  SimCluster cluster_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
  std::vector<Handle> handles_;
  std::filesystem::path lost_;
};

TEST_F(SimHeldScene, AnotherReadsWhatIsHeldAndTheHolderHoldsNoMore) {
  HoldSome();
  EXPECT_EQ(Read(1, 3), 1U);
  EXPECT_EQ(HeldBytes(alice_), 0U);
  // For a while others' interest is remembered.
  Write(0, 4, 1);
  EXPECT_EQ(HeldBytes(alice_), 0U);
}

TEST_F(SimHeldScene, NothingIsHeldForLongerThanTwoSeconds) {
  HoldSome();
  async::RunFor(cluster_.shard(), std::chrono::seconds(2));
  EXPECT_EQ(HeldBytes(alice_), 0U);
}

TEST_F(SimHeldScene, ATimeThatIsSetComesAfterWhatWasWrittenBefore) {
  HoldSome();
  static constexpr int64_t kThen = 1'000'000'000'000'000'000;
  cluster_.Run([](Handle h) -> async::Task<void> {
    client::AttrChange change;
    change.valid = v1::SET_MTIME;
    change.mtime_ns = kThen;
    const auto set = co_await h.fs->SetAttr(0, h.fid, change, h.id);
    EXPECT_TRUE(set) << (set ? "" : set.error().ToString());
    const auto attr = co_await h.fs->GetAttr(0, h.fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->mtime_ns, kThen);
  }(handles_[0]));
  async::RunFor(cluster_.shard(), std::chrono::seconds(3));
  cluster_.Run([](Handle h) -> async::Task<void> {
    const auto attr = co_await h.fs->GetAttr(0, h.fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->mtime_ns, kThen);
    if (attr) EXPECT_EQ(attr->size, 4 * kRecordBytes);
  }(handles_[1]));
}

// Bob is served after the bound; what Alice still held never lands on what he wrote, and she hears.
TEST_F(SimHeldScene, WhatAClientHeldThatWasCutOffIsRefusedAndTold) {
  HoldSome();
  Cut("alice");
  const Nanos begun = cluster_.shard()->Now();
  Write(1, 3, 77);
  EXPECT_LE(cluster_.shard()->Now() - begun, std::chrono::seconds(25));
  Heal("alice");
  async::RunFor(cluster_.shard(), std::chrono::seconds(40));
  EXPECT_EQ(Read(1, 3), 77U);
  const Status synced = Fsync(0);
  ASSERT_FALSE(synced);
  EXPECT_EQ(synced.error().code(), Errc::kLockLost) << synced.error().ToString();
  // Told once; the file works on.
  EXPECT_TRUE(Fsync(0));
  Write(0, 3, 78);
  EXPECT_EQ(Read(1, 3), 78U);
}

TEST_F(SimHeldScene, WhatComesTooLateIsSavedOnTheClientsMachine) {
  HoldSome();
  const uint64_t held = HeldBytes(alice_);
  Cut("alice");
  Write(1, 3, 77);
  Heal("alice");
  EXPECT_FALSE(Fsync(0));
  std::string bytes;
  const std::map<uint64_t, uint64_t> saved = Saved(&bytes);
  uint64_t total = 0;
  for (const auto& [offset, length] : saved) {
    total += length;
    ASSERT_LE(offset + length, bytes.size());
    for (uint64_t at = offset; at < offset + length; at += sizeof(uint64_t)) {
      uint64_t word = 0;
      std::memcpy(&word, bytes.data() + at, sizeof word);
      ASSERT_EQ(word, 1U) << at;
    }
  }
  EXPECT_EQ(total, held);
}

TEST_F(SimHeldScene, AFlushTellsTheErrorOfWhatItSendsOnce) {
  HoldSome();
  Cut("alice");
  Write(1, 3, 77);
  Heal("alice");
  cluster_.Run([](Handle h) -> async::Task<void> {
    EXPECT_TRUE(h.fs->WriteError(h.fid)) << "it is not known yet";
    const Status flushed = co_await h.fs->Flush(h.fid);
    EXPECT_FALSE(flushed);
    if (!flushed) EXPECT_EQ(flushed.error().code(), Errc::kLockLost) << flushed.error().ToString();
    const Status again = co_await h.fs->Flush(h.fid);
    EXPECT_TRUE(again);
    const Status closed = co_await h.fs->Close(h.fid, h.id);
    EXPECT_TRUE(closed);
    const auto opened = co_await h.fs->Open(0, h.fid, O_RDWR);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  }(handles_[0]));
}

// The restarted OSS knows no locks: it waits for those who may have had some.
TEST_F(SimHeldScene, ARestartedServerWaitsForTheHolder) {
  HoldSome();
  Cut("alice");
  cluster_.RestartOss();
  bool read = false;
  uint64_t version = 0;
  cluster_.shard()->Post([this, &read, &version] {
    cluster_.shard()->Spawn([](Handle h, bool* done, uint64_t* out) -> async::Task<void> {
      std::vector<std::byte> word(sizeof *out);
      const auto got = co_await h.fs->Read(h.fid, h.id, 3 * kRecordBytes, word);
      if (got && *got == word.size()) std::memcpy(out, word.data(), word.size());
      *done = true;
    }(handles_[1], &read, &version));
  });
  async::RunFor(cluster_.shard(), std::chrono::seconds(5));
  EXPECT_FALSE(read);
  Heal("alice");
  async::RunFor(cluster_.shard(), std::chrono::seconds(30));
  EXPECT_TRUE(read);
  EXPECT_EQ(version, 1U);
  EXPECT_TRUE(Fsync(0));
}

// But not for ever; and who comes later has lost what it held.
TEST_F(SimHeldScene, AHolderThatComesTooLateAfterARestartHasLostWhatItHeld) {
  HoldSome();
  Cut("alice");
  cluster_.RestartOss();
  const Nanos begun = cluster_.shard()->Now();
  Write(1, 3, 77);
  EXPECT_LE(cluster_.shard()->Now() - begun, std::chrono::seconds(30));
  Heal("alice");
  async::RunFor(cluster_.shard(), std::chrono::seconds(60));
  EXPECT_EQ(Read(1, 3), 77U);
  EXPECT_FALSE(Fsync(0));
  EXPECT_EQ(Read(0, 3), 77U);
}

// Bob was served instead of Alice; that the server restarts before she hears changes nothing.
TEST_F(SimHeldScene, ALockThatWasTakenAwayStaysSoOverARestart) {
  HoldSome();
  Cut("alice");
  Write(1, 3, 77);
  cluster_.RestartOss();
  Heal("alice");
  async::RunFor(cluster_.shard(), std::chrono::seconds(60));
  EXPECT_EQ(Read(1, 3), 77U);
  EXPECT_FALSE(Fsync(0));
  EXPECT_EQ(Read(1, 3), 77U);
}

// The lock outlives the writer that asked for it, as somebody has the file open still: the next
// writer's first bytes are held, and are in what its close reports.
TEST_F(SimHeldScene, ASecondWritersCloseReportsWhatItHolds) {
  HoldSome();
  Handle reader = handles_[0];
  Handle writer = handles_[0];
  cluster_.Run([](Handle first, Handle* r, Handle* w) -> async::Task<void> {
    auto opened = co_await first.fs->Open(0, first.fid, O_RDONLY);
    EXPECT_TRUE(opened);
    if (opened) r->id = opened->handle;
    const Status closed = co_await first.fs->Close(first.fid, first.id);
    EXPECT_TRUE(closed);
    opened = co_await first.fs->Open(0, first.fid, O_RDWR);
    EXPECT_TRUE(opened);
    if (opened) w->id = opened->handle;
  }(handles_[0], &reader, &writer));
  handles_[0] = writer;
  Write(0, 4, 5);
  EXPECT_GT(HeldBytes(alice_), 0U) << "the scene needs it held";
  cluster_.Run([](Handle w, Handle r) -> async::Task<void> {
    EXPECT_TRUE(co_await w.fs->Close(w.fid, w.id));
    EXPECT_TRUE(co_await r.fs->Close(r.fid, r.id));
  }(writer, reader));
  cluster_.Run([](Handle bob) -> async::Task<void> {
    const auto attr = co_await bob.fs->GetAttr(0, bob.fid);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->size, 5 * kRecordBytes);
  }(handles_[1]));
  EXPECT_EQ(Read(1, 4), 5U);
}

// A server that stops in order lets nobody pass who waits for a lock.
TEST_F(SimHeldScene, AnOrderlyRestartKeepsWhatIsHeldUnderTheLock) {
  HoldSome();
  Cut("alice");
  bool wrote = false;
  const std::vector<std::byte> record = RecordOf(77);
  cluster_.shard()->Post([this, &wrote, &record] {
    cluster_.shard()->Spawn([](Handle h, ByteSpan data, bool* done) -> async::Task<void> {
      const auto written = co_await h.fs->Write(h.fid, h.id, 3 * kRecordBytes, data, {});
      EXPECT_TRUE(written) << (written ? "" : written.error().ToString());
      *done = true;
    }(handles_[1], record, &wrote));
  });
  async::RunFor(cluster_.shard(), std::chrono::seconds(1));
  EXPECT_FALSE(wrote);
  const Nanos begun = cluster_.shard()->Now();
  cluster_.RestartOss();
  EXPECT_LE(cluster_.shard()->Now() - begun, std::chrono::seconds(10));
  EXPECT_FALSE(wrote);
  Heal("alice");
  async::RunFor(cluster_.shard(), std::chrono::seconds(60));
  EXPECT_TRUE(wrote);
  EXPECT_TRUE(Fsync(0));
  EXPECT_EQ(Read(0, 3), 77U);
  EXPECT_EQ(Read(1, 2), 1U);
}

TEST_F(SimHeldScene, AnErrorAfterTheCloseIsToldToTheNextOpen) {
  HoldSome();
  Cut("alice");
  Write(1, 3, 77);
  Heal("alice");
  cluster_.Run([](Handle h) -> async::Task<void> {
    const Status closed = co_await h.fs->Close(h.fid, h.id);
    static_cast<void>(closed);
    auto opened = co_await h.fs->Open(0, h.fid, O_RDWR);
    EXPECT_FALSE(opened);
    if (!opened) EXPECT_EQ(opened.error().code(), Errc::kLockLost) << opened.error().ToString();
    opened = co_await h.fs->Open(0, h.fid, O_RDWR);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  }(handles_[0]));
  EXPECT_EQ(Read(1, 3), 77U);
}

}  // namespace
}  // namespace sheen::test
