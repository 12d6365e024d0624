// A server that dies again while it is being told what it lost: what is told again belongs to one
// life of it, and goes in its order.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <memory>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::milliseconds;
using std::chrono::seconds;

const std::string kText = "what the file says";

struct Reader {
  Fid fid;
  uint64_t handle = 0;
};

// Closed by its writer, and opened for reading under the lock, which asks nobody.
async::Task<void> MakeAndOpen(Filesystem* fs, std::string name, Reader* out) {
  const auto made = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  if (!made) co_return;
  const Fid fid = made->attr.fid;
  const auto wrote = co_await fs->Write(fid, made->handle, 0, AsBytes(kText), {.direct = true});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  const Status closed = co_await fs->Close(fid, made->handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_TRUE(attr) << (attr ? "" : attr.error().ToString());
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *out = {fid, opened->handle};
}

async::Task<void> Unlink(Filesystem* fs, std::string name) {
  const Status gone = co_await fs->Unlink(0, fs->root(), name);
  EXPECT_TRUE(gone) << (gone ? "" : gone.error().ToString());
}

async::Task<void> ReadAll(Filesystem* fs, Reader reader, std::string* out) {
  std::string bytes(64, '?');
  const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(reader.fid, reader.handle, 0, span);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  if (read) *out = bytes.substr(0, *read);
  const Status closed = co_await fs->Close(reader.fid, reader.handle);
  EXPECT_TRUE(closed);
}

async::Task<void> MakeDirectory(Filesystem* fs, std::string name) {
  const auto made = co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
}

async::Task<void> LookUp(Filesystem* fs, std::string name) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  EXPECT_TRUE(found) << name << ": " << (found ? "" : found.error().ToString());
}

// Time is the other shard's.
class IdlePoller final : public async::Poller {
 public:
  void Poll(Nanos /*max_wait*/) override {}
  void Wake() override {}
};

// A client's second shard, on the simulator's thread, which can be too busy to look.
class SecondShard final {
 public:
  SecondShard(SimCluster* cluster, Filesystem* fs, const std::string& node)
      : cluster_(cluster),
        main_(cluster->shard()),
        transport_(cluster->network(), node),
        shard_(&poller_, &cluster->shard()->clock(), 1) {
    fs->AddShard(&shard_, &transport_);
    running_ = cluster->Begin(Run());
  }
  ~SecondShard() { End(); }
  void End() {
    ended_ = true;
    cluster_->Finish(running_);
  }
  bool busy = false;

 private:
  async::Task<void> Run() {
    while (!ended_) {
      if (!busy) shard_.RunOnce(Nanos(0));
      co_await main_->Sleep(milliseconds(1));
    }
  }
  SimCluster* const cluster_;
  async::Shard* const main_;
  rpc::SimTransport transport_;
  IdlePoller poller_;
  async::Shard shard_;
  bool ended_ = false;
  std::shared_ptr<bool> running_;
};

class SimRestartsScene : public ::testing::Test {
 protected:
  SimRestartsScene() : cluster_({.seed = TestSeed(), .ost_count = 1}) {
    alice_ = cluster_.AddClient("alice");
    bob_ = cluster_.AddClient("bob");
  }
  // Alice has it open without the MDS's knowledge, and that it was made is on no disk.
  void OpenHere() {
    cluster_.Run(MakeAndOpen(alice_, "f", &reader_));
    ASSERT_EQ(alice_->state()->local_opens.load(), 1U) << "the scene needs it unknown to the MDS";
    ASSERT_GT(alice_->state()->kept_requests.size(), 0U);
  }
  void ExpectItLivesOnWithoutItsName() {
    cluster_.Run(Unlink(bob_, "f"));
    async::RunFor(cluster_.shard(), seconds(10));
    std::string text;
    cluster_.Run(ReadAll(alice_, reader_, &text));
    EXPECT_EQ(text, kText);
  }
  bool AwaitHits(const std::string& point) {
    const auto hit = [&] { return cluster_.faults("mds0")->HitsOf(point) > 0; };
    return async::RunUntil(cluster_.shard(), hit, seconds(60));
  }

  SimCluster cluster_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
  Reader reader_;
};

// The MDS dies while it is told of an open file. In its next life that would wait for this client
// to be back, which waits for that: others went on without what she had to repeat.
TEST_F(SimRestartsScene, WhatOneLifeIsToldOfOpenFilesIsNotForTheNext) {
  OpenHere();
  const std::string point = "server.received.mds_open";
  ASSERT_TRUE(cluster_.faults("mds0")->Arm(
      point, {.action = rpc::FaultAction::kDelay, .count = 1, .delay_ms = 3'600'000}));
  cluster_.PowerCutMds(nullptr);
  ASSERT_TRUE(AwaitHits(point)) << "nothing was declared";
  cluster_.PowerCutMds(nullptr);
  async::RunFor(cluster_.shard(), seconds(5));
  ExpectItLivesOnWithoutItsName();
}

// She waits for a shard of hers to end with the boot before, so long that the MDS restarts again:
// what she repeats now is answered by that boot, and kept for its restart.
TEST_F(SimRestartsScene, WhatIsRepeatedIsKeptForTheBootThatAnswers) {
  SecondShard second(&cluster_, alice_, "alice");
  cluster_.Run(MakeDirectory(alice_, "d"));
  ASSERT_GT(alice_->state()->kept_requests.size(), 0U);
  const std::string point = "server.executed.mds_make_node";
  ASSERT_TRUE(cluster_.faults("mds0")->Arm(
      point, {.action = rpc::FaultAction::kDelay, .count = 100, .delay_ms = 1}));
  second.busy = true;
  cluster_.PowerCutMds(nullptr);
  async::RunFor(cluster_.shard(), seconds(1));
  EXPECT_EQ(cluster_.faults("mds0")->HitsOf(point), 0U) << "she did not wait";
  cluster_.PowerCutMds(nullptr);
  async::RunFor(cluster_.shard(), seconds(1));
  second.busy = false;
  ASSERT_TRUE(AwaitHits(point));
  async::RunFor(cluster_.shard(), milliseconds(50));
  cluster_.PowerCutMds(nullptr);
  cluster_.Run(LookUp(bob_, "d"));
  EXPECT_TRUE(cluster_.RemoveClient(alice_));
  second.End();
}

async::Task<void> CutOff(SimCluster* cluster, Nanos from, Nanos until) {
  co_await cluster->shard()->Sleep(from);
  cluster->network()->Partition("alice", "mds0");
  cluster->network()->Break("alice", "mds0");
  co_await cluster->shard()->Sleep(until - from);
  cluster->faults("mds0")->Disarm();
  cluster->network()->Heal("alice", "mds0");
}

// An unmount while the MDS is told what it had lost, cut off just when that looks again, which it
// does every 10 s: it waits for the next connection, which tells the rest.
TEST_F(SimRestartsScene, AnUnmountOutlivesTheConnectionOfTheReplay) {
  cluster_.Run(MakeDirectory(alice_, "d"));
  ASSERT_GT(alice_->state()->kept_requests.size(), 0U);
  const std::string point = "server.received.mds_make_node";
  ASSERT_TRUE(cluster_.faults("mds0")->Arm(
      point, {.action = rpc::FaultAction::kDelay, .count = 1, .delay_ms = 3'600'000}));
  cluster_.PowerCutMds(nullptr);
  ASSERT_TRUE(AwaitHits(point));
  const auto cut = cluster_.Begin(CutOff(&cluster_, seconds(8), seconds(12)));
  EXPECT_TRUE(cluster_.RemoveClient(alice_));
  cluster_.Finish(cut);
  cluster_.Run(LookUp(bob_, "d"));
}

}  // namespace
}  // namespace sheen::test
