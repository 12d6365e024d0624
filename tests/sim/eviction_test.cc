// A client that the MDS evicts while it writes: its file goes, and no write of it arrives later.
#include <fcntl.h>
#include <gtest/gtest.h>

#include <string>

#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr std::string_view kText = "written by alice";

const client::CreateOptions kWanted{.mode = 0644, .flags = O_RDWR};

ByteSpan Text() { return {reinterpret_cast<const std::byte*>(kText.data()), kText.size()}; }

class EvictedWriter final {
 public:
  async::Task<void> Begin(Filesystem* alice, Filesystem* bob) {
    auto made = co_await alice->Create(0, alice->root(), "f", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(made);
    if (!made) co_return;
    fid_ = made->attr.fid;
    handle_ = made->handle;
    const auto wrote = co_await alice->Write(fid_, handle_, 0, Text(), {});
    EXPECT_TRUE(wrote);
    const auto kept = co_await alice->Create(0, alice->root(), "kept", kWanted);
    EXPECT_TRUE(kept);
    if (!kept) co_return;
    kept_ = kept->attr.fid;
    kept_handle_ = kept->handle;
    const Status unlinked = co_await bob->Unlink(0, bob->root(), "f");
    EXPECT_TRUE(unlinked);
  }
  // Its sessions at the OSSs are fenced, so the write ends with an error that is not tried again.
  // Or it asks for the layout first, since the lock on it is too old: the file is gone.
  async::Task<void> WriteLate(Filesystem* alice) {
    const auto wrote = co_await alice->Write(fid_, handle_, 0, Text(), {});
    EXPECT_FALSE(wrote);
    const Errc code = wrote ? Errc::kOk : wrote.error().code();
    EXPECT_TRUE(code == Errc::kFenced || code == Errc::kStale) << wrote.error().ToString();
  }
  // It has learned of its eviction and is a client like any other, with what is still there.
  async::Task<void> GoOn(Filesystem* alice, Filesystem* bob) {
    const auto late = co_await alice->Write(kept_, kept_handle_, 0, Text(), {});
    EXPECT_TRUE(late) << (late ? "" : late.error().ToString());
    const auto made = co_await alice->Create(0, alice->root(), "new", kWanted);
    EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
    if (!made) co_return;
    const auto wrote = co_await alice->Write(made->attr.fid, made->handle, 0, Text(), {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    const auto seen = co_await bob->Lookup(0, bob->root(), "new");
    EXPECT_TRUE(seen);
    if (seen) EXPECT_EQ(seen->size, kText.size());
    const auto kept = co_await bob->Lookup(0, bob->root(), "kept");
    EXPECT_TRUE(kept);
    if (kept) EXPECT_EQ(kept->size, kText.size());
  }
  async::Task<void> CheckGone(Filesystem* bob) {
    const auto attr = co_await bob->GetAttr(0, fid_);
    EXPECT_FALSE(attr);
  }

 private:
  Fid fid_;
  uint64_t handle_ = 0;
  Fid kept_;
  uint64_t kept_handle_ = 0;
};

// While it is away others make the file longer; then it alone has it open for writing again.
class EvictedAppender final {
 public:
  async::Task<void> Begin(Filesystem* alice, Filesystem* bob) {
    const auto made = co_await alice->Create(0, alice->root(), "log", kWanted);
    EXPECT_TRUE(made);
    if (!made) co_return;
    fid_ = made->attr.fid;
    handle_ = made->handle;
    co_await Append(alice, handle_);
    const auto opened = co_await bob->Open(0, fid_, O_WRONLY | O_APPEND);
    EXPECT_TRUE(opened);
    if (opened) bobs_ = opened->handle;
    co_await Append(alice, handle_);
    const auto kept = co_await alice->Fsync(fid_);
    EXPECT_TRUE(kept);
  }
  async::Task<void> GrowMeanwhile(Filesystem* bob) {
    co_await Append(bob, bobs_);
    co_await Append(bob, bobs_);
    const Status closed = co_await bob->Close(fid_, bobs_);
    EXPECT_TRUE(closed);
  }
  async::Task<void> CheckSize(Filesystem* fs, size_t records) {
    const auto attr = co_await fs->GetAttr(0, fid_);
    EXPECT_TRUE(attr) << (attr ? "" : attr.error().ToString());
    if (attr) EXPECT_EQ(attr->size, records * kText.size());
  }
  async::Task<void> Append(Filesystem* fs, uint64_t handle) {
    client::WriteOptions options;
    options.append = options.uncached = true;
    const auto wrote = co_await fs->Write(fid_, handle, 0, Text(), options);
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  }
  async::Task<void> AppendMore(Filesystem* alice) { co_await Append(alice, handle_); }
  async::Task<void> Close(Filesystem* alice) {
    const Status closed = co_await alice->Close(fid_, handle_);
    EXPECT_TRUE(closed);
  }

 private:
  Fid fid_;
  uint64_t handle_ = 0;
  uint64_t bobs_ = 0;
};

TEST(SimEvictionTest, WhatOthersWroteMeanwhileIsInTheSizes) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  EvictedAppender appender;
  cluster.Run(appender.Begin(alice, bob));
  cluster.Evict(alice);
  cluster.Run(appender.GrowMeanwhile(bob));
  async::RunFor(cluster.shard(), std::chrono::seconds(30));
  for (size_t records = 4; records < 7; ++records) {
    cluster.Run(appender.CheckSize(alice, records));
    cluster.Run(appender.CheckSize(bob, records));
    cluster.Run(appender.AppendMore(alice));
  }
  cluster.Run(appender.Close(alice));
  async::RunFor(cluster.shard(), std::chrono::seconds(1));
  cluster.Run(appender.CheckSize(bob, 7));
  cluster.Run(appender.CheckSize(alice, 7));
}

TEST(SimEvictionTest, NoWriteOfAnEvictedClientArrives) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  EvictedWriter writer;
  cluster.Run(writer.Begin(alice, bob));
  cluster.Evict(alice);
  cluster.Run(writer.CheckGone(bob));
  cluster.Run(writer.WriteLate(alice));
  async::RunFor(cluster.shard(), std::chrono::seconds(30));
  cluster.Run(writer.GoOn(alice, bob));
}

TEST(SimEvictionTest, AClientThatIsAwayForLongerThanItsLeaseComesBackByItself) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  EvictedWriter writer;
  cluster.Run(writer.Begin(alice, bob));
  cluster.network()->Partition("alice", "mds0");
  async::RunFor(cluster.shard(), std::chrono::seconds(200));
  // Its file went, as nobody else had it.
  cluster.Run(writer.CheckGone(bob));
  // Its layout was not proved for too long to be used: the write waits for the MDS.
  const auto late = cluster.Begin(writer.WriteLate(alice));
  cluster.network()->Heal("alice", "mds0");
  cluster.Finish(late);
  async::RunFor(cluster.shard(), std::chrono::seconds(30));
  cluster.Run(writer.GoOn(alice, bob));
}

// The first of its connections after the eviction ends before all is declared again. The next one
// finds nothing new about the session; that the OSSs refuse the old ones is as true as before.
TEST(SimEvictionTest, AClientThatIsCutOffWhileItComesBackGoesOn) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* const alice = cluster.AddClient("alice");
  Filesystem* const bob = cluster.AddClient("bob");
  EvictedWriter writer;
  cluster.Run(writer.Begin(alice, bob));
  const std::string point = "server.received.mds_open";
  ASSERT_TRUE(cluster.faults("mds0")->Arm(point, {.action = rpc::FaultAction::kDrop, .count = 1}));
  cluster.Evict(alice);
  const auto cut_off = [&] { return cluster.faults("mds0")->HitsOf(point) > 0; };
  ASSERT_TRUE(async::RunUntil(cluster.shard(), cut_off, std::chrono::seconds(60)));
  async::RunFor(cluster.shard(), std::chrono::seconds(30));
  cluster.Run(writer.GoOn(alice, bob));
}

}  // namespace
}  // namespace sheen::test
