// Clients that come back when the MDS does not wait for them any more.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::seconds;

// By name, with `bytes`, and on all disks.
async::Task<void> MakeFile(Filesystem* fs, std::string name, std::string bytes) {
  const client::CreateOptions wanted{.mode = 0644, .flags = O_RDWR};
  const auto made = co_await fs->Create(0, fs->root(), name, wanted);
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  if (!made) co_return;
  const Fid fid = made->attr.fid;
  const auto wrote = co_await fs->Write(fid, made->handle, 0, AsBytes(bytes), {});
  EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  const Status synced = co_await fs->Fsync(fid);
  EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
  const Status closed = co_await fs->Close(fid, made->handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> Unlink(Filesystem* fs, std::string name) {
  const Status gone = co_await fs->Unlink(0, fs->root(), name);
  EXPECT_TRUE(gone) << (gone ? "" : gone.error().ToString());
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

async::Task<void> SyncRoot(Filesystem* fs, Errc* out) {
  const Status synced = co_await fs->FsyncDir(fs->root());
  *out = synced ? Errc::kOk : synced.error().code();
}

// She has removed a name, which the MDS has lost. When she is back the name is that of another's
// file: it stays, and she hears that what she was answered is not so.
TEST(SimLateTest, WhatIsRepeatedTooLateUndoesNothingOfOthers) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  cluster.Run(MakeFile(alice, "x", "old"));
  cluster.Run(Unlink(alice, "x"));
  ASSERT_GT(alice->state()->kept_requests.size(), 0U);
  cluster.network()->Partition("alice", "mds0");
  cluster.PowerCutMds(nullptr);
  cluster.Run(Unlink(bob, "x"));
  cluster.Run(MakeFile(bob, "x", "new"));
  cluster.network()->Heal("alice", "mds0");
  async::RunFor(cluster.shard(), seconds(30));
  std::string bytes;
  cluster.Run(ReadFile(bob, "x", &bytes));
  EXPECT_EQ(bytes, "new");
  Errc synced = Errc::kOk;
  cluster.Run(SyncRoot(alice, &synced));
  EXPECT_EQ(synced, Errc::kIo);
  // In her old session, which goes on.
  cluster.Run(MakeFile(alice, "y", "more"));
}

}  // namespace
}  // namespace sheen::test
