// Files from S3 with agents: an agent dies, an object changes between two of its ranges, and
// releases race writes and reads; over broken connections, kills and power cuts of the OSSs.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <map>
#include <string>
#include <vector>

#include "client/hsm.h"
#include "client/state.h"
#include "mds/service.h"
#include "mdt/repository_records.h"
#include "support/sim_agents.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr uint64_t kMiB = 1 << 20;

class LazyWorld final {
 public:
  explicit LazyWorld(uint64_t seed, uint32_t agents = 2, uint64_t break_one_in = 0)
      : cluster({.seed = seed, .break_one_in = break_one_in}), random(seed) {
    s3 = SimAgents::Add(&cluster, {.agents = agents, .seed = seed});
  }
  ~LazyWorld() { cluster.network()->SetOptions({}); }

  void Link() { cluster.Run(LinkTask()); }
  // Of the whole object, as an import does it.
  void Import(const std::string& name, uint64_t bytes) { cluster.Run(ImportTask(name, bytes)); }
  Fid Find(Filesystem* fs, const std::string& name) {
    Fid out;
    cluster.Run(FindTask(fs, name, &out));
    return out;
  }

  SimCluster cluster;
  SimAgents* s3 = nullptr;
  Random random;
  uint32_t link = 0;

 private:
  async::Task<void> LinkTask() {
    v1::AddRepositoryRequest request;
    request.mutable_repository()->set_path("/data");
    request.mutable_repository()->set_bucket("b");
    request.mutable_repository()->set_prefix("p/");
    const auto added = co_await cluster.mds()->repositories()->AddRepository(request);
    EXPECT_TRUE(added) << (added ? "" : added.error().ToString());
    if (added) link = added->repository().id();
  }
  async::Task<void> ImportTask(std::string name, uint64_t bytes) {
    v1::ImportEntriesRequest request;
    request.set_repository(link);
    v1::ImportEntry* const entry = request.add_entries();
    entry->set_path(name);
    entry->set_key("p/" + name);
    entry->set_size(bytes);
    entry->set_etag(s3->EtagOf("p/" + name));
    entry->set_modified_ns(cluster.shard()->WallNow().count());
    entry->set_mode(S_IFREG | 0666);
    const auto done = co_await cluster.mds()->repositories()->ImportEntries(request);
    EXPECT_TRUE(done) << (done ? "" : done.error().ToString());
    if (done) EXPECT_EQ(done->created() + done->updated(), 1U);
  }
  static async::Task<void> FindTask(Filesystem* fs, std::string name, Fid* out) {
    const auto directory = co_await fs->Lookup(0, fs->root(), "data");
    EXPECT_TRUE(directory) << (directory ? "" : directory.error().ToString());
    if (!directory) co_return;
    const auto file = co_await fs->Lookup(0, directory->fid, std::move(name));
    EXPECT_TRUE(file) << (file ? "" : file.error().ToString());
    if (file) *out = file->fid;
  }
};

// What a file must hold: S3's bytes, and what was written here.
struct Model {
  std::string key;
  std::vector<std::byte> bytes;
};

Model ModelOf(SimAgents* s3, const std::string& key, uint64_t bytes) {
  Model model{key, std::vector<std::byte>(bytes)};
  for (uint64_t i = 0; i < bytes; ++i) model.bytes[i] = s3->ByteOf(key, i);
  return model;
}

void ExpectEqual(const Model& model, uint64_t offset, ByteSpan read, const char* when) {
  const ByteSpan expected = ByteSpan(model.bytes).subspan(offset, read.size());
  const auto differs = std::ranges::mismatch(read, expected);
  ASSERT_EQ(differs.in1, read.end())
      << when << ": byte " << offset + static_cast<uint64_t>(differs.in1 - read.begin());
}

async::Task<void> ReadAt(Filesystem* fs, Fid fid, uint64_t handle, uint64_t offset, uint64_t length,
                         const Model* model, const char* when) {
  std::vector<std::byte> out(length);
  const auto read = co_await fs->Read(fid, handle, offset, out);
  EXPECT_TRUE(read) << when << " at " << offset << ": " << (read ? "" : read.error().ToString());
  if (!read) co_return;
  EXPECT_EQ(*read, length);
  ExpectEqual(*model, offset, ByteSpan(out).first(*read), when);
}

async::Task<void> ReadAnywhere(LazyWorld* world, Filesystem* fs, Fid fid, const Model* model,
                               int reads) {
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  for (int i = 0; i < reads && !::testing::Test::HasFailure(); ++i) {
    const uint64_t length = 1 + world->random.Below(200'000);
    const uint64_t offset = world->random.Below(model->bytes.size() - length);
    co_await ReadAt(fs, fid, opened->handle, offset, length, model, "a cold read");
  }
  const Status closed = co_await fs->Close(fid, opened->handle);
  EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
}

async::Task<void> KillAgentsInTurn(LazyWorld* world, std::shared_ptr<bool> over) {
  for (uint32_t i = 0; !*over; ++i) {
    world->s3->Kill(i % 2);
    co_await world->cluster.shard()->Sleep(
        std::chrono::milliseconds(20 + world->random.Below(300)));
    world->s3->Start(i % 2);
    co_await world->cluster.shard()->Sleep(
        std::chrono::milliseconds(20 + world->random.Below(100)));
  }
}

TEST(LazySim, AnAgentThatDiesLosesNothing) {
  LazyWorld world(TestSeed());
  world.Link();
  const uint64_t bytes = 24 * kMiB + 12'345;
  world.s3->Put("p/f", bytes);
  world.Import("f", bytes);
  const Model model = ModelOf(world.s3, "p/f", bytes);
  Filesystem* alice = world.cluster.AddClient("alice");
  Filesystem* bob = world.cluster.AddClient("bob");
  const Fid fid = world.Find(alice, "f");
  const auto over = std::make_shared<bool>(false);
  const auto killer = world.cluster.Begin(KillAgentsInTurn(&world, over));
  const auto first = world.cluster.Begin(ReadAnywhere(&world, alice, fid, &model, 120));
  const auto second = world.cluster.Begin(ReadAnywhere(&world, bob, fid, &model, 120));
  world.cluster.Finish(first);
  world.cluster.Finish(second);
  *over = true;
  world.cluster.Finish(killer);
  EXPECT_GT(world.s3->requests(), 10U);
}

async::Task<void> Overwrite(Filesystem* fs, Fid fid, uint64_t step, Model* model) {
  const auto opened = co_await fs->Open(0, fid, O_WRONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  std::ranges::fill(model->bytes, std::byte{0x5A});
  for (uint64_t at = 0; at < model->bytes.size(); at += step) {
    const uint64_t length = std::min<uint64_t>(step, model->bytes.size() - at);
    const ByteSpan data = ByteSpan(model->bytes).subspan(at, length);
    const auto wrote = co_await fs->Write(fid, opened->handle, at, data, {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  }
  const Status synced = co_await fs->Fsync(fid);
  EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
  static_cast<void>(co_await fs->Close(fid, opened->handle));
}

TEST(LazySim, WhatIsOverwrittenInOrderIsNotFetched) {
  LazyWorld world(TestSeed());
  world.Link();
  const uint64_t bytes = 30 * kMiB + 4321;
  world.s3->Put("p/f", bytes);
  world.Import("f", bytes);
  Model model = ModelOf(world.s3, "p/f", bytes);
  Filesystem* alice = world.cluster.AddClient("alice");
  Filesystem* bob = world.cluster.AddClient("bob");
  const Fid fid = world.Find(alice, "f");
  world.cluster.Run(Overwrite(alice, fid, 128 << 10, &model));
  // The first call to an object goes through, before there is a lock: part of its block is fetched.
  EXPECT_LE(world.s3->bytes(), 8 * kMiB);
  const uint64_t fetched = world.s3->bytes();
  world.cluster.Run(ReadAnywhere(&world, bob, fid, &model, 40));
  EXPECT_EQ(world.s3->bytes(), fetched) << "nothing of the old bytes is left to be read";
}

async::Task<void> ReadOver(Filesystem* fs, Fid fid, uint64_t offset, Errc* out) {
  const auto opened = co_await fs->Open(0, fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  std::vector<std::byte> bytes(1000);
  const auto read = co_await fs->Read(fid, opened->handle, offset, bytes);
  *out = read ? Errc::kOk : read.error().code();
  static_cast<void>(co_await fs->Close(fid, opened->handle));
}

TEST(LazySim, AnObjectThatChangesBetweenTwoRangesIsAnErrorAndNeverMixed) {
  LazyWorld world(TestSeed());
  world.Link();
  const uint64_t bytes = 20 * kMiB;
  world.s3->Put("p/f", bytes);
  world.Import("f", bytes);
  Filesystem* alice = world.cluster.AddClient("alice");
  const Fid fid = world.Find(alice, "f");
  const Model old = ModelOf(world.s3, "p/f", bytes);
  world.cluster.Run([](Filesystem* fs, Fid file, const Model* model) -> async::Task<void> {
    const auto opened = co_await fs->Open(0, file, O_RDONLY);
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    co_await ReadAt(fs, file, opened->handle, 0, 5000, model, "the first range");
    static_cast<void>(co_await fs->Close(file, opened->handle));
  }(alice, fid, &old));
  world.s3->Put("p/f", bytes);
  Errc code = Errc::kOk;
  world.cluster.Run(ReadOver(alice, fid, 12 * kMiB, &code));
  EXPECT_EQ(code, Errc::kIo);
  // What is here stays readable, and is the old one.
  world.cluster.Run(ReadOver(alice, fid, 100, &code));
  EXPECT_EQ(code, Errc::kOk);
  // Nor is it dropped: S3 does not have it any more.
  world.cluster.Run([](Filesystem* fs, Fid file) -> async::Task<void> {
    const auto released = co_await client::HsmRelease(fs, 0, file);
    EXPECT_FALSE(released);
    if (!released) EXPECT_EQ(released.error().code(), Errc::kPerm);
  }(alice, fid));
  world.cluster.Run(ReadOver(alice, fid, 100, &code));
  EXPECT_EQ(code, Errc::kOk);
  // Imported again: all of it the new one.
  world.Import("f", bytes);
  const Model fresh = ModelOf(world.s3, "p/f", bytes);
  world.cluster.Run(ReadAnywhere(&world, alice, fid, &fresh, 60));
}

async::Task<void> OpenForWriting(Filesystem* fs, Fid fid, uint64_t* out) {
  const auto opened = co_await fs->Open(0, fid, O_RDWR);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *out = opened->handle;
}

async::Task<void> CreateForWriting(Filesystem* fs, std::string name, Fid* fid, uint64_t* out) {
  const auto made =
      co_await fs->Create(0, fs->root(), std::move(name), {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(made) << (made ? "" : made.error().ToString());
  if (!made) co_return;
  *fid = made->attr.fid;
  *out = made->handle;
}

// At the beginning of each MiB of [first, end).
async::Task<void> WriteInEachMiB(Filesystem* fs, Fid fid, uint64_t handle, uint64_t first,
                                 uint64_t end) {
  const std::vector<std::byte> data(4096, std::byte{0x5A});
  for (uint64_t at = first; at < end && !::testing::Test::HasFailure(); ++at) {
    const auto wrote = co_await fs->Write(fid, handle, at * kMiB, data, {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  }
}

async::Task<void> ReadByte(Filesystem* fs, std::string name, std::byte* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), std::move(name));
  EXPECT_TRUE(found) << (found ? "" : found.error().ToString());
  if (!found) co_return;
  const auto opened = co_await fs->Open(0, found->fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  const auto read = co_await fs->Read(found->fid, opened->handle, 3 * kMiB, {out, 1});
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  static_cast<void>(co_await fs->Close(found->fid, opened->handle));
}

// Writes to parts of blocks that are in S3 wait for it; what is held back of other files does not
// wait for them.
TEST(LazySim, WhatWaitsForS3HoldsUpNothingElse) {
  constexpr uint64_t kBlocks = 80;  // on an OST more than there are slots, wherever they are
  std::byte seen{};  // outlives who reads into it
  LazyWorld world(TestSeed());
  SimCluster& cluster = world.cluster;
  world.Link();
  world.s3->Put("p/f", kBlocks * kMiB);
  world.Import("f", kBlocks * kMiB);
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  const Fid absent = world.Find(alice, "f");
  uint64_t handle = 0;
  cluster.Run(OpenForWriting(alice, absent, &handle));
  // Until there are locks, with which the rest is held back.
  for (int i = 0; i < 3; ++i) cluster.Run(WriteInEachMiB(alice, absent, handle, 0, 16));
  world.s3->Kill(0);
  world.s3->Kill(1);
  cluster.Run(WriteInEachMiB(alice, absent, handle, 16, kBlocks));
  async::RunFor(cluster.shard(), std::chrono::seconds(5));
  const uint64_t waiting = alice->state()->held_budget.bytes.load();
  EXPECT_GT(waiting, 4096 * kBlocks / 2) << "they do not wait for S3";
  for (const char* const name : {"a", "b", "c", "d"}) {
    uint64_t other = 0;
    Fid fid;
    cluster.Run(CreateForWriting(alice, name, &fid, &other));
    cluster.Run(WriteInEachMiB(alice, fid, other, 0, 4));
    EXPECT_GT(alice->state()->held_budget.bytes.load(), waiting) << "nothing is held back";
    const Nanos begun = cluster.shard()->Now();
    seen = {};
    cluster.Run(ReadByte(bob, name, &seen));
    EXPECT_EQ(seen, std::byte{0x5A});
    EXPECT_LT(cluster.shard()->Now() - begun, std::chrono::seconds(2));
    if (HasFailure()) break;
  }
  world.s3->Start(0);
  cluster.Run([](Filesystem* fs, Fid fid) -> async::Task<void> {
    EXPECT_TRUE(co_await fs->Fsync(fid));
  }(alice, absent));
}

// One file under everything at once: its writer, releases, readers.
class Race final {
 public:
  Race(LazyWorld* world, Fid fid, Model model)
      : world_(world), fid_(fid), model_(std::move(model)) {}
  uint64_t released() const { return released_; }

  async::Task<void> WriteAndRead(Filesystem* fs, int rounds) {
    for (int i = 0; i < rounds && !::testing::Test::HasFailure(); ++i) {
      const auto opened = co_await fs->Open(0, fid_, O_RDWR);
      EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
      if (!opened) co_return;
      for (uint64_t n = world_->random.Below(4); n > 0; --n) co_await WriteOne(fs, opened->handle);
      if (world_->random.OneIn(3)) {
        const Status synced = co_await fs->Fsync(fid_);
        EXPECT_TRUE(synced) << (synced ? "" : synced.error().ToString());
      }
      const uint64_t length = 1 + world_->random.Below(100'000);
      const uint64_t offset = world_->random.Below(model_.bytes.size() - length);
      co_await ReadAt(fs, fid_, opened->handle, offset, length, &model_, "its writer");
      const Status closed = co_await fs->Close(fid_, opened->handle);
      EXPECT_TRUE(closed) << (closed ? "" : closed.error().ToString());
      co_await world_->cluster.shard()->Sleep(
          std::chrono::milliseconds(world_->random.Below(200)));
    }
  }
  // As if nothing were changed here: the OSTs know better.
  async::Task<void> ReleaseAgainAndAgain(Filesystem* fs, std::shared_ptr<bool> over) {
    while (!*over) {
      static_cast<void>(co_await client::SetHsmFlags(fs, 0, fid_, {.clear = mdt::kHsmDirty}));
      const auto bytes = co_await client::HsmRelease(fs, 0, fid_);
      if (bytes) released_ += *bytes;
      co_await world_->cluster.shard()->Sleep(
          std::chrono::milliseconds(world_->random.Below(50)));
    }
  }
  async::Task<void> CheckAll(Filesystem* fs) {
    const auto opened = co_await fs->Open(0, fid_, O_RDONLY);
    EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
    if (!opened) co_return;
    for (uint64_t at = 0; at < model_.bytes.size(); at += kMiB) {
      const uint64_t length = std::min(kMiB, model_.bytes.size() - at);
      co_await ReadAt(fs, fid_, opened->handle, at, length, &model_, "at the end");
    }
    static_cast<void>(co_await fs->Close(fid_, opened->handle));
  }

 private:
  async::Task<void> WriteOne(Filesystem* fs, uint64_t handle) {
    const uint64_t length = 1 + world_->random.Below(world_->random.OneIn(4) ? 1'500'000 : 20'000);
    const uint64_t offset = world_->random.Below(model_.bytes.size() - length);
    std::vector<std::byte> data(length);
    for (auto& byte : data) byte = static_cast<std::byte>(world_->random.Below(256));
    const auto wrote = co_await fs->Write(fid_, handle, offset, data, {});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
    if (wrote) EXPECT_EQ(*wrote, length);
    std::ranges::copy(data, model_.bytes.begin() + static_cast<ptrdiff_t>(offset));
  }

  LazyWorld* const world_;
  const Fid fid_;
  Model model_;
  uint64_t released_ = 0;
};

enum class Trouble { kNone, kConnections, kKills, kPower };

class LazyRace : public ::testing::TestWithParam<Trouble> {};

TEST_P(LazyRace, AReleaseNeverTakesAWriteAway) {
  const Trouble trouble = GetParam();
  LazyWorld world(TestSeed(), 2, trouble == Trouble::kConnections ? 400 : 0);
  world.Link();
  const uint64_t bytes = 6 * kMiB + 777;
  world.s3->Put("p/f", bytes);
  world.Import("f", bytes);
  Filesystem* alice = world.cluster.AddClient("alice");
  Filesystem* bob = world.cluster.AddClient("bob");
  Race race(&world, world.Find(alice, "f"), ModelOf(world.s3, "p/f", bytes));
  for (int round = 0; round < 6 && !::testing::Test::HasFailure(); ++round) {
    const auto over = std::make_shared<bool>(false);
    const auto releases = world.cluster.Begin(race.ReleaseAgainAndAgain(bob, over));
    const auto writes = world.cluster.Begin(race.WriteAndRead(alice, 8));
    if (trouble != Trouble::kNone && trouble != Trouble::kConnections) {
      async::RunFor(world.cluster.shard(),
                    std::chrono::milliseconds(100 + world.random.Below(900)));
      if (trouble == Trouble::kKills) world.cluster.KillOss();
      if (trouble == Trouble::kPower) world.cluster.PowerCutOss(&world.random);
    }
    world.cluster.Finish(writes);
    *over = true;
    world.cluster.Finish(releases);
    world.cluster.Run(race.CheckAll(round % 2 == 0 ? bob : alice));
  }
  EXPECT_GT(race.released(), 0U);
}

std::string TroubleName(const ::testing::TestParamInfo<Trouble>& info) {
  constexpr std::array kNames = {"None", "Connections", "Kills", "Power"};
  return kNames.at(static_cast<size_t>(info.param));
}

INSTANTIATE_TEST_SUITE_P(Troubles, LazyRace,
                         ::testing::Values(Trouble::kNone, Trouble::kConnections, Trouble::kKills,
                                           Trouble::kPower),
                         TroubleName);

}  // namespace
}  // namespace sheen::test
