// What a server with several OSTs is told again after its restart.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::seconds;

const std::string kText = "bytes";

// Written, closed and answered; not committed by the OSS.
async::Task<void> MakeFile(Filesystem* fs, std::string name) {
  const auto made = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  if (!made) co_return;
  const auto wrote =
      co_await fs->Write(made->attr.fid, made->handle, 0, AsBytes(kText), {.direct = true});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  const Status closed = co_await fs->Close(made->attr.fid, made->handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> ReadFile(Filesystem* fs, std::string name, std::string* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  EXPECT_TRUE(found) << name << (found ? "" : found.error().ToString());
  if (!found) co_return;
  const auto opened = co_await fs->Open(0, found->fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  std::string bytes(64, '?');
  const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(found->fid, opened->handle, 0, span);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  if (read) *out = bytes.substr(0, *read);
  const Status closed = co_await fs->Close(found->fid, opened->handle);
  EXPECT_TRUE(closed);
}

// Of two targets of one server one does not answer what it is told again: what the other one had
// lost is there before it would be too late.
TEST(SimKeptTwoOstTest, ATargetThatDoesNotAnswerLosesNothingOfOthers) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .ost_count = 2, .one_oss = true});
  Random random(seed);
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  std::vector<std::string> names;
  for (int i = 0; i < 8; ++i) names.push_back("f" + std::to_string(i));
  for (const std::string& name : names) cluster.Run(MakeFile(alice, name));
  const client::KeptWrites& kept = alice->state()->kept_writes;
  ASSERT_GT(kept.BytesOf(0), 0U);
  ASSERT_GT(kept.BytesOf(1), 0U);
  // The first to come hangs, of whichever target; she alone has something to repeat.
  ASSERT_TRUE(cluster.faults("oss0")->Arm(
      "server.received.ost_write",
      {.action = rpc::FaultAction::kDelay, .count = 1, .delay_ms = 3'600'000}));
  cluster.PowerCutOss(&random);
  const uint64_t boot = cluster.oss(0)->Boot();
  const auto waits = [&] { return kept.AwaitReplay(0, boot) + kept.AwaitReplay(1, boot); };
  ASSERT_EQ(waits(), 2);
  EXPECT_TRUE(async::RunUntil(
      cluster.shard(), [&] { return waits() == 1; }, seconds(15)));
  // Others are served after 20 s, and she is late then.
  async::RunFor(cluster.shard(), seconds(5));
  cluster.Run(MakeFile(bob, "g"));
  cluster.faults("oss0")->Disarm();
  async::RunFor(cluster.shard(), seconds(120));
  int there = 0;
  for (const std::string& name : names) {
    std::string bytes;
    cluster.Run(ReadFile(bob, name, &bytes));
    there += bytes == kText ? 1 : 0;
  }
  EXPECT_GE(there, 4) << "one target has half of them";
}

}  // namespace
}  // namespace sheen::test
