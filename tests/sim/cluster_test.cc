// Whole clusters from a seed: a random workload of two clients, checked against a model after every
// step. Every operation of one client must be seen by the other at once.

#include <gtest/gtest.h>

#include <vector>

#include "sim/workload.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr int kSteps = 300;

TEST(SimClusterTest, TwoClientsAgreeWithTheModel) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .checks_exclusive = true});
  Workload workload({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed);
  cluster.Run(workload.Run(kSteps));
  cluster.Run(workload.CheckAll());
}

TEST(SimClusterTest, BrokenConnectionsAreNotSeen) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .break_one_in = 40, .checks_exclusive = true});
  Workload workload({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed);
  cluster.Run(workload.Run(kSteps));
  cluster.Run(workload.CheckAll());
  EXPECT_GT(cluster.network()->connections_broken(), 3U);
}

TEST(SimClusterTest, AStoreThatWouldBlockChangesNothing) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .would_block_every = 5, .checks_exclusive = true});
  Workload workload({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed);
  cluster.Run(workload.Run(kSteps));
  cluster.Run(workload.CheckAll());
}

TEST(SimClusterTest, RestartsOfTheServersAreNotSeen) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .checks_exclusive = true});
  Workload workload({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed);
  for (int round = 0; round < 6 && !::testing::Test::HasFailure(); ++round) {
    cluster.Run(workload.Run(kSteps / 6));
    if (round % 2 == 0) cluster.RestartMds();
    if (round % 2 == 1) cluster.RestartOss();
  }
  cluster.Run(workload.CheckAll());
}

// What was answered and not committed is repeated by those who were answered; in the middle of
// operations, too.
void RunWithPowerCuts(bool mds, bool oss, size_t clients) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  std::vector<Filesystem*> mounts = {cluster.AddClient("alice")};
  if (clients > 1) mounts.push_back(cluster.AddClient("bob"));
  Workload workload(mounts, seed);
  Random random(seed + 1);
  for (int round = 0; round < 8 && !::testing::Test::HasFailure(); ++round) {
    const auto done = cluster.Begin(workload.Run(kSteps / 8));
    async::RunFor(cluster.shard(), std::chrono::milliseconds(random.Below(400)));
    if (mds) cluster.PowerCutMds(&random);
    if (oss && random.OneIn(mds ? 2 : 1)) cluster.PowerCutOss(&random);
    cluster.Finish(done);
  }
  cluster.Run(workload.CheckAll());
}

TEST(SimPowerCutTest, TheMdsLosesNothingThatItsClientKnows) { RunWithPowerCuts(true, false, 1); }

TEST(SimPowerCutTest, TheOssLosesNothingThatItsClientKnows) { RunWithPowerCuts(false, true, 1); }

TEST(SimPowerCutTest, TheOssLosesNothingThatTwoClientsKnow) { RunWithPowerCuts(false, true, 2); }

TEST(SimPowerCutTest, TheMdsLosesNothingThatTwoClientsKnow) { RunWithPowerCuts(true, false, 2); }

TEST(SimPowerCutTest, NeitherLosesAnything) { RunWithPowerCuts(true, true, 2); }

}  // namespace
}  // namespace sheen::test
