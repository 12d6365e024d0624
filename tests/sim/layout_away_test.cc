// Layouts under locks while a server is away, slow or coming back: who has a file open goes on.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/state.h"
#include "layout_rig.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

class SimLayoutAway : public LayoutScene {};

// Carol is waited for, and may repeat what was lost: of layouts of files that there are, nothing.
TEST_F(SimLayoutAway, WhoHasAFileOpenDoesNotWaitForClientsAfterAPowerCutOfTheMds) {
  Start({"alice", "bob", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  ExpectRecord(handles_[1], 0, 1);
  Pass(std::chrono::seconds(2));
  cluster_.LoseClient("carol");
  cluster_.PowerCutMds(&random_);
  EXPECT_LT(Write(handles_[0], 0, 2), std::chrono::seconds(2));
  const Nanos begun = cluster_.shard()->Now();
  ExpectRecord(handles_[1], 0, 2);
  EXPECT_LT(cluster_.shard()->Now() - begun, std::chrono::seconds(2));
  // What changes something waits: she may have locks on it.
  cluster_.Run([](Filesystem* fs) -> async::Task<void> {
    const auto made = co_await fs->Create(0, fs->root(), "new", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(made);
  }(clients_[0]));
  EXPECT_GT(cluster_.shard()->Now() - begun, std::chrono::seconds(10));
}

// All that fsync needs are the OSTs.
TEST_F(SimLayoutAway, OneFsyncOfManyWaitsForAnMdsThatIsAway) {
  Start({"alice", "bob"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1);
  ASSERT_TRUE(Fsync(handles_[0]));
  cluster_.network()->Partition("alice", "mds0");
  cluster_.network()->Break("alice", "mds0");
  Pass(std::chrono::seconds(3));
  // The first write waits as well, then I/O goes on for a while.
  Write(handles_[0], 0, 2);
  ASSERT_TRUE(Fsync(handles_[0]));
  const Nanos begun = cluster_.shard()->Now();
  for (uint64_t i = 0; i < 20; ++i) {
    Write(handles_[0], 0, 3 + i);
    const Status synced = Fsync(handles_[0]);
    EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
  }
  EXPECT_LT(cluster_.shard()->Now() - begun, std::chrono::seconds(3));
  cluster_.network()->Heal("alice", "mds0");
  ExpectRecord(handles_[1], 0, 22);
}

// All who use the file wait, but the hold must not end under the copy.
TEST_F(SimLayoutAway, TheEndOfACopyThatTakesLongKeepsTheHold) {
  Start({"alice", "carol"}, Plain(1, kMebibyte));
  Write(handles_[0], 0, 1, {.direct = true});
  cluster_.Run([](SimCluster* cluster, Handle alice, Handle mover) -> async::Task<void> {
    EXPECT_TRUE(co_await mover.fs->BeginCopy(0, mover.fid, mover.id, Plain(2, 65536)));
    EXPECT_TRUE(co_await CopyAll(mover));
    co_await WriteOne(alice, 0, 2, {.direct = true});
    const auto complete = co_await mover.fs->HoldLayout(mover.fid, mover.id);
    EXPECT_TRUE(complete && !*complete) << "it was written";
    EXPECT_TRUE(cluster->faults("carol")->Arm(
        "client.send.ost_sync", {.action = rpc::FaultAction::kDelay, .delay_ms = 12'000}));
    const Status copied = co_await CopyAll(mover);
    EXPECT_TRUE(copied) << (copied ? "" : copied.error().ToString());
    const Status swapped = co_await mover.fs->FinishCopy(mover.fid, mover.id);
    EXPECT_TRUE(swapped) << (swapped ? "" : swapped.error().ToString());
    mover.fs->EndCopy(mover.fid, mover.id);
  }(&cluster_, handles_[0], handles_[1]));
  ExpectRecord(handles_[0], 0, 2);
}

}  // namespace
}  // namespace sheen::test
