// Whole clusters in which everything fails that may: four clients work at the same time, each in a
// directory of its own and all on the same things; meanwhile messages are lost, late and doubled,
// links are cut, servers and a client die, machines lose power, disks are slow, full or failing,
// clocks jump. No application sees more of it than a wait, but for what the failing disk refuses.

#include <gtest/gtest.h>

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "sim/shared_work.h"
#include "sim/workload.h"
#include "support/sim_cluster.h"
#include "support/troubled_disk.h"

namespace sheen::test {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int kClients = 3;      // that live; one more does not
constexpr int kOwnSteps = 60;    // of each client, against its model
constexpr int kSharedSteps = 60;  // of each
constexpr int kTroubles = 18;
constexpr uint32_t kOsts = 3;
constexpr uint32_t kTroubledOst = kOsts - 1;
// The last wait for a client that is gone ends before this; then everything goes on.
constexpr Nanos kHealed = seconds(80);

// All that an application does not see, at random.
class Troubles final {
 public:
  Troubles(SimCluster* cluster, uint64_t seed) : cluster_(cluster), random_(seed) {}

  void MakeOne() {
    const std::string client = AnyClient();
    const std::string server = AnyServer();
    const uint64_t kind = random_.Below(16);
    kinds_.insert(kind);
    ++made_;
    switch (kind) {
      case 0: return cluster_->network()->Break(client, server);
      case 1: return CutOff(client, server, 1500);
      case 2: return CutOneWay(client, server);
      case 3: return Flap(client, server);
      case 4: return cluster_->RestartMds();
      case 5: return cluster_->RestartOss();
      case 6: return cluster_->KillMds();
      case 7: return cluster_->KillOss();
      case 8: return cluster_->PowerCutMds(&random_);
      case 9: return cluster_->PowerCutOss(&random_);
      case 10: return SlowDisk();
      case 11:
        return cluster_->mds_disk()->WouldBlockEvery(random_.OneIn(2) ? 0 : 2 + random_.Below(5));
      case 12: return FullDisk();
      case 13: return FailingDisk();
      case 14:
        return cluster_->JumpClocks(
            std::chrono::hours(static_cast<int64_t>(random_.Below(2000)) - 1000));
      default: return ArmAny();
    }
  }
  void End() {
    cluster_->network()->SetOptions({});
    for (uint32_t ost = 0; ost < kOsts; ++ost) *cluster_->disk(ost) = {};
    cluster_->mds_disk()->WouldBlockEvery(0);
  }
  int made() const { return made_; }
  size_t kinds() const { return kinds_.size(); }

 private:
  std::string AnyClient() {
    static const std::string kNames[] = {"alice", "bob", "carol"};
    return kNames[random_.Below(3)];
  }
  std::string AnyServer() {
    return random_.OneIn(2) ? "mds0" : "oss" + std::to_string(random_.Below(kOsts));
  }
  void Pause(uint64_t ms_max) {
    async::RunFor(cluster_->shard(), milliseconds(random_.Below(ms_max)));
  }
  void CutOff(const std::string& client, const std::string& server, uint64_t ms_max) {
    cluster_->network()->Partition(client, server);
    Pause(ms_max);
    cluster_->network()->Heal(client, server);
  }
  void CutOneWay(const std::string& client, const std::string& server) {
    const bool to_server = random_.OneIn(2);
    const std::string& from = to_server ? client : server;
    const std::string& to = to_server ? server : client;
    cluster_->network()->CutOneWay(from, to);
    Pause(3000);
    cluster_->network()->HealOneWay(from, to);
  }
  void Flap(const std::string& client, const std::string& server) {
    for (int i = 0; i < 6; ++i) {
      CutOff(client, server, 200);
      if (random_.OneIn(2)) cluster_->network()->Break(client, server);
      Pause(50);
    }
  }
  void SlowDisk() {
    DiskTrouble* const disk = cluster_->disk(static_cast<uint32_t>(random_.Below(kOsts)));
    disk->write_delay = milliseconds(random_.Below(20));
    disk->read_delay = milliseconds(random_.Below(20));
    disk->sync_delay = milliseconds(random_.Below(1500));
  }
  void FullDisk() {
    cluster_->disk(kTroubledOst)->fail_writes = Errc::kNoSpace;
    Pause(1000);
    cluster_->disk(kTroubledOst)->fail_writes = Errc::kOk;
  }
  // Its target stops, until its machine starts anew with a good one.
  void FailingDisk() {
    DiskTrouble* const disk = cluster_->disk(kTroubledOst);
    const bool index = random_.OneIn(3);
    if (index) cluster_->index_disk(kTroubledOst)->FailWrites(Errc::kIo);
    if (!index) (random_.OneIn(2) ? disk->fail_syncs : disk->fail_writes) = Errc::kIo;
    Pause(1500);
    disk->fail_syncs = disk->fail_writes = Errc::kOk;
    cluster_->index_disk(kTroubledOst)->FailWrites(Errc::kOk);
    cluster_->PowerCutOss(&random_);
  }
  // A request or an answer is lost, late or doubled.
  void ArmAny() {
    const std::string node = AnyServer();
    const auto names = rpc::FaultPoints::NamesOf(node == "mds0" ? rpc::FaultNode::kMds
                                                                : rpc::FaultNode::kOss);
    const std::string& name = names[random_.Below(names.size())];
    for (const auto action : {rpc::FaultAction::kDrop, rpc::FaultAction::kDuplicate,
                              rpc::FaultAction::kDelay}) {
      if (random_.OneIn(2)) continue;
      // Not every action applies everywhere.
      if (cluster_->faults(node)->Arm(name, {.action = action})) return;
    }
  }

  SimCluster* const cluster_;
  Random random_;
  std::set<uint64_t> kinds_;
  int made_ = 0;
};

async::Task<void> Work(Workload* workload, int steps) { co_await workload->Run(steps); }

class SimEverythingTest : public ::testing::Test {
 protected:
  ~SimEverythingTest() override { cluster_.reset(); }  // before who works on it

  void Start(uint64_t seed) {
    cluster_ = std::make_unique<SimCluster>(
        SimOptions{.seed = seed, .break_one_in = 400, .ost_count = kOsts});
    shared_ = std::make_unique<SharedWork>(cluster_.get(), seed + 1, kTroubledOst);
    for (const char* name : {"alice", "bob", "carol", "dave"}) {
      mounts_.push_back(cluster_->AddClient(name));
    }
    std::vector<Fid> directories;
    cluster_->Run(shared_->Prepare(mounts_[0], {"own0", "own1", "own2"}, &directories));
    ASSERT_EQ(directories.size(), kClients + 2U);
    for (int i = 0; i <= kClients; ++i) {
      workers_.push_back({.fs = mounts_[static_cast<size_t>(i)],
                          .number = i + 1,
                          .mortal = i == kClients});
    }
    for (size_t i = 0; i < kClients; ++i) {
      own_.push_back(std::make_unique<Workload>(std::vector{mounts_[i]}, seed + 10 + i));
      own_.back()->SetBase(directories[i]);
    }
  }
  void BeginAll() {
    for (auto& own : own_) begun_.push_back(cluster_->Begin(Work(own.get(), kOwnSteps)));
    for (Worker& worker : workers_) {
      begun_.push_back(cluster_->Begin(shared_->Run(&worker, kSharedSteps)));
    }
  }
  void LoseDave() {
    if (workers_.back().lost) return;
    cluster_->LoseClient("dave");
    shared_->Lose(&workers_.back());
  }
  // What waited goes on; who was lost comes back, long after it was given up.
  void FinishAll() {
    const Nanos healed = cluster_->shard()->Now();
    for (size_t i = 0; i + 1 < begun_.size(); ++i) cluster_->Finish(begun_[i]);
    EXPECT_LT(cluster_->shard()->Now() - healed, kHealed);
    async::RunFor(cluster_->shard(), seconds(40));
    for (const char* server : {"mds0", "oss0", "oss1", "oss2"}) {
      cluster_->network()->Heal("dave", server);
    }
    cluster_->Finish(begun_.back());
  }
  void CheckAll() {
    std::vector<client::Filesystem*> mounts(mounts_.begin(), mounts_.begin() + kClients);
    for (auto& own : own_) cluster_->Run(own->CheckAll(mounts));
    for (client::Filesystem* fs : mounts_) cluster_->Run(shared_->CheckAll(fs));
    async::RunFor(cluster_->shard(), seconds(5));
    cluster_->CheckExclusive();
  }

  // Destroyed after the cluster, on which tasks of theirs may still wait.
  std::unique_ptr<SharedWork> shared_;
  std::vector<std::unique_ptr<Workload>> own_;
  std::vector<Worker> workers_;
  std::vector<client::Filesystem*> mounts_;
  std::vector<std::shared_ptr<bool>> begun_;
  std::unique_ptr<SimCluster> cluster_;
};

TEST_F(SimEverythingTest, ThreeClientsAgreeWithTheModelWhateverFails) {
  const uint64_t seed = TestSeed();
  Start(seed);
  Troubles troubles(cluster_.get(), seed + 2);
  Random random(seed + 3);
  BeginAll();
  const uint64_t dies = random.Below(kTroubles);
  for (uint64_t i = 0; i < kTroubles && !HasFailure(); ++i) {
    async::RunFor(cluster_->shard(), milliseconds(random.Below(250)));
    if (i == dies) LoseDave();
    troubles.MakeOne();
  }
  troubles.End();
  LoseDave();
  FinishAll();
  CheckAll();
  EXPECT_GE(troubles.made(), 10);
  EXPECT_GE(shared_->done() + kClients * kOwnSteps, 300);
}

}  // namespace
}  // namespace sheen::test
