// What is kept of a file whose objects have another inode's name.
#include "layout_rig.h"

namespace sheen::test {
namespace {

using std::chrono::seconds;

async::Task<void> WriteSome(Handle handle, uint64_t version, size_t records) {
  const std::vector<std::byte> record = RecordOf(version);
  for (uint64_t i = 0; i < records; ++i) {
    const auto wrote = co_await handle.fs->Write(handle.fid, handle.id, i * kRecordBytes, record,
                                                 {.direct = true});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  }
}

async::Task<void> MigrateAndSync(Handle handle) {
  const Status moved = co_await Migrate(handle, Plain(1, kMebibyte), true);
  EXPECT_TRUE(moved) << (moved ? "" : moved.error().ToString());
  const Status synced = co_await handle.fs->Fsync(handle.fid);
  EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
}

async::Task<void> WriteAndClose(Handle handle) {
  co_await WriteSome(handle, 2, 1);
  const Status closed = co_await handle.fs->Close(handle.fid, handle.id);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> ExpectToldByOpen(Handle handle) {
  const auto opened = co_await handle.fs->Open(0, handle.fid, O_RDWR);
  EXPECT_FALSE(opened) << "nobody hears that bytes of it are lost";
  if (!opened) EXPECT_EQ(opened.error().code(), Errc::kIo) << opened.error().ToString();
  const auto again = co_await handle.fs->Open(0, handle.fid, O_RDWR);
  EXPECT_TRUE(again) << (again ? "" : again.error().ToString());
}

// A migrated file's bytes are lost: alice could not repeat them in time. It is told of that file.
TEST(SimKeptLayoutTest, WhatIsLostAfterAMigrateIsToldOfTheFile) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 2});
  Random random(TestSeed());
  std::vector<Handle> handles;
  client::Filesystem* const alice = cluster.AddClient("alice");
  client::Filesystem* const bob = cluster.AddClient("bob");
  cluster.Run(OpenAll({alice}, Plain(1, kMebibyte), &handles));
  ASSERT_EQ(handles.size(), 1U);
  const Handle migrated = handles[0];
  cluster.Run(WriteSome(migrated, 1, 1));
  cluster.Run(MigrateAndSync(migrated));
  cluster.Run(WriteAndClose(migrated));
  const auto files = alice->state()->kept_writes.Files();
  ASSERT_EQ(files.size(), 1U);
  EXPECT_TRUE(files.begin()->second.contains(migrated.fid));
  for (const char* oss : {"oss0", "oss1"}) cluster.network()->Partition("alice", oss);
  cluster.PowerCutOss(&random);
  // Both servers wait for her, and go on without her.
  cluster.Run([](client::Filesystem* fs) -> async::Task<void> {
    client::CreateOptions options{.mode = 0644, .flags = O_RDWR | O_CREAT};
    options.layout_template = Plain(2, 65536);
    const auto opened = co_await fs->Create(0, fs->root(), "other", std::move(options));
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
    if (opened) co_await WriteSome({fs, opened->attr.fid, opened->handle}, 3, 8);
  }(bob));
  for (const char* oss : {"oss0", "oss1"}) cluster.network()->Heal("alice", oss);
  async::RunFor(cluster.shard(), seconds(30));
  EXPECT_TRUE(alice->state()->kept_writes.empty());
  cluster.Run(ExpectToldByOpen(migrated));
}

}  // namespace
}  // namespace sheen::test
