// Files opened for reading without asking the MDS: whatever others do to their names, they stay
// readable until they are closed, and nothing is left of them then.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "client/state.h"
#include "sheen/v1/mds.pb.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

const std::string kText = "what the file says";

uint64_t LocalOpens(Filesystem* fs) { return fs->state()->local_opens.load(); }

async::Task<void> Make(Filesystem* fs, std::string name, std::string text, Fid* out) {
  const auto opened = co_await fs->Create(0, fs->root(), std::move(name),
                                          {.mode = 0640, .flags = O_WRONLY | O_CREAT});
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  const auto written = co_await fs->Write(opened->attr.fid, opened->handle, 0, AsBytes(text), {});
  EXPECT_TRUE(written);
  const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
  EXPECT_TRUE(closed);
  *out = opened->attr.fid;
}

async::Task<void> Open(Filesystem* fs, Fid fid, uint64_t* handle) {
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_TRUE(attr);
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *handle = opened->handle;
}

async::Task<void> ExpectText(Filesystem* fs, Fid fid, uint64_t handle, std::string text) {
  std::vector<std::byte> bytes(text.size() + 10);
  const auto read = co_await fs->Read(fid, handle, 0, bytes);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  if (!read) co_return;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(bytes.data()), *read), text);
}

async::Task<void> Close(Filesystem* fs, Fid fid, uint64_t handle) {
  const Status closed = co_await fs->Close(fid, handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> Remove(Filesystem* fs, std::string name) {
  const Status removed = co_await fs->Unlink(0, fs->root(), std::move(name));
  EXPECT_TRUE(removed) << (removed ? "" : removed.error().ToString());
}

async::Task<void> Replace(Filesystem* fs, std::string from, std::string to) {
  const Status renamed =
      co_await fs->Rename(0, fs->root(), std::move(from), fs->root(), std::move(to), 0);
  EXPECT_TRUE(renamed) << (renamed ? "" : renamed.error().ToString());
}

async::Task<void> ExpectGone(Filesystem* fs, Fid fid) {
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_FALSE(attr);
}

async::Task<void> Pause(SimCluster* cluster, Nanos time) { co_await cluster->shard()->Sleep(time); }

class SimLocalOpensTest : public ::testing::Test {
 protected:
  void OpenIt(uint64_t break_one_in = 0) {
    cluster_ = std::make_unique<SimCluster>(
        SimOptions{.seed = TestSeed(), .break_one_in = break_one_in});
    alice_ = cluster_->AddClient("alice");
    bob_ = cluster_->AddClient("bob");
    cluster_->Run(Make(bob_, "f", kText, &fid_));
    cluster_->Run(Open(alice_, fid_, &handle_));
  }
  // Readable, and gone once it is closed.
  void ExpectOrphan() {
    cluster_->Run(ExpectText(alice_, fid_, handle_, kText));
    cluster_->Run(Close(alice_, fid_, handle_));
    cluster_->Run(ExpectGone(bob_, fid_));
    EXPECT_EQ(LocalOpens(alice_), 0U);
  }

  std::unique_ptr<SimCluster> cluster_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
  Fid fid_;
  uint64_t handle_ = 0;
};

TEST_F(SimLocalOpensTest, OpenReadCloseAsksNobodyTwice) {
  OpenIt();
  EXPECT_EQ(LocalOpens(alice_), 1U);
  cluster_->Run(ExpectText(alice_, fid_, handle_, kText));
  cluster_->Run(Close(alice_, fid_, handle_));
  EXPECT_EQ(LocalOpens(alice_), 0U);
}

TEST_F(SimLocalOpensTest, RemovedByAnother) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, RemovedHere) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->Run(Remove(alice_, "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, ReplacedByAnother) {
  OpenIt();
  Fid other;
  cluster_->Run(Make(bob_, "g", "something else", &other));
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->Run(Replace(bob_, "g", "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, RemovedAfterTheServersRestart) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->RestartMds();
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, RemovedAfterTheLinkWasLost) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->network()->Partition("alice", "mds0");
  cluster_->Run(Pause(cluster_.get(), std::chrono::milliseconds(300)));
  cluster_->network()->Heal("alice", "mds0");
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, RemovedAfterTooManyLocks) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  alice_->state()->locks.Trim(0);
  alice_->state()->contexts[cluster_->shard()->index()]->TrimLocks(true);
  cluster_->Run(Pause(cluster_.get(), std::chrono::milliseconds(100)));
  EXPECT_EQ(LocalOpens(alice_), 0U);
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

// The MDS cannot be told in time that the file is open here: so its lock is not given back.
TEST(SimLocalOpensDeadlineTest, ALockStaysWithWhatTheServerCouldNotBeToldOf) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice", std::chrono::seconds(1));
  Filesystem* bob = cluster.AddClient("bob");
  Fid fid;
  uint64_t handle = 0;
  cluster.Run(Make(bob, "f", kText, &fid));
  cluster.Run(Open(alice, fid, &handle));
  ASSERT_EQ(LocalOpens(alice), 1U);
  ASSERT_TRUE(cluster.faults("mds0")->Arm(
      "server.received.mds_open", {.action = rpc::FaultAction::kError, .count = 1'000'000}));
  alice->state()->locks.Trim(0);
  alice->state()->contexts[cluster.shard()->index()]->TrimLocks(true);
  cluster.Run(Pause(&cluster, std::chrono::seconds(3)));
  ASSERT_EQ(LocalOpens(alice), 1U) << "it was told after all";
  const auto removed = cluster.Begin(Remove(bob, "f"));
  cluster.Run(Pause(&cluster, std::chrono::seconds(1)));
  EXPECT_FALSE(*removed) << "nobody was asked";
  cluster.faults("mds0")->Disarm();
  cluster.Finish(removed);
  cluster.Run(ExpectText(alice, fid, handle, kText));
  cluster.Run(Close(alice, fid, handle));
  cluster.Run(ExpectGone(bob, fid));
}

// One handle stays, others of the same file come and go without end: one request, not one each.
TEST_F(SimLocalOpensTest, OnlyWhatStaysOpenIsTold) {
  OpenIt();
  ASSERT_EQ(LocalOpens(alice_), 1U);
  cluster_->faults("mds0")->CountAll(true);
  cluster_->Run([](SimCluster* cluster, Filesystem* fs, Fid fid) -> async::Task<void> {
    uint64_t last = 0;
    co_await Open(fs, fid, &last);
    for (int i = 0; i < 300; ++i) {
      uint64_t next = 0;
      co_await Open(fs, fid, &next);
      co_await Close(fs, fid, last);
      last = next;
      co_await cluster->shard()->Sleep(std::chrono::milliseconds(10));
    }
    co_await Close(fs, fid, last);
  }(cluster_.get(), alice_, fid_));
  EXPECT_EQ(LocalOpens(alice_), 0U);
  EXPECT_EQ(cluster_->faults("mds0")->HitsOf("server.received.mds_open"), 1U);
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

TEST_F(SimLocalOpensTest, TheServerIsToldOfWhatStaysOpen) {
  OpenIt();
  cluster_->Run(Pause(cluster_.get(), std::chrono::seconds(1)));
  EXPECT_EQ(LocalOpens(alice_), 0U);
  cluster_->Run(Remove(bob_, "f"));
  ExpectOrphan();
}

async::Task<void> ExpectRefused(Filesystem* fs, Fid fid) {
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_TRUE(attr);
  const auto opened = co_await fs->Open(fs->CredentialFor(1000, 1000, {}), fid, O_RDONLY);
  EXPECT_FALSE(opened);
  if (!opened) EXPECT_EQ(opened.error().code(), Errc::kAccess);
}

TEST_F(SimLocalOpensTest, WhoMayNotReadIsRefused) {
  OpenIt();
  cluster_->Run(ExpectRefused(alice_, fid_));
}

async::Task<void> ExpectAccessTime(Filesystem* fs, Fid fid, int64_t after) {
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_TRUE(attr);
  if (attr) EXPECT_GT(attr->atime_ns, after);
}

async::Task<void> MakeOld(Filesystem* fs, Fid fid, int64_t* atime_ns) {
  client::AttrChange change;
  change.valid = v1::SET_ATIME;
  change.atime_ns = 1'000'000'000;
  const auto changed = co_await fs->SetAttr(0, fid, change, 0);
  EXPECT_TRUE(changed);
  if (changed) *atime_ns = changed->atime_ns;
}

TEST_F(SimLocalOpensTest, TheAccessTimeIsTold) {
  OpenIt();
  cluster_->Run(Close(alice_, fid_, handle_));
  int64_t before = 0;
  cluster_->Run(MakeOld(bob_, fid_, &before));
  cluster_->Run(Open(alice_, fid_, &handle_));
  EXPECT_EQ(LocalOpens(alice_), 1U);
  cluster_->Run(ExpectText(alice_, fid_, handle_, kText));
  cluster_->Run(Close(alice_, fid_, handle_));
  cluster_->Run(ExpectAccessTime(bob_, fid_, before));
}

// One reads what the other makes, replaces and removes: an open file keeps its text.
class Churn final {
 public:
  Churn(SimCluster* cluster, uint64_t seed) : cluster_(cluster), random_(seed) {}
  uint64_t opened_locally() const { return opened_locally_; }

  async::Task<void> Change(Filesystem* fs, int steps) {
    for (int i = 0; i < steps && !::testing::Test::HasFailure(); ++i) {
      co_await Rest();
      const std::string name = Name();
      const std::string spare = "spare" + std::to_string(i);
      if (random_.OneIn(3)) {
        const Status removed = co_await fs->Unlink(0, fs->root(), name);
        if (!removed) EXPECT_EQ(removed.error().code(), Errc::kNoEntry);
        continue;
      }
      Fid fid;
      co_await Make(fs, spare, spare, &fid);
      texts_[fid] = spare;
      co_await Replace(fs, spare, name);
    }
    done_ = true;
  }

  async::Task<void> Look(Filesystem* fs) {
    while (!done_ && !::testing::Test::HasFailure()) {
      co_await Rest();
      const auto found = co_await fs->Lookup(0, fs->root(), Name());
      if (!found) {
        EXPECT_EQ(found.error().code(), Errc::kNoEntry) << found.error().ToString();
        continue;
      }
      const auto opened = co_await fs->Open(0, found->fid, O_RDONLY);
      // Removed after the look.
      if (!opened) {
        const Errc code = opened.error().code();
        EXPECT_TRUE(code == Errc::kNoEntry || code == Errc::kStale) << opened.error().ToString();
        continue;
      }
      opened_locally_ += LocalOpens(fs) > 0 ? 1 : 0;
      if (random_.OneIn(2)) co_await Rest();
      if (random_.OneIn(8)) co_await cluster_->shard()->Sleep(std::chrono::milliseconds(700));
      co_await ExpectText(fs, found->fid, opened->handle, texts_[found->fid]);
      co_await Close(fs, found->fid, opened->handle);
    }
  }

 private:
  async::Task<void> Rest() {
    co_await cluster_->shard()->Sleep(std::chrono::microseconds(random_.Below(900)));
  }
  std::string Name() { return "name" + std::to_string(random_.Below(3)); }

  SimCluster* const cluster_;
  Random random_;
  std::map<Fid, std::string> texts_;
  bool done_ = false;
  uint64_t opened_locally_ = 0;
};

void RunChurn(SimCluster* cluster, uint64_t seed, uint64_t* opened_locally) {
  Filesystem* bob = cluster->AddClient("bob");
  Churn churn(cluster, seed);
  std::vector<std::shared_ptr<bool>> lookers;
  for (const char* name : {"alice", "carol"}) {
    Filesystem* fs = cluster->AddClient(name);
    lookers.push_back(cluster->Begin(churn.Look(fs)));
    lookers.push_back(cluster->Begin(churn.Look(fs)));
  }
  cluster->Run(churn.Change(bob, 150));
  for (const auto& looker : lookers) cluster->Finish(looker);
  *opened_locally = churn.opened_locally();
}

TEST(SimLocalOpensChurnTest, OpenFilesKeepTheirText) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  uint64_t opened_locally = 0;
  RunChurn(&cluster, seed, &opened_locally);
  EXPECT_GT(opened_locally, 0U);
}

TEST(SimLocalOpensChurnTest, OpenFilesKeepTheirTextOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .break_one_in = 80});
  // Where connections keep breaking there may be no such opens at all.
  uint64_t opened_locally = 0;
  RunChurn(&cluster, seed, &opened_locally);
}

}  // namespace
}  // namespace sheen::test
