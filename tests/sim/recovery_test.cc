// Scenes of recovery: who is waited for after a restart, what a client that goes leaves, what late
// requests may do, and what is kept until it is committed.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <functional>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

class SimRecoveryScene : public ::testing::Test {
 protected:
  SimRecoveryScene() : SimRecoveryScene(SimOptions{.seed = TestSeed(), .ost_count = 1}) {}
  explicit SimRecoveryScene(SimOptions options) : cluster_(options), random_(options.seed) {}

  // How long it took; fails when it gave an error.
  Nanos Make(Filesystem* fs, const std::string& name, const std::string& data) {
    const Nanos begun = cluster_.shard()->Now();
    cluster_.Run([](Filesystem* mount, std::string path, std::string bytes) -> async::Task<void> {
      const auto opened =
          co_await mount->Create(0, mount->root(), path, {.mode = 0644, .flags = O_RDWR});
      EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
      if (!opened) co_return;
      if (!bytes.empty()) {
        const auto wrote = co_await mount->Write(opened->attr.fid, opened->handle, 0,
                                                 AsBytes(bytes), {.direct = true});
        EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
      }
      const Status closed = co_await mount->Close(opened->attr.fid, opened->handle);
      EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
    }(fs, name, data));
    return cluster_.shard()->Now() - begun;
  }
  std::optional<Fid> Find(Filesystem* fs, const std::string& name) {
    std::optional<Fid> fid;
    cluster_.Run([](Filesystem* mount, std::string path, std::optional<Fid>* out)
                     -> async::Task<void> {
      const auto found = co_await mount->Lookup(0, mount->root(), path);
      if (found) *out = found->fid;
    }(fs, name, &fid));
    return fid;
  }
  void Unlink(Filesystem* fs, const std::string& name) {
    cluster_.Run([](Filesystem* mount, std::string path) -> async::Task<void> {
      const Status gone = co_await mount->Unlink(0, mount->root(), path);
      EXPECT_TRUE(gone) << (gone ? "" : gone.error().ToString());
    }(fs, name));
  }
  void Pass(Nanos time) { async::RunFor(cluster_.shard(), time); }

  SimCluster cluster_;
  Random random_;
};

// What its last second did is known to nobody else.
TEST_F(SimRecoveryScene, AnUnmountLeavesNothingThatAPowerCutTakes) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  for (int i = 0; i < 5; ++i) {
    const std::string name = "f" + std::to_string(i);
    Filesystem* carol = cluster_.AddClient("carol" + std::to_string(i));
    Make(carol, name, "x");
    EXPECT_TRUE(cluster_.RemoveClient(carol));
    cluster_.PowerCutMds(&random_);
    EXPECT_TRUE(Find(bob, name)) << name;
  }
  EXPECT_TRUE(Find(alice, "f0"));
}

TEST_F(SimRecoveryScene, ARestartDoesNotWaitForAClientThatHadGone) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Make(alice, "a", "x");
  Make(bob, "b", "x");
  cluster_.LoseClient("alice");
  Pass(std::chrono::seconds(6));
  cluster_.RestartMds();
  EXPECT_LT(Make(bob, "c", ""), std::chrono::seconds(2));
  cluster_.RestartOss();
  EXPECT_LT(Make(bob, "d", "x"), std::chrono::seconds(3));
  cluster_.PowerCutMds(&random_);
  EXPECT_LT(Make(bob, "e", "x"), std::chrono::seconds(2)) << "still gone";
  EXPECT_TRUE(Find(bob, "a"));
}

// A client that went with write locks: who wants other bytes does not wait for it after a restart,
// who wants these waits as long as for any client that is gone. Coming back it still has them.
class SimGoneHolderScene : public SimRecoveryScene,
                           public ::testing::WithParamInterface<bool> {
 protected:
  // Under a lock, and not sent: the first writes are written through.
  void Hold(Filesystem* fs, const std::string& name, char fill) {
    cluster_.Run([](Filesystem* mount, std::string path, char c) -> async::Task<void> {
      const auto opened =
          co_await mount->Create(0, mount->root(), path, {.mode = 0644, .flags = O_RDWR});
      EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
      if (!opened) co_return;
      const std::string bytes(4096, c);
      for (uint64_t i = 0; i < 4; ++i) {
        const auto wrote = co_await mount->Write(opened->attr.fid, opened->handle,
                                                 i * bytes.size(), AsBytes(bytes), {});
        EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
      }
      EXPECT_TRUE(client::HasHeld(mount->state()->files.Find(opened->attr.fid)));
    }(fs, name, fill));
  }
  std::string Read(Filesystem* fs, const std::string& name) {
    std::string bytes;
    cluster_.Run([](Filesystem* mount, std::string path, std::string* out) -> async::Task<void> {
      const auto found = co_await mount->Lookup(0, mount->root(), path);
      if (!found) co_return;
      const auto opened = co_await mount->Open(0, found->fid, O_RDONLY);
      if (!opened) co_return;
      out->resize(1 << 16);
      const MutableByteSpan span(reinterpret_cast<std::byte*>(out->data()), out->size());
      const auto read = co_await mount->Read(found->fid, opened->handle, 0, span);
      EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
      out->resize(read ? *read : 0);
      const Status closed = co_await mount->Close(found->fid, opened->handle);
      EXPECT_TRUE(closed);
    }(fs, name, &bytes));
    return bytes;
  }
  void Leave() {
    cluster_.network()->Partition("alice", "oss0");
    cluster_.network()->Break("alice", "oss0");
    Pass(std::chrono::seconds(6));
  }
  void RestartOss() {
    if (GetParam()) cluster_.PowerCutOss(&random_);
    if (!GetParam()) cluster_.RestartOss();
  }
};

TEST_P(SimGoneHolderScene, OnlyWhatItHeldIsWaitedFor) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Hold(alice, "a", 'a');
  Leave();
  RestartOss();
  EXPECT_LT(Make(bob, "b", "x"), std::chrono::seconds(2)) << "alice has nothing of b";
  const Nanos begun = cluster_.shard()->Now();
  Make(bob, "a", "newer");
  EXPECT_LT(cluster_.shard()->Now() - begun, std::chrono::seconds(6));
  // What she held back is older, and refused; over another restart, too.
  RestartOss();
  cluster_.network()->Heal("alice", "oss0");
  Pass(std::chrono::seconds(30));
  EXPECT_EQ(Read(bob, "a").substr(0, 5), "newer");
}

TEST_P(SimGoneHolderScene, ItStillHasItsLocksWhenItComesBack) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Hold(alice, "a", 'a');
  Leave();
  RestartOss();
  EXPECT_LT(Make(bob, "b", "x"), std::chrono::seconds(2));
  cluster_.network()->Heal("alice", "oss0");
  Pass(std::chrono::seconds(5));
  EXPECT_EQ(Read(bob, "a"), std::string(4 * 4096, 'a'));
}

// Back, it is waited for like anybody else.
TEST_P(SimGoneHolderScene, BackItIsWaitedForAgain) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Hold(alice, "a", 'a');
  Leave();
  RestartOss();
  cluster_.network()->Heal("alice", "oss0");
  Pass(std::chrono::seconds(5));
  Make(alice, "c", "kept");
  cluster_.network()->Partition("alice", "oss0");
  RestartOss();
  EXPECT_GT(Make(bob, "b", "x"), std::chrono::seconds(10)) << "alice may hold locks";
  cluster_.network()->Heal("alice", "oss0");
}

INSTANTIATE_TEST_SUITE_P(Sim, SimGoneHolderScene, ::testing::Bool());

// It is waited for again from the moment it is back.
TEST_F(SimRecoveryScene, AClientThatIsBackIsWaitedForAgain) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Make(alice, "a", "x");
  cluster_.network()->Partition("alice", "mds0");
  cluster_.network()->Break("alice", "mds0");
  Pass(std::chrono::seconds(6));
  cluster_.network()->Heal("alice", "mds0");
  Make(alice, "b", "");
  cluster_.network()->Partition("alice", "mds0");
  cluster_.RestartMds();
  EXPECT_GT(Make(bob, "c", ""), std::chrono::seconds(10)) << "alice may hold locks";
  cluster_.network()->Heal("alice", "mds0");
}

// Alice wrote and closed; the OSS lost it with its power, and she is cut off from it. Meanwhile the
// file is removed. However late she is, what she repeats makes nothing.
TEST_F(SimRecoveryScene, ALateReplayDoesNotBringADestroyedObjectBack) {
  Filesystem* alice = cluster_.AddClient("alice");
  Filesystem* bob = cluster_.AddClient("bob");
  Make(alice, "a", "some bytes");
  cluster_.network()->Partition("alice", "oss0");
  cluster_.PowerCutOss(&random_);
  Unlink(bob, "a");
  Pass(std::chrono::minutes(4));
  cluster_.network()->Heal("alice", "oss0");
  Pass(std::chrono::seconds(30));
  EXPECT_EQ(cluster_.ObjectCount(), 0U);
  Make(alice, "b", "x");
  EXPECT_EQ(cluster_.ObjectCount(), 1U);
}

// A call that nobody waits for any more may have been executed: then it is kept like any other.
TEST_F(SimRecoveryScene, WhatWasGivenUpAndMadeIsKept) {
  Filesystem* alice = cluster_.AddClient("alice", std::chrono::milliseconds(200));
  Filesystem* bob = cluster_.AddClient("bob");
  for (int i = 0; i < 6; ++i) {
    const std::string name = "late" + std::to_string(i);
    ASSERT_TRUE(cluster_.faults("mds0")->Arm(
        "server.executed.mds_make_node",
        {.action = rpc::FaultAction::kDelay, .delay_ms = 300}));
    cluster_.Run([](Filesystem* fs, std::string path) -> async::Task<void> {
      const auto made = co_await fs->MakeNode(0, fs->root(), path, {.mode = S_IFDIR | 0755});
      EXPECT_FALSE(made);
      if (!made) EXPECT_EQ(made.error().code(), Errc::kTimedOut) << made.error().ToString();
    }(alice, name));
    Pass(std::chrono::milliseconds(150));
    cluster_.PowerCutMds(&random_);
    EXPECT_TRUE(Find(bob, name)) << name;
    Pass(std::chrono::seconds(3));
  }
}

// Requests to the MDS are kept until it commits: it is asked to when they are many.
TEST_F(SimRecoveryScene, WhatIsKeptOfRequestsIsBounded) {
  Filesystem* alice = cluster_.AddClient("alice");
  Make(alice, "a", "");
  const std::optional<Fid> fid = Find(alice, "a");
  ASSERT_TRUE(fid);
  uint64_t most = 0;
  const Nanos begun = cluster_.shard()->Now();
  cluster_.Run([](Filesystem* fs, Fid file, uint64_t* highest) -> async::Task<void> {
    const std::string value(60'000, 'v');
    for (int i = 0; i < 900; ++i) {
      const Status set = co_await fs->SetXattr(0, file, "user.x", value, 0);
      EXPECT_TRUE(set) << (set ? "" : set.error().ToString());
      *highest = std::max(*highest, fs->state()->kept_requests.bytes());
    }
  }(alice, *fid, &most));
  EXPECT_LT(cluster_.shard()->Now() - begun, std::chrono::seconds(3)) << "commits hide it";
  EXPECT_GT(most, 1U << 20);
  EXPECT_LT(most, client::KeptRequests::kBytesMax + (1U << 20));
}

// What was accepted to be written later fits, however little room there is.
TEST(SimSmallOstTest, WhatIsHeldBackAlwaysFits) {
  constexpr uint64_t kOstBytes = 64 << 20;
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1, .ost_bytes = kOstBytes});
  std::vector<Filesystem*> clients;
  for (const char* name : {"alice", "bob", "carol"}) clients.push_back(cluster.AddClient(name));
  uint64_t refused = 0;
  uint64_t accepted = 0;  // bytes
  for (int round = 0; round < 3; ++round) {
    for (size_t i = 0; i < clients.size(); ++i) {
      const std::string name = "f" + std::to_string(round) + "_" + std::to_string(i);
      cluster.Run([](Filesystem* fs, std::string path, uint64_t* full, uint64_t* bytes)
                      -> async::Task<void> {
        const auto opened =
            co_await fs->Create(0, fs->root(), path, {.mode = 0644, .flags = O_RDWR});
        EXPECT_TRUE(opened);
        if (!opened) co_return;
        const std::string data(128 << 10, 'x');
        for (uint64_t at = 0; at < (16 << 20); at += data.size()) {
          const auto wrote =
              co_await fs->Write(opened->attr.fid, opened->handle, at, AsBytes(data), {});
          if (wrote) *bytes += *wrote;
          if (wrote) continue;
          EXPECT_EQ(wrote.error().code(), Errc::kNoSpace) << wrote.error().ToString();
          ++*full;
          break;
        }
        // All that was accepted is stored.
        const Status synced = co_await fs->Fsync(opened->attr.fid);
        EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
        const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
        EXPECT_TRUE(closed);
      }(clients[i], name, &refused, &accepted));
    }
  }
  EXPECT_GT(refused, 0U) << "the disk was never full";
  EXPECT_GT(accepted, kOstBytes / 2);
  // The last 1/64 is for truncate, destroy and the index (docs/formats/ost.md).
  EXPECT_LE(accepted, kOstBytes - kOstBytes / 64) << "more was accepted than fits";
}

}  // namespace
}  // namespace sheen::test
