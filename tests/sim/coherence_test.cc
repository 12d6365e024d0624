// Three clients with warm caches at the same few names, at the same time: whatever is read was
// written last by somebody, or is being written.
//
// Every change is unique: a time that is set, a file that is made. A reading is too old when what
// it shows had been replaced, and the replacement answered, before the reading began.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/random.h"
#include "sheen/v1/mds.pb.h"
#include "sim/history.h"
#include "support/fake_kernel.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr int kNames = 4;
constexpr int kOperations = 150;  // of each task; every client runs two

constexpr int64_t kAbsent = 0;

class Racers final {
 public:
  explicit Racers(SimCluster* cluster, uint64_t seed)
      : shard_(cluster->shard()), random_(seed), names_(kNames, History(kAbsent)) {}

  // `fs`: a client::Filesystem, or the FakeKernel above one.
  template <class Mount>
  async::Task<void> Race(Mount* fs, int* left) {
    for (int i = 0; i < kOperations && !::testing::Test::HasFailure(); ++i) {
      co_await shard_->Sleep(std::chrono::microseconds(random_.Below(800)));
      if (i % 30 == 29) co_await shard_->Sleep(pause_);
      const auto name = static_cast<int>(random_.Below(kNames));
      switch (random_.Below(10)) {
        case 0:
          co_await Make(fs, name);
          break;
        case 1:
          co_await Remove(fs, name);
          break;
        case 2:
        case 3:
          co_await SetTime(fs, name);
          break;
        default:
          co_await Look(fs, name);
      }
    }
    --*left;
  }

  int known() const { return known_; }
  // Between rounds of operations.
  void set_pause(Nanos pause) { pause_ = pause; }

 private:
  static std::string NameOf(int name) { return "name" + std::to_string(name); }
  static int64_t Value(const Fid& fid) { return static_cast<int64_t>(fid.ToInode()); }

  template <class Mount>
  async::Task<void> Make(Mount* fs, int name) {
    History* history = &names_[static_cast<size_t>(name)];
    const Nanos begin = shard_->Now();
    // Its FID is known only afterwards; others may see it before that.
    const size_t write = history->Begin(kUnknown, begin);
    const auto made = co_await fs->MakeNode(0, fs->root(), NameOf(name), {.mode = S_IFIFO | 0644});
    if (!made) {
      EXPECT_EQ(made.error().code(), Errc::kExists) << made.error().ToString();
      history->Undo(write);
      co_return;
    }
    history->Undo(write);
    const size_t known = history->Begin(Value(made->fid), begin);
    history->End(known, shard_->Now());
    files_.try_emplace(Value(made->fid), History(made->mtime_ns));
    for (const Early& early : early_[Value(made->fid)]) EXPECT_GE(early.end, begin);
    early_.erase(Value(made->fid));
  }

  template <class Mount>
  async::Task<void> Remove(Mount* fs, int name) {
    History* history = &names_[static_cast<size_t>(name)];
    const size_t write = history->Begin(kAbsent, shard_->Now());
    const Status removed = co_await fs->Unlink(0, fs->root(), NameOf(name));
    if (removed) {
      history->End(write, shard_->Now());
      co_return;
    }
    EXPECT_EQ(removed.error().code(), Errc::kNoEntry) << removed.error().ToString();
    history->Undo(write);
  }

  template <class Mount>
  async::Task<void> SetTime(Mount* fs, int name) {
    const auto found = co_await fs->Lookup(0, fs->root(), NameOf(name));
    if (!found) co_return;
    const auto at = files_.find(Value(found->fid));
    if (at == files_.end()) co_return;  // its maker has not been answered yet
    client::AttrChange change;
    change.valid = v1::SET_MTIME;
    change.mtime_ns = ++last_time_;
    const size_t write = at->second.Begin(change.mtime_ns, shard_->Now());
    const auto set = co_await fs->SetAttr(0, found->fid, change, 0);
    if (set) {
      EXPECT_EQ(set->mtime_ns, change.mtime_ns);
      files_.at(Value(found->fid)).End(write, shard_->Now());
    } else {
      EXPECT_EQ(set.error().code(), Errc::kStale) << set.error().ToString();
      files_.at(Value(found->fid)).Undo(write);
    }
  }

  template <class Mount>
  async::Task<void> Look(Mount* fs, int name) {
    const Nanos begin = shard_->Now();
    const auto found = co_await fs->Lookup(0, fs->root(), NameOf(name));
    if (shard_->Now() == begin) ++known_;
    if (!found) {
      EXPECT_EQ(found.error().code(), Errc::kNoEntry) << found.error().ToString();
      EXPECT_TRUE(names_[static_cast<size_t>(name)].Explains(kAbsent, begin))
          << NameOf(name) << " is there";
      co_return;
    }
    const int64_t value = Value(found->fid);
    const auto at = files_.find(value);
    if (at == files_.end()) {
      early_[value].push_back({shard_->Now()});
      co_return;
    }
    EXPECT_TRUE(names_[static_cast<size_t>(name)].Explains(value, begin))
        << NameOf(name) << " is not " << found->fid.ToString() << " any more";
    EXPECT_TRUE(at->second.Explains(found->mtime_ns, begin))
        << NameOf(name) << ": time " << found->mtime_ns << " is old";
    const Nanos again = shard_->Now();
    const auto attr = co_await fs->GetAttr(0, found->fid);
    if (!attr) co_return;
    EXPECT_TRUE(files_.at(value).Explains(attr->mtime_ns, again))
        << NameOf(name) << ": time " << attr->mtime_ns << " is old";
  }

  // Seen before its maker was answered.
  struct Early {
    Nanos end;
  };
  static constexpr int64_t kUnknown = -1;
  async::Shard* const shard_;
  Random random_;
  std::vector<History> names_;
  std::map<int64_t, History> files_;
  std::map<int64_t, std::vector<Early>> early_;
  int64_t last_time_ = 1000;
  int known_ = 0;
  Nanos pause_{0};
};

template <class Mount>
async::Task<void> RaceAll(async::Shard* shard, Racers* racers, std::vector<Mount*> mounts) {
  int left = 0;
  for (Mount* fs : mounts) {
    for (int task = 0; task < 2; ++task) {
      ++left;
      shard->Spawn(racers->Race(fs, &left));
    }
  }
  while (left > 0) co_await shard->Sleep(std::chrono::milliseconds(1));
}

void RunRace(uint64_t seed, SimOptions options) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  options.seed = seed;
  options.checks_exclusive = true;
  SimCluster cluster(options);
  const std::vector<Filesystem*> filesystems{cluster.AddClient("alice"), cluster.AddClient("bob"),
                                             cluster.AddClient("carol")};
  Racers racers(&cluster, seed);
  cluster.Run(RaceAll(cluster.shard(), &racers, filesystems));
  // The caches were in use.
  EXPECT_GT(racers.known(), 20);
  EXPECT_GT(cluster.exclusive_seen().attrs, 100U);
}

constexpr uint64_t kSeeds = 20;

TEST(SimCoherenceTest, NothingReadIsOlderThanWhatWasAnswered) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) RunRace(seed + i, {});
}

TEST(SimCoherenceTest, NorOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    RunRace(seed + i, {.break_one_in = 100});
  }
}

TEST(SimCoherenceTest, NorWhenTheStoreWouldBlock) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    RunRace(seed + i, {.would_block_every = 3});
  }
}

// ---- the same with what a kernel keeps above each client ----

async::Task<void> ShrinkNowAndThen(async::Shard* shard, std::vector<FakeKernel*> kernels,
                                   const bool* done) {
  while (!*done) {
    co_await shard->Sleep(std::chrono::milliseconds(7));
    for (FakeKernel* kernel : kernels) kernel->Shrink();
  }
}

async::Task<void> RaceKernels(async::Shard* shard, Racers* racers,
                              std::vector<FakeKernel*> kernels) {
  bool done = false;
  shard->Spawn(ShrinkNowAndThen(shard, kernels, &done));
  co_await RaceAll(shard, racers, kernels);
  done = true;
  co_await shard->Sleep(std::chrono::milliseconds(10));
  for (FakeKernel* kernel : kernels) co_await kernel->Stop();
}

struct KernelClients {
  KernelClients(SimCluster* cluster, int count, uint64_t seed) {
    for (int i = 0; i < count; ++i) {
      Filesystem* fs = cluster->AddClient("client" + std::to_string(i));
      kernels.push_back(
          std::make_unique<FakeKernel>(cluster->shard(), fs, seed * 16 + static_cast<uint64_t>(i)));
    }
  }
  std::vector<FakeKernel*> All() const {
    std::vector<FakeKernel*> all;
    for (const auto& kernel : kernels) all.push_back(kernel.get());
    return all;
  }
  std::vector<std::unique_ptr<FakeKernel>> kernels;
};

void RunKernelRace(uint64_t seed, SimOptions options) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  options.seed = seed;
  options.checks_exclusive = true;
  SimCluster cluster(options);
  const KernelClients clients(&cluster, 3, seed);
  Racers racers(&cluster, seed);
  // By then names of a directory that others have changed are promised again.
  racers.set_pause(client::KernelCache::kShared + std::chrono::milliseconds(200));
  cluster.Run(RaceKernels(cluster.shard(), &racers, clients.All()));
  uint64_t hits = 0;
  for (const FakeKernel* kernel : clients.All()) hits += kernel->hits();
  EXPECT_GT(hits, 20) << "what the kernels kept was not in use";
}

TEST(SimKernelTest, NothingThatAKernelKeepsIsOlderThanWhatWasAnswered) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    RunKernelRace(seed + i, {});
  }
}

TEST(SimKernelTest, NorOverBrokenConnections) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    RunKernelRace(seed + i, {.break_one_in = 100});
  }
}

async::Task<void> RaceAndTell(async::Shard* shard, Racers* racers,
                              std::vector<FakeKernel*> kernels, bool* done) {
  co_await RaceKernels(shard, racers, std::move(kernels));
  *done = true;
}

async::Task<void> SleepFor(async::Shard* shard, Nanos time) { co_await shard->Sleep(time); }

async::Task<void> WaitFor(async::Shard* shard, const bool* done) {
  while (!*done) co_await shard->Sleep(std::chrono::milliseconds(5));
}

TEST(SimKernelTest, NorWhenTheMdsForgetsAllLocks) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed + i));
    Random random(seed + i);
    SimCluster cluster({.seed = seed + i, .break_one_in = 200});
    const KernelClients clients(&cluster, 3, seed + i);
    Racers racers(&cluster, seed + i);
    bool done = false;
    async::Shard* shard = cluster.shard();
    shard->Post([&] { shard->Spawn(RaceAndTell(shard, &racers, clients.All(), &done)); });
    for (int restart = 0; restart < 6 && !done; ++restart) {
      cluster.Run(SleepFor(shard, std::chrono::microseconds(random.Below(8000))));
      cluster.RestartMds();
    }
    cluster.Run(WaitFor(shard, &done));
  }
}

async::Task<void> LookAgain(FakeKernel* kernel, Fid fid, std::optional<int64_t>* mtime_ns) {
  const auto attr = co_await kernel->GetAttr(0, fid);
  if (attr) *mtime_ns = attr->mtime_ns;
}

// What alice, cut off, still sees when bob's change has been answered.
async::Task<void> ChangeWhileCutOff(SimCluster* cluster, FakeKernel* alice, FakeKernel* bob,
                                    Fid fid) {
  async::Shard* shard = cluster->shard();
  client::AttrChange change;
  change.valid = v1::SET_MTIME;
  change.mtime_ns = 7;
  const auto changed = co_await bob->SetAttr(0, fid, change, 0);
  EXPECT_TRUE(changed.has_value());
  std::optional<int64_t> seen;
  shard->Spawn(LookAgain(alice, fid, &seen));
  co_await shard->Sleep(std::chrono::milliseconds(5));
  EXPECT_EQ(seen.value_or(7), 7) << "alice's kernel kept what she could not be asked about";
  cluster->network()->Heal("client0", "mds0");
  while (!seen) co_await shard->Sleep(std::chrono::milliseconds(5));
  EXPECT_EQ(*seen, 7);
  co_await alice->Stop();
  co_await bob->Stop();
}

async::Task<void> Warm(FakeKernel* alice, FakeKernel* bob, Fid* fid) {
  const auto made = co_await alice->MakeNode(0, alice->root(), "f", {.mode = S_IFIFO | 0644});
  EXPECT_TRUE(made.has_value());
  *fid = made->fid;
  for (FakeKernel* kernel : {alice, bob}) {
    const auto seen = co_await kernel->Lookup(0, kernel->root(), "f");
    EXPECT_TRUE(seen.has_value());
  }
}

TEST(SimKernelTest, AClientThatIsCutOffWhileTheMdsRestartsSeesNothingOld) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) {
    SCOPED_TRACE("seed " + std::to_string(seed + i));
    SimCluster cluster({.seed = seed + i});
    const KernelClients clients(&cluster, 2, seed + i);
    FakeKernel* alice = clients.kernels[0].get();
    FakeKernel* bob = clients.kernels[1].get();
    Fid fid;
    cluster.Run(Warm(alice, bob, &fid));
    cluster.network()->Partition("client0", "mds0");
    cluster.RestartMds();
    cluster.Run(ChangeWhileCutOff(&cluster, alice, bob, fid));
  }
}

async::Task<void> RenamedByBoth(async::Shard* shard, FakeKernel* alice, FakeKernel* bob) {
  const auto made = co_await alice->MakeNode(0, alice->root(), "old", {.mode = S_IFIFO | 0644});
  EXPECT_TRUE(made.has_value());
  const auto seen = co_await alice->Lookup(0, alice->root(), "old");
  EXPECT_TRUE(seen.has_value());
  const Status moved = co_await alice->Rename(0, alice->root(), "old", alice->root(), "new", 0);
  EXPECT_TRUE(moved.has_value());
  const Status again = co_await bob->Rename(0, bob->root(), "new", bob->root(), "newer", 0);
  EXPECT_TRUE(again.has_value());
  const auto gone = co_await alice->Lookup(0, alice->root(), "new");
  EXPECT_FALSE(gone.has_value()) << "the kernel moved the name with the time that it is kept";
  co_await shard->Sleep(std::chrono::milliseconds(1));
  co_await alice->Stop();
  co_await bob->Stop();
}

TEST(SimKernelTest, ANameThatTheKernelMovedIsRecalled) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  const KernelClients clients(&cluster, 2, seed);
  cluster.Run(
      RenamedByBoth(cluster.shard(), clients.kernels[0].get(), clients.kernels[1].get()));
}

// Both clients' kernels know both names, and each client holds its directory's lock while it waits
// for the other.
async::Task<void> Remove(FakeKernel* kernel, std::string name, int* left) {
  const Status removed = co_await kernel->Unlink(0, kernel->root(), name);
  EXPECT_TRUE(removed.has_value());
  --*left;
}

async::Task<void> RemoveCrosswise(async::Shard* shard, FakeKernel* alice, FakeKernel* bob) {
  for (const char* name : {"a", "b"}) {
    const auto made = co_await alice->MakeNode(0, alice->root(), name, {.mode = S_IFIFO | 0644});
    EXPECT_TRUE(made.has_value());
    const auto seen = co_await alice->Lookup(0, alice->root(), name);
    EXPECT_TRUE(seen.has_value());
    const auto by_bob = co_await bob->Lookup(0, bob->root(), name);
    EXPECT_TRUE(by_bob.has_value());
  }
  const Nanos begin = shard->Now();
  int left = 2;
  shard->Spawn(Remove(alice, "a", &left));
  shard->Spawn(Remove(bob, "b", &left));
  while (left > 0) co_await shard->Sleep(std::chrono::milliseconds(1));
  EXPECT_LT(shard->Now() - begin, std::chrono::milliseconds(200));
  co_await shard->Sleep(std::chrono::milliseconds(100));
  co_await alice->Stop();
  co_await bob->Stop();
}

TEST(SimKernelTest, ChangesThatWaitForEachOthersDirectoryLocksGoOn) {
  const uint64_t seed = TestSeed();
  SimCluster cluster({.seed = seed});
  const KernelClients clients(&cluster, 2, seed);
  cluster.Run(
      RemoveCrosswise(cluster.shard(), clients.kernels[0].get(), clients.kernels[1].get()));
}

}  // namespace
}  // namespace sheen::test
