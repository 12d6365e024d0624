// What somebody was shown stays, though who made it and the machine that had it are gone: answers
// rest on what is durable, and a size on what was synced.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <optional>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::seconds;

async::Task<void> MakeDirectory(Filesystem* fs, std::string name) {
  const auto made = co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
}

// What a process that goes on does with the answer, is its own.
async::Task<void> LookUp(Filesystem* fs, std::string name, std::optional<Errc>* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  *out = found ? Errc::kOk : found.error().code();
}

async::Task<void> WriteFile(Filesystem* fs, std::string name, uint64_t offset, std::string bytes,
                            bool open) {
  const auto opened = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  const Fid fid = opened->attr.fid;
  const auto wrote = co_await fs->Write(fid, opened->handle, offset, AsBytes(bytes), {});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  const Status synced = co_await fs->Fsync(fid);
  EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
  if (open) co_return;
  const Status closed = co_await fs->Close(fid, opened->handle);
  EXPECT_TRUE(closed);
}

async::Task<void> SizeOf(Filesystem* fs, std::string name, uint64_t* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  EXPECT_TRUE(found) << (found ? "" : found.error().ToString());
  if (!found) co_return;
  const auto attr = co_await fs->GetAttr(0, found->fid);
  EXPECT_TRUE(attr) << (attr ? "" : attr.error().ToString());
  if (attr) *out = attr->size;
}

// Bob looks at what alice has made and no disk has; both her machine and the MDS's lose power at
// the very moment of his answer.
TEST(SimGroundTest, WhatSomebodyWasShownStaysThoughItsMakerAndTheMdsLosePower) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  cluster.Run(MakeDirectory(alice, "d"));
  ASSERT_GT(cluster.mds_disk()->unsynced_batches(), 0U) << "the scene needs it on no disk";
  std::optional<Errc> shown;
  cluster.Run(LookUp(bob, "d", &shown));
  ASSERT_EQ(shown, Errc::kOk);
  cluster.LoseClient("alice");
  cluster.PowerCutMds(nullptr);
  async::RunFor(cluster.shard(), seconds(30));
  std::optional<Errc> again;
  cluster.Run(LookUp(bob, "d", &again));
  EXPECT_EQ(again, Errc::kOk) << "bob was shown it";
}

// An old file grows; its new end is synced and known to the OSS and to its writer alone.
TEST(SimGroundTest, ASyncedEndIsSeenThoughItsWriterAndAllServersLosePower) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Random random(TestSeed() + 1);
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  constexpr uint64_t kOld = 1000;
  constexpr uint64_t kNew = 70'000;
  cluster.Run(WriteFile(alice, "f", 0, std::string(kOld, 'o'), false));
  async::RunFor(cluster.shard(), seconds(5));  // the size that the MDS then has is durable
  cluster.Run(WriteFile(alice, "f", kOld, std::string(kNew - kOld, 'n'), true));
  cluster.LoseClient("alice");
  cluster.PowerCutMds(nullptr);
  cluster.PowerCutOss(&random);
  async::RunFor(cluster.shard(), seconds(30));
  uint64_t size = 0;
  cluster.Run(SizeOf(bob, "f", &size));
  EXPECT_EQ(size, kNew) << "what was synced is not seen";
}

}  // namespace
}  // namespace sheen::test
