// What a mount promises about sizes and durability, with many handles and several clients at once.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "client/client_stats.h"
#include "sheen/v1/mds.pb.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

async::Task<Fid> MakeFile(Filesystem* fs, std::string name, std::string data) {
  const auto opened =
      co_await fs->Create(0, fs->root(), std::move(name), {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(opened);
  if (!opened) co_return Fid{};
  const auto written = co_await fs->Write(opened->attr.fid, opened->handle, 0, AsBytes(data), {});
  EXPECT_TRUE(written);
  const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
  EXPECT_TRUE(closed);
  co_return opened->attr.fid;
}

async::Task<void> OpenToTruncate(Filesystem* fs) {
  const Fid fid = co_await MakeFile(fs, "f", "some bytes");
  const auto opened = co_await fs->Open(0, fid, O_RDONLY | O_TRUNC);
  EXPECT_TRUE(opened);
  if (!opened) co_return;
  EXPECT_EQ(opened->attr.size, 0U);
  const Status closed = co_await fs->Close(fid, opened->handle);
  EXPECT_TRUE(closed);
  const auto attr = co_await fs->GetAttr(0, fid);
  EXPECT_TRUE(attr);
  if (attr) EXPECT_EQ(attr->size, 0U);
}

TEST(SimClientTest, AReadOnlyOpenWithTruncEmptiesTheFile) {
  SimCluster cluster({.seed = TestSeed()});
  cluster.Run(OpenToTruncate(cluster.AddClient("alice")));
}

async::Task<void> SearchFor(Filesystem* fs) {
  const client::CredentialId user = fs->CredentialFor(1000, 1000, {});
  const auto made = co_await fs->MakeNode(0, fs->root(), "d", {.mode = S_IFDIR | 0711});
  EXPECT_TRUE(made);
  if (!made) co_return;
  const Fid fid = co_await MakeFile(fs, "f", "x");
  const auto linked = co_await fs->Link(0, fid, made->fid, "f");
  EXPECT_TRUE(linked);
  auto found = co_await fs->Search(user, *made, "f");
  EXPECT_TRUE(found);
  client::AttrChange change;
  change.valid = v1::SET_MODE;
  change.mode = 0700;
  const auto closed = co_await fs->SetAttr(0, made->fid, change, 0);
  EXPECT_TRUE(closed);
  if (!closed) co_return;
  found = co_await fs->Search(0, *closed, "f");
  EXPECT_TRUE(found) << "and now it is known here";
  found = co_await fs->Search(user, *closed, "f");
  EXPECT_EQ(found ? Errc::kOk : found.error().code(), Errc::kAccess);
  client::Attr with_acl = *closed;
  with_acl.has_access_acl = true;
  found = co_await fs->Search(user, with_acl, "f");
  EXPECT_EQ(found ? Errc::kOk : found.error().code(), Errc::kAccess) << "by the MDS";
  const auto special = co_await fs->Lookup(0, fs->root(), ".lustre");
  EXPECT_TRUE(special);
  if (!special) co_return;
  found = co_await fs->Search(user, *special, "fid");
  EXPECT_EQ(found ? Errc::kOk : found.error().code(), Errc::kAccess);
}

TEST(SimClientTest, ASearchIsForWhoMaySearch) {
  SimCluster cluster({.seed = TestSeed()});
  cluster.Run(SearchFor(cluster.AddClient("alice")));
}

async::Task<void> ChangeAndSync(Filesystem* fs) {
  const Fid fid = co_await MakeFile(fs, "f", "x");
  const auto opened = co_await fs->Open(0, fid, O_RDWR);
  EXPECT_TRUE(opened);
  if (!opened) co_return;
  const Status before = co_await fs->Fsync(fid);
  EXPECT_TRUE(before);
  client::AttrChange change;
  change.valid = v1::SET_MODE;
  change.mode = 0600;
  const auto changed = co_await fs->SetAttr(0, fid, change, opened->handle);
  EXPECT_TRUE(changed);
  const Status after = co_await fs->Fsync(fid);
  EXPECT_TRUE(after);
}

TEST(SimClientTest, FsyncCoversAChangeOfModeBeforeIt) {
  SimCluster cluster({.seed = TestSeed()});
  cluster.Run(ChangeAndSync(cluster.AddClient("alice")));
  EXPECT_EQ(cluster.mds_disk()->unsynced_batches(), 0U);
}

// How often the MDS was asked for things of that kind.
uint64_t AskedMds(Filesystem* fs, std::string_view kind) {
  const TallyTable& table = fs->stats()->Mdt(0)->requests();
  for (size_t i = 0; i < table.size(); ++i) {
    if (table.spec(i).name == kind) return table.tally(i).samples();
  }
  ADD_FAILURE() << "no requests are called " << kind;
  return 0;
}

// As a kernel does it: a lookup, then the create with the open.
async::Task<void> MakeMany(Filesystem* fs, std::string directory, uint64_t count) {
  const auto made = co_await fs->MakeNode(0, fs->root(), directory, {.mode = S_IFDIR | 0755});
  EXPECT_TRUE(made);
  if (!made) co_return;
  for (uint64_t i = 0; i < count; ++i) {
    const std::string name = "f" + std::to_string(i);
    const auto found = co_await fs->Lookup(0, made->fid, name);
    EXPECT_FALSE(found);
    const auto opened =
        co_await fs->Create(0, made->fid, name, {.mode = 0644, .flags = O_RDWR | O_EXCL});
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    const auto attr = co_await fs->GetAttr(0, opened->attr.fid);
    EXPECT_TRUE(attr);
    const std::string data(100, 'd');
    const auto written = co_await fs->Write(opened->attr.fid, opened->handle, 0, AsBytes(data), {});
    EXPECT_TRUE(written);
    const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
    EXPECT_TRUE(closed);
  }
}

TEST(SimClientTest, ACreateInAnOwnDirectoryIsOneRequest) {
  constexpr uint64_t kCount = 50;
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice");
  for (const char* directory : {"first", "second"}) {
    SCOPED_TRACE(directory);
    const uint64_t creates = AskedMds(alice, "mds_create");
    const uint64_t closes = AskedMds(alice, "mds_close");
    const uint64_t lookups = AskedMds(alice, "mds_getattr_lock");
    const uint64_t all = AskedMds(alice, "req_waittime");
    cluster.Run(MakeMany(alice, directory, kCount));
    EXPECT_EQ(AskedMds(alice, "mds_create") - creates, kCount);
    EXPECT_EQ(AskedMds(alice, "mds_close") - closes, kCount);
    EXPECT_EQ(AskedMds(alice, "mds_getattr_lock") - lookups, 0U);
    // And the directory, its FID's sequence, a sign of life.
    EXPECT_LE(AskedMds(alice, "req_waittime") - all, 2 * kCount + 3);
  }
}

struct CutOff {
  Fid fid;
  uint64_t size = 0;
};

// The last close cannot ask the OSTs for the stripe that this mount has not written.
async::Task<void> CloseCutOff(SimCluster* cluster, Filesystem* fs, CutOff* out) {
  const layout::Layout striped = layout::PlainTemplate(2, 1 << 20);
  const auto made =
      co_await fs->CreateWithLayout(0, fs->root(), "f", 0644, layout::Encode(striped));
  EXPECT_TRUE(made);
  if (!made) co_return;
  const auto opened = co_await fs->Open(0, *made, O_WRONLY);
  EXPECT_TRUE(opened);
  if (!opened) co_return;
  const std::string data(5000, 'd');
  const auto written = co_await fs->Write(*made, opened->handle, 0, AsBytes(data), {});
  EXPECT_TRUE(written);
  cluster->network()->Partition("alice", "oss0");
  const Status closed = co_await fs->Close(*made, opened->handle);
  EXPECT_FALSE(closed);
  cluster->network()->Heal("alice", "oss0");
  *out = {*made, data.size()};
}

async::Task<void> ExpectSize(Filesystem* fs, const CutOff* file) {
  const auto attr = co_await fs->GetAttr(0, file->fid);
  EXPECT_TRUE(attr);
  if (attr) EXPECT_EQ(attr->size, file->size);
}

TEST(SimClientTest, ACloseThatCannotAskTheOstsLeavesNoWrongSize) {
  SimCluster cluster({.seed = TestSeed()});
  Filesystem* alice = cluster.AddClient("alice", std::chrono::seconds(5));
  Filesystem* bob = cluster.AddClient("bob");
  CutOff file;
  cluster.Run(CloseCutOff(&cluster, alice, &file));
  cluster.Run(ExpectSize(bob, &file));
}

// Extends one file again and again, through handles of its own.
struct Extender {
  Filesystem* fs = nullptr;
  Fid fid;
  Random random{1};
  uint64_t* end = nullptr;  // of all extenders: the farthest byte written
};

async::Task<Status> ExtendOften(Extender* self) {
  for (int round = 0; round < 12; ++round) {
    const bool by_name = self->random.OneIn(2);
    Result<client::Opened> opened = Fail(Errc::kIo);
    if (by_name) {
      opened = co_await self->fs->Create(0, self->fs->root(), "f", {.mode = 0644, .flags = O_RDWR});
    } else {
      opened = co_await self->fs->Open(0, self->fid, O_WRONLY);
    }
    EXPECT_TRUE(opened);
    if (!opened) co_return std::unexpected(opened.error());
    if (!self->random.OneIn(4)) {
      const std::string data(1 + self->random.Below(3 << 20), 'd');
      const uint64_t offset = self->random.Below(8 << 20);
      const auto written =
          co_await self->fs->Write(self->fid, opened->handle, offset, AsBytes(data), {});
      EXPECT_TRUE(written);
      *self->end = std::max(*self->end, offset + data.size());
    }
    const Status closed = co_await self->fs->Close(self->fid, opened->handle);
    EXPECT_TRUE(closed);
  }
  co_return Status();
}

async::Task<void> ExtendTogether(std::vector<Filesystem*> clients, uint64_t seed, bool breaks) {
  const layout::Layout striped = layout::PlainTemplate(2, 1 << 20);
  auto made = co_await clients[0]->CreateWithLayout(0, clients[0]->root(), "f", 0644,
                                                    layout::Encode(striped));
  EXPECT_TRUE(made);
  if (!made) co_return;
  uint64_t end = 0;
  std::vector<Extender> extenders(6);
  std::vector<async::Task<Status>> tasks;
  for (size_t i = 0; i < extenders.size(); ++i) {
    extenders[i] = {clients[i % clients.size()], *made, Random(seed + i), &end};
    tasks.push_back(ExtendOften(&extenders[i]));
  }
  const std::vector<Status> all = co_await async::WhenAll(std::move(tasks));
  for (Filesystem* fs : clients) {
    const auto attr = co_await fs->GetAttr(0, *made);
    EXPECT_TRUE(attr);
    if (attr) EXPECT_EQ(attr->size, end);
    // A close whose answer is lost may leave the mark: then the OSTs are asked once more often.
    if (attr && !breaks) EXPECT_FALSE(attr->size_unsafe);
  }
}

TEST(SimClientTest, SizesAreExactAfterManyHandlesOfOneClient) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  cluster.Run(ExtendTogether({cluster.AddClient("alice")}, seed, false));
}

TEST(SimClientTest, SizesAreExactAfterManyHandlesOfTwoClients) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  cluster.Run(ExtendTogether({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed, false));
}

TEST(SimClientTest, SizesAreExactOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed, .break_one_in = 60});
  cluster.Run(ExtendTogether({cluster.AddClient("alice"), cluster.AddClient("bob")}, seed, true));
}

}  // namespace
}  // namespace sheen::test
