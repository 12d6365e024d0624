// How a SimCluster's machines and processes end, and what else goes wrong there.
#include <gtest/gtest.h>

#include "base/log.h"
#include "support/sim_cluster_parts.h"

namespace sheen::test {

void SimCluster::PowerCutMds(Random* random) {
  network_.Kill("mds0");
  mds_dead_ = true;
  const size_t kept = random == nullptr ? 0 : random->Below(mds_disk_.unsynced_batches() + 1);
  mds_disk_.PowerOff(kept);
  StopMds();
  mds_disk_.PowerOn();
  mds_dead_ = false;
  ++mds_machine_boot_;
  StartMds();
}

void SimCluster::StopDeadOss() {
  for (size_t i = 0; i < oss_->servers.size(); ++i) {
    Oss::Server& oss = oss_->servers[i];
    oss.listener.reset();
    oss.service->BeginStop();
    if (agents_ != nullptr) agents_->BeginStop("oss" + std::to_string(i));
    // Commits fail: there is nothing to commit to.
    Run([](rpc::Server* server, oss::OssService* service) -> async::Task<void> {
      co_await server->Stop();
      const Status stopped = co_await service->Stop();
      static_cast<void>(stopped);
    }(oss.server.get(), oss.service.get()));
    if (agents_ != nullptr) Run(agents_->Detach("oss" + std::to_string(i)));
  }
  AwaitControlCalls();
  oss_.reset();
  for (auto& ost : osts_) {
    Run([](Ost* o, io::FileIo* io) -> async::Task<void> {
      const Status closed = co_await o->target->Close(io);
      static_cast<void>(closed);
    }(ost.get(), IoOf(*ost)));
    ost->target.reset();
  }
}

void SimCluster::PowerCutOss(Random* random) {
  for (auto& ost : osts_) network_.Kill("oss" + std::to_string(ost->index));
  oss_dead_ = true;  // nor does the MDS hear that its targets have stopped
  for (auto& ost : osts_) {
    ost->files.PowerOff(random);
    ost->disk.PowerOff(random->Below(ost->disk.unsynced_batches() + 1));
  }
  StopDeadOss();
  oss_dead_ = false;
  ++machine_boot_;
  for (auto& ost : osts_) {
    ost->files.PowerOn();
    ost->disk.PowerOn();
  }
  StartOss();
}

DiskTrouble* SimCluster::disk(uint32_t ost) {
  SHEEN_ASSERT(ost == 0 || !options_.one_oss);  // all are on the first one's
  return osts_.at(ost)->trouble.get();
}

kv::MemoryDisk* SimCluster::index_disk(uint32_t ost) { return &osts_.at(ost)->disk; }

rpc::FaultPoints* SimCluster::faults(const std::string& node) {
  std::unique_ptr<rpc::FaultPoints>& points = faults_[node];
  if (points) return points.get();
  const auto kind = node == "mds0"             ? rpc::FaultNode::kMds
                    : node.starts_with("oss") ? rpc::FaultNode::kOss
                                              : rpc::FaultNode::kClient;
  points = std::make_unique<rpc::FaultPoints>(kind);
  points->OnKill([this, kind] {
    if (kind == rpc::FaultNode::kMds) DieMds();
    if (kind == rpc::FaultNode::kOss) DieOss();
  });
  return points.get();
}

// From now on nothing of it reaches the network or its disk.
void SimCluster::DieMds() {
  network_.Kill("mds0");
  mds_->fuse->Blow();
  mds_dead_ = true;
}

void SimCluster::DieOss() {
  for (auto& ost : osts_) {
    network_.Kill("oss" + std::to_string(ost->index));
    ost->fuse->Blow();
  }
  oss_dead_ = true;
}

bool SimCluster::Revive() {
  const bool any = mds_dead_ || oss_dead_;
  if (mds_dead_) {
    mds_->listener.reset();
    Run([](Mds* mds) -> async::Task<void> {
      co_await mds->server->Stop();
      const Status stopped = co_await mds->service->Stop();
      static_cast<void>(stopped);  // there is nothing to commit to
    }(mds_.get()));
    mds_.reset();
    mds_dead_ = false;
    StartMds();
  }
  if (oss_dead_) {
    StopDeadOss();
    oss_dead_ = false;
    StartOss();
  }
  return any;
}

void SimCluster::Evict(client::Filesystem* client) {
  const auto session = mds_->sessions->FindClient(client->identity().uuid());
  ASSERT_NE(session, nullptr);
  Run([](mds::MdsService* service, uint64_t id) -> async::Task<void> {
    const Status evicted = co_await service->EvictSession(id, "a test");
    EXPECT_TRUE(evicted) << (evicted ? "" : evicted.error().ToString());
  }(mds_->service.get(), session->id()));
}

}  // namespace sheen::test
