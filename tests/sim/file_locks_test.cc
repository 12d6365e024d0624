// flock and fcntl locks of three clients on a few bytes of two files, with waits, signals, closes,
// lost connections and restarts of the MDS: never do two hold what excludes each other, and every
// wait ends.
//
// What is held is kept by what clients were told: from the answer to a request until the next one
// that lets go is made.

#include <fcntl.h>
#include <gtest/gtest.h>

#include <array>
#include <string>
#include <vector>

#include "base/random.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::FileLockSpec;
using client::Filesystem;
using lock::Extent;
using lock::FileLockKind;
using lock::FileLockType;

constexpr uint64_t kBytes = 6;
constexpr int kFiles = 2;
// Of each process.
constexpr int kOperations = 60;

class FileLockRacers final {
 public:
  FileLockRacers(SimCluster* cluster, uint64_t seed) : shard_(cluster->shard()), random_(seed) {}

  async::Task<void> MakeFiles(Filesystem* fs) {
    for (int i = 0; i < kFiles; ++i) {
      const auto made =
          co_await fs->Create(0, fs->root(), "f" + std::to_string(i), {.mode = 0644, .flags = 2});
      EXPECT_TRUE(made);
      if (!made) co_return;
      files_[static_cast<size_t>(i)] = made->attr.fid;
      // Restarts that lose what was not synced do not lose the files.
      EXPECT_TRUE(co_await fs->Close(made->attr.fid, made->handle));
    }
    EXPECT_TRUE(co_await fs->FsyncDir(fs->root()));
  }

  // A process that uses one kind of locks; of flock on one file only, so that no circle of waits
  // can come that nobody looks for.
  async::Task<void> Race(Filesystem* fs, uint64_t owner, FileLockKind kind) {
    ++left_;
    for (int i = 0; i < kOperations && !::testing::Test::HasFailure(); ++i) {
      co_await shard_->Sleep(std::chrono::microseconds(random_.Below(20'000)));
      const size_t file = kind == FileLockKind::kFlock ? owner % kFiles : random_.Below(kFiles);
      switch (random_.Below(10)) {
        case 0:
          Close(fs, file, owner, kind);
          break;
        case 1:
          co_await Look(fs, file, owner, kind);
          break;
        case 2:
        case 3:
          co_await Set(fs, file, SpecOf(owner, kind, FileLockType::kUnlock));
          break;
        default:
          co_await Set(fs, file,
                       SpecOf(owner, kind,
                              random_.Below(2) == 0 ? FileLockType::kRead : FileLockType::kWrite));
      }
    }
    for (size_t file = 0; file < kFiles; ++file) Close(fs, file, owner, kind);
    --left_;
  }

  async::Task<void> CheckFree(Filesystem* fs) {
    for (const Fid& fid : files_) {
      for (const FileLockKind kind : {FileLockKind::kFlock, FileLockKind::kPosix}) {
        const auto blocker = co_await fs->GetLock(
            fid, {.kind = kind, .type = FileLockType::kWrite, .extent = Extent::Whole()});
        EXPECT_TRUE(blocker);
        if (blocker) EXPECT_FALSE(blocker->has_value()) << "nobody holds it";
      }
    }
  }

  int left() const { return left_; }
  int granted() const { return granted_; }
  int interrupted() const { return interrupted_; }

 private:
  struct Hold {
    uint64_t owner = 0;
    bool write = false;
  };
  using Holds = std::vector<Hold>;
  // Of a file: flock's, then each byte's.
  using FileHolds = std::array<Holds, 1 + kBytes>;

  FileLockSpec SpecOf(uint64_t owner, FileLockKind kind, FileLockType type) {
    FileLockSpec spec{.kind = kind, .type = type, .extent = Extent::Whole(), .owner = owner};
    if (kind == FileLockKind::kPosix) {
      spec.extent.start = random_.Below(kBytes);
      spec.extent.end = spec.extent.start + 1 + random_.Below(kBytes - spec.extent.start);
    }
    return spec;
  }
  std::vector<Holds*> PlacesOf(size_t file, const FileLockSpec& spec) {
    if (spec.kind == FileLockKind::kFlock) return {holds_[file].data()};
    std::vector<Holds*> places;
    for (uint64_t byte = spec.extent.start; byte < std::min(spec.extent.end, kBytes); ++byte)
      places.push_back(&holds_[file][1 + byte]);
    return places;
  }
  // A request is made: what it may take away is not counted on any more.
  void Weaken(size_t file, const FileLockSpec& spec) {
    const bool all = spec.type == FileLockType::kUnlock || spec.kind == FileLockKind::kFlock;
    for (Holds* place : PlacesOf(file, spec)) {
      if (all) {
        std::erase_if(*place, [&](const Hold& hold) { return hold.owner == spec.owner; });
      } else if (spec.type == FileLockType::kRead) {
        for (Hold& hold : *place) hold.write &= hold.owner != spec.owner;
      }
    }
  }
  void Take(size_t file, const FileLockSpec& spec) {
    const bool write = spec.type == FileLockType::kWrite;
    for (Holds* place : PlacesOf(file, spec)) {
      std::erase_if(*place, [&](const Hold& hold) { return hold.owner == spec.owner; });
      for (const Hold& other : *place) {
        EXPECT_FALSE(write || other.write)
            << "owner " << spec.owner << " was granted what " << other.owner << " holds";
      }
      place->push_back({spec.owner, write});
    }
  }

  async::Task<void> Set(Filesystem* fs, size_t file, FileLockSpec spec) {
    const uint64_t ticket = fs->NewLockTicket();
    const bool wait = random_.Below(3) != 0;
    const bool signal = wait && random_.Below(3) == 0;
    if (signal) {
      shard_->AddTimer(shard_->Now() + std::chrono::microseconds(random_.Below(30'000)),
                       [fs, ticket] { fs->InterruptLock(ticket); });
    }
    Weaken(file, spec);
    const Status set = co_await fs->SetLock(files_[file], 1 + spec.owner, spec,
                                            {.wait = wait, .ticket = ticket});
    if (set) {
      if (spec.type != FileLockType::kUnlock) Take(file, spec);
      ++granted_;
      co_return;
    }
    const Errc code = set.error().code();
    interrupted_ += code == Errc::kInterrupted ? 1 : 0;
    const bool expected = (code == Errc::kAgain && !wait) ||
                          (code == Errc::kInterrupted && signal) ||
                          (code == Errc::kDeadlock && spec.kind == FileLockKind::kPosix);
    EXPECT_TRUE(expected) << set.error().ToString();
  }

  // As the kernel does it: FLUSH names the process, RELEASE the description.
  void Close(Filesystem* fs, size_t file, uint64_t owner, FileLockKind kind) {
    Weaken(file, {.kind = kind,
                  .type = FileLockType::kUnlock,
                  .extent = Extent::Whole(),
                  .owner = owner});
    if (kind == FileLockKind::kPosix && random_.Below(2) == 0) fs->FlushLocks(files_[file], owner);
    fs->ReleaseLocks(files_[file], 1 + owner,
                     kind == FileLockKind::kFlock ? std::optional<uint64_t>(owner) : std::nullopt);
    if (kind == FileLockKind::kPosix) fs->FlushLocks(files_[file], owner);
  }

  async::Task<void> Look(Filesystem* fs, size_t file, uint64_t owner, FileLockKind kind) {
    const FileLockSpec spec = SpecOf(owner, kind, FileLockType::kWrite);
    const auto blocker = co_await fs->GetLock(files_[file], spec);
    EXPECT_TRUE(blocker);
  }

  async::Shard* const shard_;
  Random random_;
  std::array<Fid, kFiles> files_;
  std::array<FileHolds, kFiles> holds_;
  int left_ = 0;
  int granted_ = 0;
  int interrupted_ = 0;
};

struct Faults {
  uint64_t break_one_in = 0;
  int restarts = 0;  // of the MDS
};

void RunRace(uint64_t seed, Faults faults) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  SimCluster cluster({.seed = seed, .break_one_in = faults.break_one_in});
  const std::vector<Filesystem*> clients{cluster.AddClient("alice"), cluster.AddClient("bob"),
                                         cluster.AddClient("carol")};
  FileLockRacers racers(&cluster, seed);
  Random random(seed);
  cluster.Run(racers.MakeFiles(clients[0]));
  uint64_t owner = 1;
  for (Filesystem* fs : clients) {
    for (const FileLockKind kind :
         {FileLockKind::kPosix, FileLockKind::kPosix, FileLockKind::kFlock, FileLockKind::kFlock}) {
      cluster.shard()->Post([&cluster, &racers, fs, kind, name = owner++] {
        cluster.shard()->Spawn(racers.Race(fs, name, kind));
      });
    }
  }
  int restarts_left = faults.restarts;
  const Nanos patience = cluster.shard()->Now() + std::chrono::hours(1);
  do {
    async::RunFor(cluster.shard(), std::chrono::milliseconds(50 + random.Below(800)));
    // Not for ever: a session whose client never heard of it holds each recovery up for its 20 s.
    if (restarts_left > 0 && racers.left() > 0) {
      --restarts_left;
      cluster.RestartMds();
    }
  } while (racers.left() > 0 && cluster.shard()->Now() < patience);
  ASSERT_EQ(racers.left(), 0) << "a wait does not end";
  EXPECT_GT(racers.granted(), 100);
  EXPECT_GT(racers.interrupted(), 0);
  cluster.network()->SetOptions({});
  async::RunFor(cluster.shard(), std::chrono::seconds(30));
  cluster.Run(racers.CheckFree(clients[1]));
}

constexpr uint64_t kSeeds = 15;

TEST(SimFileLocksTest, NoTwoHoldWhatExcludesEachOtherAndEveryWaitEnds) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i) RunRace(seed + i, {});
}

TEST(SimFileLocksTest, TheSameWithLostConnections) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i)
    RunRace(seed + i, {.break_one_in = 60});
}

TEST(SimFileLocksTest, TheSameWithRestartsOfTheMds) {
  const uint64_t seed = TestSeed();
  for (uint64_t i = 0; i < kSeeds && !::testing::Test::HasFailure(); ++i)
    RunRace(seed + i, {.break_one_in = 200, .restarts = 12});
}

async::Task<void> Lock(Filesystem* fs, Fid fid, Status* out, bool* done) {
  const FileLockSpec spec{.type = FileLockType::kWrite, .extent = {0, 10}, .owner = 1};
  *out = co_await fs->SetLock(fid, 1, spec, {.wait = true});
  *done = true;
}

class SimClientDeathTest : public ::testing::Test {
 protected:
  void SetUp() override {
    cluster_.Run(Make());
    Ask(alice_, &alice_status_, &alice_done_);
    async::RunFor(cluster_.shard(), std::chrono::seconds(1));
    Ask(bob_, &bob_status_, &bob_done_);
    async::RunFor(cluster_.shard(), std::chrono::seconds(1));
    ASSERT_TRUE(alice_done_ && alice_status_);
    ASSERT_FALSE(bob_done_);
  }
  async::Task<void> Make() {
    const auto made = co_await alice_->Create(0, alice_->root(), "f", {.mode = 0644, .flags = 2});
    EXPECT_TRUE(made);
    if (made) fid_ = made->attr.fid;
  }
  void Ask(Filesystem* fs, Status* status, bool* done) {
    cluster_.shard()->Post(
        [=, this] { cluster_.shard()->Spawn(Lock(fs, fid_, status, done)); });
  }
  void CutOff() {
    cluster_.network()->Partition("alice", "mds0");
    cluster_.network()->Break("alice", "mds0");
  }

  SimCluster cluster_{{.seed = TestSeed()}};
  Filesystem* const alice_ = cluster_.AddClient("alice");
  Filesystem* const bob_ = cluster_.AddClient("bob");
  Fid fid_;
  Status alice_status_;
  Status bob_status_;
  bool alice_done_ = false;
  bool bob_done_ = false;
};

TEST_F(SimClientDeathTest, AWaiterIsServedWithinFiveSecondsOfTheHoldersEnd) {
  CutOff();
  async::RunFor(cluster_.shard(), std::chrono::milliseconds(2500));
  EXPECT_FALSE(bob_done_) << "it had 3 s to come back";
  async::RunFor(cluster_.shard(), std::chrono::milliseconds(2500));
  EXPECT_TRUE(bob_done_ && bob_status_);
  // Alive after all, it finds its lock taken; its next request knows that.
  cluster_.network()->Heal("alice", "mds0");
  async::RunFor(cluster_.shard(), std::chrono::seconds(5));
  alice_done_ = false;
  Ask(alice_, &alice_status_, &alice_done_);
  async::RunFor(cluster_.shard(), std::chrono::seconds(5));
  EXPECT_FALSE(alice_done_);
  cluster_.shard()->Post([this] { bob_->FlushLocks(fid_, 1); });
  async::RunFor(cluster_.shard(), std::chrono::seconds(1));
  EXPECT_TRUE(alice_done_ && alice_status_);
}

TEST_F(SimClientDeathTest, AHolderThatComesBackInTimeKeepsItsLock) {
  cluster_.network()->SetOptions({.refuse_one_in = 1});
  cluster_.network()->Break("alice", "mds0");
  async::RunFor(cluster_.shard(), std::chrono::seconds(2));
  cluster_.network()->SetOptions({});
  async::RunFor(cluster_.shard(), std::chrono::seconds(60));
  EXPECT_FALSE(bob_done_);
  cluster_.shard()->Post([this] { alice_->FlushLocks(fid_, 1); });
  async::RunFor(cluster_.shard(), std::chrono::seconds(1));
  EXPECT_TRUE(bob_done_ && bob_status_);
}

TEST_F(SimClientDeathTest, AWaiterThatDiesIsNotGrantedWhatOthersWaitFor) {
  Filesystem* const carol = cluster_.AddClient("carol");
  Status carol_status;
  bool carol_done = false;
  Ask(carol, &carol_status, &carol_done);
  async::RunFor(cluster_.shard(), std::chrono::seconds(1));
  cluster_.network()->Partition("bob", "mds0");
  cluster_.network()->Break("bob", "mds0");
  async::RunFor(cluster_.shard(), std::chrono::seconds(4));
  cluster_.shard()->Post([this] { alice_->FlushLocks(fid_, 1); });
  async::RunFor(cluster_.shard(), std::chrono::seconds(1));
  EXPECT_TRUE(carol_done && carol_status);
  // Back again, it asks again.
  cluster_.network()->Heal("bob", "mds0");
  cluster_.shard()->Post([carol, this] { carol->FlushLocks(fid_, 1); });
  async::RunFor(cluster_.shard(), std::chrono::seconds(10));
  EXPECT_TRUE(bob_done_ && bob_status_);
}

}  // namespace
}  // namespace sheen::test
