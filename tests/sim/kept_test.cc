// What a client keeps until servers have committed it: whoever syncs, unmounts or gives up a call
// while it is being repeated.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"
#include "support/troubled_disk.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct File {
  Fid fid;
  uint64_t handle = 0;
};

async::Task<void> CreateTask(Filesystem* fs, std::string name, File* out) {
  const auto opened = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *out = {opened->attr.fid, opened->handle};
}

async::Task<void> WriteTask(Filesystem* fs, File file, std::string bytes) {
  const auto wrote =
      co_await fs->Write(file.fid, file.handle, 0, AsBytes(bytes), {.direct = true});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
}

// Under a lock once it has one.
async::Task<void> HoldTask(Filesystem* fs, File file) {
  const std::string bytes(8192, 'A');
  const auto wrote = co_await fs->Write(file.fid, file.handle, 0, AsBytes(bytes), {});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
}

async::Task<void> CloseTask(Filesystem* fs, File file) {
  const Status closed = co_await fs->Close(file.fid, file.handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> OpenTask(Filesystem* fs, Fid fid, int flags, File* out) {
  const auto opened = co_await fs->Open(0, fid, static_cast<uint32_t>(flags));
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *out = {fid, opened->handle};
}

async::Task<void> FsyncTask(Filesystem* fs, Fid fid, Status* out) {
  *out = co_await fs->Fsync(fid);
}

async::Task<void> ReadTask(Filesystem* fs, std::string name, std::string* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  EXPECT_TRUE(found) << name << (found ? "" : found.error().ToString());
  if (!found) co_return;
  const auto opened = co_await fs->Open(0, found->fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  std::string bytes(1 << 16, '?');
  const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(found->fid, opened->handle, 0, span);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  if (read) *out = bytes.substr(0, *read);
  co_await CloseTask(fs, {found->fid, opened->handle});
}

async::Task<void> HealLater(SimCluster* cluster, Nanos after, std::string a, std::string b) {
  co_await cluster->shard()->Sleep(after);
  cluster->network()->Heal(a, b);
}

class SimKeptScene : public ::testing::Test {
 protected:
  SimKeptScene() : cluster_({.seed = TestSeed(), .ost_count = 1}), random_(TestSeed()) {
    alice_ = cluster_.AddClient("alice");
    bob_ = cluster_.AddClient("bob");
  }
  // By alice, closed and answered; not committed by the OSS.
  Fid Written(const std::string& name, const std::string& bytes) {
    File file;
    cluster_.Run(CreateTask(alice_, name, &file));
    cluster_.Run(WriteTask(alice_, file, bytes));
    cluster_.Run(CloseTask(alice_, file));
    EXPECT_FALSE(alice_->state()->kept_writes.empty());
    return file.fid;
  }
  std::string Read(const std::string& name) {
    std::string bytes;
    cluster_.Run(ReadTask(bob_, name, &bytes));
    return bytes;
  }
  // What is repeated to the OSS takes so long each.
  void SlowReplays(uint64_t delay_ms) {
    ASSERT_TRUE(cluster_.faults("oss0")->Arm(
        "server.received.ost_write",
        {.action = rpc::FaultAction::kDelay, .count = 100, .delay_ms = delay_ms}));
  }
  void Pass(Nanos time) { async::RunFor(cluster_.shard(), time); }

  SimCluster cluster_;
  Random random_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
};

// The OSS has lost the bytes; they are on their way to it again when somebody asks for them to be
// on disk, who has not written them.
TEST_F(SimKeptScene, AnFsyncDuringTheReplayIsForWhatIsRepeated) {
  const Fid fid = Written("f", "synced bytes");
  SlowReplays(5000);
  cluster_.PowerCutOss(&random_);
  Pass(seconds(1));
  File file;
  Status synced = Fail(Errc::kIo, "not done");
  cluster_.Run(OpenTask(alice_, fid, O_RDONLY, &file));
  cluster_.Run(FsyncTask(alice_, fid, &synced));
  EXPECT_TRUE(synced);
  // And she dies with what she keeps, as does the OSS with what it has not committed.
  cluster_.LoseClient("alice");
  cluster_.faults("oss0")->Disarm();
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read("f"), "synced bytes");
}

TEST_F(SimKeptScene, AnUnmountDuringTheReplayWaitsForIt) {
  Written("f", "kept bytes");
  SlowReplays(8000);
  cluster_.PowerCutOss(&random_);
  Pass(seconds(1));
  EXPECT_TRUE(cluster_.RemoveClient(alice_));
  cluster_.faults("oss0")->Disarm();
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read("f"), "kept bytes");
}

// Nobody writes any more: what was repeated is committed, and the memory given back.
TEST_F(SimKeptScene, WhatWasRepeatedIsLookedAfter) {
  Written("f", "bytes");
  SlowReplays(3000);
  cluster_.PowerCutOss(&random_);
  Pass(seconds(10));
  EXPECT_TRUE(alice_->state()->kept_writes.empty());
  EXPECT_EQ(alice_->state()->kept_writes.bytes(), 0U);
  EXPECT_EQ(Read("f"), "bytes");
}

// An OSS that is away for longer than an unmount has patience with what may be missing.
TEST_F(SimKeptScene, AnUnmountWaitsForTheServerOfWhatIsKept) {
  Written("f", "bytes");
  cluster_.network()->Partition("alice", "oss0");
  cluster_.PowerCutOss(&random_);
  const Nanos begun = cluster_.shard()->Now();
  const auto healed = cluster_.Begin(HealLater(&cluster_, seconds(40), "alice", "oss0"));
  EXPECT_TRUE(cluster_.RemoveClient(alice_));
  EXPECT_GT(cluster_.shard()->Now() - begun, seconds(39));
  cluster_.Finish(healed);
  EXPECT_EQ(Read("f"), "bytes");
}

// But for as long as it is told: a process that ends cannot wait for ever.
TEST_F(SimKeptScene, AnUnmountHasThePatienceThatItIsGiven) {
  Written("f", "bytes");
  cluster_.network()->Partition("alice", "oss0");
  cluster_.PowerCutOss(&random_);
  const Nanos begun = cluster_.shard()->Now();
  const Status unmounted = cluster_.RemoveClient(alice_, seconds(35));
  ASSERT_FALSE(unmounted);
  EXPECT_EQ(unmounted.error().code(), Errc::kIo) << unmounted.error().ToString();
  EXPECT_GT(cluster_.shard()->Now() - begun, seconds(34));
  EXPECT_LT(cluster_.shard()->Now() - begun, seconds(60));
  cluster_.network()->Heal("alice", "oss0");
}

// The same with changes that an MDS is told again after its restart and never answers; as long as
// one request may take, on a mount that limits that.
TEST_F(SimKeptScene, AnUnmountHasThePatienceThatItIsGivenWithTheMds) {
  for (const bool limited : {false, true}) {
    Filesystem* const carol =
        cluster_.AddClient(limited ? "dave" : "carol", limited ? seconds(35) : Nanos::max());
    cluster_.Run([](Filesystem* fs, std::string name) -> async::Task<void> {
      const auto made = co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
      EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
    }(carol, limited ? "d" : "c"));
    ASSERT_GT(carol->state()->kept_requests.size(), 0U);
    ASSERT_TRUE(cluster_.faults("mds0")->Arm(
        "server.received.mds_make_node",
        {.action = rpc::FaultAction::kDelay, .count = 1000, .delay_ms = 36'000'000}));
    cluster_.PowerCutMds(nullptr);
    Pass(seconds(5));
    const Nanos begun = cluster_.shard()->Now();
    const Status unmounted = cluster_.RemoveClient(carol, limited ? Nanos::max() : seconds(35));
    ASSERT_FALSE(unmounted);
    EXPECT_EQ(unmounted.error().code(), Errc::kIo) << unmounted.error().ToString();
    EXPECT_GT(cluster_.shard()->Now() - begun, seconds(34));
    EXPECT_LT(cluster_.shard()->Now() - begun, seconds(60));
    cluster_.faults("mds0")->Disarm();
  }
}

// A target that can commit nothing any more: nobody waits for it, and the unmount says so.
TEST_F(SimKeptScene, AnUnmountSaysWhatADiskHasRefused) {
  Written("f", "bytes");
  cluster_.disk(0)->fail_syncs = Errc::kIo;
  const Nanos begun = cluster_.shard()->Now();
  const Status unmounted = cluster_.RemoveClient(alice_);
  ASSERT_FALSE(unmounted);
  EXPECT_EQ(unmounted.error().code(), Errc::kIo);
  EXPECT_LT(cluster_.shard()->Now() - begun, seconds(10));
  EXPECT_GT(cluster_.disk(0)->failed, 0U);
  cluster_.disk(0)->fail_syncs = Errc::kOk;
  cluster_.PowerCutOss(&random_);
}

// One server is away: what another one has answered is committed and not kept any longer.
TEST(SimKeptTwoOssTest, AServerThatIsAwayKeepsNothingOfOthersInMemory) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 2});
  Filesystem* alice = cluster.AddClient("alice");
  for (int i = 0; i < 8; ++i) {
    File file;
    cluster.Run(CreateTask(alice, "f" + std::to_string(i), &file));
    cluster.Run(WriteTask(alice, file, "bytes"));
    cluster.Run(CloseTask(alice, file));
  }
  const client::KeptWrites& kept = alice->state()->kept_writes;
  ASSERT_GT(kept.BytesOf(0), 0U);
  ASSERT_GT(kept.BytesOf(1), 0U);
  cluster.network()->Partition("alice", "oss0");
  async::RunFor(cluster.shard(), seconds(10));
  EXPECT_GT(kept.BytesOf(0), 0U);
  EXPECT_EQ(kept.BytesOf(1), 0U);
  cluster.network()->Heal("alice", "oss0");
}

// What was held back under a lock is done once, too: alice wrote, gave the lock to bob, and did not
// hear that it was committed; she misses the first of two restarts.
TEST_F(SimKeptScene, AHeldWriteDoesNotComeBackOverANewerOne) {
  File of_alice;
  File of_bob;
  cluster_.Run(CreateTask(alice_, "f", &of_alice));
  for (int i = 0; i < 4; ++i) cluster_.Run(HoldTask(alice_, of_alice));
  ASSERT_TRUE(client::HasHeld(alice_->state()->files.Find(of_alice.fid)));
  cluster_.Run(CreateTask(bob_, "f", &of_bob));
  cluster_.Run(WriteTask(bob_, of_bob, std::string(8192, 'B')));
  cluster_.network()->Partition("alice", "oss0");
  ASSERT_FALSE(alice_->state()->kept_writes.empty());
  cluster_.PowerCutOss(&random_);
  Pass(seconds(1));
  cluster_.PowerCutOss(&random_);
  cluster_.network()->Heal("alice", "oss0");
  Pass(seconds(30));
  EXPECT_EQ(Read("f"), std::string(8192, 'B'));
}

// ---- replays that take long ----

// 60 directories, each repeated in 500 ms: 30 s, more than a recovery may stand still.
TEST_F(SimKeptScene, NothingOvertakesALongReplay) {
  constexpr int kCount = 60;
  cluster_.Run([](Filesystem* fs) -> async::Task<void> {
    for (int i = 0; i < kCount; ++i) {
      const auto made = co_await fs->MakeNode(0, fs->root(), "d" + std::to_string(i),
                                              {.mode = S_IFDIR | 0755});
      EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
    }
  }(alice_));
  ASSERT_GE(alice_->state()->kept_requests.size(), static_cast<size_t>(kCount));
  ASSERT_TRUE(cluster_.faults("mds0")->Arm(
      "server.received.mds_make_node",
      {.action = rpc::FaultAction::kDelay, .count = kCount, .delay_ms = 500}));
  cluster_.PowerCutMds(nullptr);
  const std::string last = "d" + std::to_string(kCount - 1);
  // Asked while it is being repeated: by her, who waits for her own replay, and by bob, who waits
  // for her.
  const auto asked = [](Filesystem* fs, std::string name) -> async::Task<void> {
    const auto again =
        co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
    EXPECT_FALSE(again) << "what she had made was lost";
    if (!again) EXPECT_EQ(again.error().code(), Errc::kExists) << again.error().ToString();
  };
  const auto by_alice = cluster_.Begin(asked(alice_, last));
  const auto by_bob = cluster_.Begin(asked(bob_, last));
  cluster_.Finish(by_alice);
  cluster_.Finish(by_bob);
  cluster_.Run([](Filesystem* fs) -> async::Task<void> {
    for (int i = 0; i < kCount; ++i) {
      const auto found = co_await fs->Lookup(0, fs->root(), "d" + std::to_string(i));
      EXPECT_TRUE(found) << i;
    }
  }(bob_));
}

TEST_F(SimKeptScene, NothingOvertakesALongReplayOfWrites) {
  constexpr int kCount = 30;
  File file;
  cluster_.Run(CreateTask(alice_, "f", &file));
  for (int i = 0; i < kCount; ++i) {
    cluster_.Run(WriteTask(alice_, file, "round " + std::to_string(i)));
  }
  SlowReplays(1000);
  cluster_.PowerCutOss(&random_);
  Pass(seconds(1));
  cluster_.Run(WriteTask(alice_, file, "the newest"));
  cluster_.Run(CloseTask(alice_, file));
  EXPECT_EQ(Read("f"), "the newest");
}

// The server does not answer one of them at all: what follows does not go on without it.
TEST_F(SimKeptScene, AReplayThatIsNotAnsweredIsTriedAgain) {
  const Fid fid = Written("f", "old bytes");
  ASSERT_TRUE(cluster_.faults("oss0")->Arm(
      "server.received.ost_write",
      {.action = rpc::FaultAction::kDelay, .count = 1, .delay_ms = 3'600'000}));
  cluster_.PowerCutOss(&random_);
  Pass(seconds(1));
  File file;
  cluster_.Run(OpenTask(alice_, fid, O_RDWR, &file));
  cluster_.Run(WriteTask(alice_, file, "new"));
  cluster_.Run(CloseTask(alice_, file));
  EXPECT_EQ(Read("f"), "new bytes");
}

// And what is declared after it is declared then: space to hold data back in is still set aside.
TEST_F(SimKeptScene, AfterAReplayThatWasTriedAgainTheGrantsAreKnown) {
  File file;
  cluster_.Run(CreateTask(alice_, "f", &file));
  for (int i = 0; i < 4; ++i) cluster_.Run(HoldTask(alice_, file));
  const client::KeptWrites& kept = alice_->state()->kept_writes;
  ASSERT_TRUE(async::RunUntil(
      cluster_.shard(), [&] { return !kept.empty(); }, seconds(5)));
  const uint64_t granted = alice_->state()->grants.Have(0);
  ASSERT_GT(granted, 0U);
  ASSERT_TRUE(cluster_.faults("oss0")->Arm(
      "server.received.ost_write",
      {.action = rpc::FaultAction::kDelay, .count = 1, .delay_ms = 3'600'000}));
  cluster_.PowerCutOss(&random_);
  Pass(seconds(90));
  EXPECT_EQ(cluster_.faults("oss0")->HitsOf("server.received.ost_write"), 1U);
  EXPECT_GE(cluster_.oss(0)->GrantedBytes(0), alice_->state()->grants.Have(0));
  EXPECT_GE(alice_->state()->grants.Have(0), granted);
}

// ---- what cannot be repeated ----

// She was away for so long that somebody else has made the same name: what she was answered is
// lost, and she hears of it where she asks for it to be on disk.
TEST_F(SimKeptScene, AChangeThatCannotBeRepeatedIsToldByFsync) {
  const auto make = [](Filesystem* fs) -> async::Task<void> {
    const auto made = co_await fs->MakeNode(0, fs->root(), "d", {.mode = S_IFDIR | 0755});
    EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  };
  cluster_.Run(make(alice_));
  ASSERT_GT(alice_->state()->kept_requests.size(), 0U);
  cluster_.network()->Partition("alice", "mds0");
  cluster_.PowerCutMds(nullptr);
  cluster_.Run(make(bob_));
  cluster_.network()->Heal("alice", "mds0");
  Pass(seconds(30));
  EXPECT_EQ(alice_->state()->kept_requests.size(), 0U);
  const auto sync = [](Filesystem* fs, Errc* out) -> async::Task<void> {
    const Status synced = co_await fs->FsyncDir(fs->root());
    *out = synced ? Errc::kOk : synced.error().code();
  };
  Errc synced = Errc::kOk;
  cluster_.Run(sync(alice_, &synced));
  EXPECT_EQ(synced, Errc::kIo);
  cluster_.Run(sync(alice_, &synced));
  EXPECT_EQ(synced, Errc::kOk) << "it was told";
}

// ---- calls that were given up ----

// An open whose answer comes when nobody waits for it: its handle does not keep the file.
TEST(SimGivenUpTest, ALateHandleIsClosed) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Filesystem* alice = cluster.AddClient("alice", milliseconds(200));
  Filesystem* bob = cluster.AddClient("bob");
  // By name it is created or opened, by its FID opened; the answer is late, or lost.
  for (int round = 0; round < 4; ++round) {
    const std::string name = "f" + std::to_string(round);
    const bool by_name = round % 2 == 0;
    const bool lost = round >= 2 && !by_name;
    File file;
    cluster.Run(CreateTask(bob, name, &file));
    cluster.Run(WriteTask(bob, file, "bytes"));
    cluster.Run(CloseTask(bob, file));
    ASSERT_EQ(cluster.ObjectCount(), 1U);
    const std::string point = by_name ? "mds_create" : "mds_open";
    ASSERT_TRUE(cluster.faults("mds0")->Arm(
        "server.executed." + point, {.action = rpc::FaultAction::kDelay, .delay_ms = 400}));
    cluster.Run([](Filesystem* fs, std::string path, Fid fid, bool create) -> async::Task<void> {
      const auto opened =
          create ? co_await fs->Create(0, fs->root(), path, {.mode = 0644, .flags = O_RDWR})
                 : co_await fs->Open(0, fid, O_RDWR);
      EXPECT_FALSE(opened);
      if (!opened) EXPECT_EQ(opened.error().code(), Errc::kTimedOut) << opened.error().ToString();
    }(alice, name, file.fid, by_name));
    if (lost) cluster.network()->Break("alice", "mds0");
    async::RunFor(cluster.shard(), seconds(2));
    cluster.Run([](Filesystem* fs, std::string path) -> async::Task<void> {
      const Status gone = co_await fs->Unlink(0, fs->root(), path);
      EXPECT_TRUE(gone) << (gone ? "" : gone.error().ToString());
    }(bob, name));
    async::RunFor(cluster.shard(), seconds(5));
    EXPECT_EQ(cluster.ObjectCount(), 0U) << "round " << round << ": a handle keeps the file";
  }
}

// A client ends while the server still has such a call of it.
TEST(SimGivenUpTest, AClientEndsBeforeItsLateAnswer) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Filesystem* alice = cluster.AddClient("alice", milliseconds(200));
  Filesystem* bob = cluster.AddClient("bob");
  File file;
  cluster.Run(CreateTask(bob, "f", &file));
  cluster.Run(CloseTask(bob, file));
  ASSERT_TRUE(cluster.faults("mds0")->Arm(
      "server.executed.mds_open", {.action = rpc::FaultAction::kDelay, .delay_ms = 60'000}));
  cluster.Run([](Filesystem* fs, Fid fid) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, fid, O_RDWR);
    EXPECT_FALSE(opened);
  }(alice, file.fid));
  const Status unmounted = cluster.RemoveClient(alice, seconds(1));
  EXPECT_TRUE(unmounted);
  async::RunFor(cluster.shard(), seconds(120));
}

// Executed, the answer lost, and the client evicted before it could ask again: it is not made a
// second time, and no error says more than is known.
TEST(SimEvictedTest, AChangeOfUnknownOutcomeIsNotTriedAgain) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Filesystem* alice = cluster.AddClient("alice");
  ASSERT_TRUE(cluster.faults("mds0")->Arm("server.executed.mds_make_node",
                                          {.action = rpc::FaultAction::kDrop}));
  const auto done = cluster.Begin([](Filesystem* fs) -> async::Task<void> {
    const auto made = co_await fs->MakeNode(0, fs->root(), "d", {.mode = S_IFDIR | 0755});
    EXPECT_FALSE(made);
    if (!made) EXPECT_EQ(made.error().code(), Errc::kIo) << made.error().ToString();
  }(alice));
  const auto executed = [&cluster] {
    return cluster.faults("mds0")->HitsOf("server.executed.mds_make_node") > 0;
  };
  ASSERT_TRUE(async::RunUntil(cluster.shard(), executed, seconds(30)));
  cluster.network()->Partition("alice", "mds0");
  cluster.Evict(alice);
  cluster.network()->Heal("alice", "mds0");
  cluster.Finish(done);
  // She goes on, and finds what she made.
  cluster.Run([](Filesystem* fs) -> async::Task<void> {
    const auto found = co_await fs->Lookup(0, fs->root(), "d");
    EXPECT_TRUE(found) << (found ? "" : found.error().ToString());
    const auto made = co_await fs->MakeNode(0, fs->root(), "e", {.mode = S_IFDIR | 0755});
    EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  }(alice));
}

}  // namespace
}  // namespace sheen::test
