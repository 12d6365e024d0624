// Disks that are slow, full or failing, and clocks that jump.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <map>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"
#include "support/troubled_disk.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr uint64_t kBytes = 20'000;

struct File {
  Fid fid;
  uint64_t handle = 0;
};

async::Task<void> CreateTask(Filesystem* fs, std::string name, File* out) {
  const auto opened = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(opened) << name << (opened ? "" : opened.error().ToString());
  if (opened) *out = {opened->attr.fid, opened->handle};
}

async::Task<void> WriteTask(Filesystem* fs, File file, uint64_t offset, char fill, Errc* out) {
  const std::string bytes(kBytes, fill);
  const auto wrote = co_await fs->Write(file.fid, file.handle, offset, AsBytes(bytes), {});
  *out = wrote ? Errc::kOk : wrote.error().code();
}

// Answered by the server.
async::Task<void> WriteThroughTask(Filesystem* fs, File file, char fill, Errc* out) {
  const std::string bytes(kBytes, fill);
  const auto wrote =
      co_await fs->Write(file.fid, file.handle, 0, AsBytes(bytes), {.direct = true});
  *out = wrote ? Errc::kOk : wrote.error().code();
}

async::Task<void> FsyncTask(Filesystem* fs, Fid fid, Errc* out) {
  const Status synced = co_await fs->Fsync(fid);
  *out = synced ? Errc::kOk : synced.error().code();
}

async::Task<void> ReadTask(Filesystem* fs, File file, std::string* out) {
  std::string bytes(8 * kBytes, '?');
  const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(file.fid, file.handle, 0, span);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  *out = read ? bytes.substr(0, *read) : "";
}

class SimDiskScene : public ::testing::Test {
 protected:
  SimDiskScene() : cluster_({.seed = TestSeed(), .ost_count = 2}), random_(TestSeed()) {
    alice_ = cluster_.AddClient("alice");
    bob_ = cluster_.AddClient("bob");
  }
  File Create(Filesystem* fs, const std::string& name) {
    File file;
    cluster_.Run(CreateTask(fs, name, &file));
    return file;
  }
  Errc Write(Filesystem* fs, const File& file, uint64_t offset, char fill) {
    Errc code = Errc::kOk;
    cluster_.Run(WriteTask(fs, file, offset, fill, &code));
    return code;
  }
  Errc Fsync(Filesystem* fs, const File& file) {
    Errc code = Errc::kOk;
    cluster_.Run(FsyncTask(fs, file.fid, &code));
    return code;
  }
  std::string Read(Filesystem* fs, const File& file) {
    std::string bytes;
    cluster_.Run(ReadTask(fs, file, &bytes));
    return bytes;
  }
  // A file of alice's whose bytes are on that OST, synced, with a handle of bob's too.
  File FileOn(uint32_t ost, const std::string& stem) {
    for (int i = 0; i < 20; ++i) {
      const File file = Create(alice_, stem + std::to_string(i));
      EXPECT_EQ(Write(alice_, file, 0, 's'), Errc::kOk);
      const auto open = alice_->state()->files.Find(file.fid);
      EXPECT_TRUE(open && open->layout());
      if (!open || !open->layout() || open->layout()->components[0].osts[0] != ost) continue;
      EXPECT_EQ(Fsync(alice_, file), Errc::kOk);
      return file;
    }
    ADD_FAILURE() << "no file came to OST " << ost;
    return {};
  }

  SimCluster cluster_;
  Random random_;
  Filesystem* alice_ = nullptr;
  Filesystem* bob_ = nullptr;
};

// Everything takes its time, nothing fails, and what is on the fast disk does not wait.
TEST_F(SimDiskScene, ASlowDiskIsOnlySlow) {
  const File slow = FileOn(0, "slow");
  const File fast = FileOn(1, "fast");
  cluster_.disk(0)->write_delay = milliseconds(400);
  cluster_.disk(0)->sync_delay = seconds(3);
  EXPECT_EQ(Write(alice_, slow, 0, 'a'), Errc::kOk);
  const auto synced = cluster_.Begin([](Filesystem* fs, Fid fid) -> async::Task<void> {
    Errc code = Errc::kIo;
    co_await FsyncTask(fs, fid, &code);
    EXPECT_EQ(code, Errc::kOk);
  }(alice_, slow.fid));
  const Nanos begun = cluster_.shard()->Now();
  EXPECT_EQ(Write(bob_, Create(bob_, "other"), 0, 'o'), Errc::kOk);
  EXPECT_EQ(Write(alice_, fast, 0, 'b'), Errc::kOk);
  EXPECT_EQ(Fsync(alice_, fast), Errc::kOk);
  EXPECT_LT(cluster_.shard()->Now() - begun, seconds(2)) << "the other disk is well";
  EXPECT_FALSE(*synced);
  cluster_.Finish(synced);
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read(alice_, slow), std::string(kBytes, 'a'));
}

// A client that has come back, and left again, while the slow disk settled what it had left the
// first time: it is waited for after a power cut, since it has written in between.
TEST(SimSlowDiskTest, WhoLeavesTwiceIsWaitedForOverWhatItDidBetween) {
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1});
  Random random(TestSeed());
  Filesystem* alice = cluster.AddClient("alice");
  Filesystem* bob = cluster.AddClient("bob");
  File of_alice;
  File of_bob;
  Errc code = Errc::kIo;
  cluster.Run(CreateTask(alice, "f", &of_alice));
  cluster.Run(CreateTask(bob, "f", &of_bob));
  cluster.Run(WriteTask(alice, of_alice, 0, '1', &code));
  cluster.disk(0)->sync_delay = seconds(6);
  const auto leave = [&cluster] {
    cluster.network()->Partition("alice", "oss0");
    cluster.network()->Break("alice", "oss0");
  };
  leave();
  // After 3 s the OSS begins to settle.
  async::RunFor(cluster.shard(), milliseconds(3'500));
  cluster.network()->Heal("alice", "oss0");
  cluster.Run(WriteTask(alice, of_alice, 0, '2', &code));
  EXPECT_EQ(code, Errc::kOk);
  leave();
  // Settled by now, what was before; not long enough for another time.
  async::RunFor(cluster.shard(), milliseconds(2'800));
  cluster.disk(0)->sync_delay = Nanos(0);
  cluster.PowerCutOss(&random);
  const auto later = cluster.Begin([](SimCluster* c) -> async::Task<void> {
    co_await c->shard()->Sleep(seconds(4));
    c->network()->Heal("alice", "oss0");
  }(&cluster));
  cluster.Run(WriteTask(bob, of_bob, 0, '3', &code));
  EXPECT_EQ(code, Errc::kOk);
  cluster.Finish(later);
  async::RunFor(cluster.shard(), seconds(10));
  std::string read;
  cluster.Run(ReadTask(bob, of_bob, &read));
  EXPECT_EQ(read, std::string(kBytes, '3')) << "what was repeated has landed on newer bytes";
}

// The disk cannot keep what it was given: its target serves no more, nothing of it is acknowledged,
// and others go on. On a healed disk all that was synced before is there.
TEST_F(SimDiskScene, AFailingSyncStopsItsTargetAlone) {
  const File failing = FileOn(0, "failing");
  const File well = FileOn(1, "well");
  cluster_.disk(0)->fail_syncs = Errc::kIo;
  EXPECT_EQ(Write(alice_, failing, kBytes, 'x'), Errc::kOk);
  EXPECT_EQ(Fsync(alice_, failing), Errc::kIo);
  EXPECT_GT(cluster_.disk(0)->failed, 0U);
  EXPECT_NE(Fsync(alice_, failing), Errc::kOk) << "the second fsync knows no more";
  Errc code = Errc::kOk;
  cluster_.Run(WriteThroughTask(alice_, failing, 'y', &code));
  EXPECT_NE(code, Errc::kOk) << "the target has stopped";
  EXPECT_EQ(Write(alice_, well, 0, 'w'), Errc::kOk);
  EXPECT_EQ(Fsync(alice_, well), Errc::kOk);
  EXPECT_EQ(Read(alice_, well), std::string(kBytes, 'w'));
  cluster_.disk(0)->fail_syncs = Errc::kOk;
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read(alice_, failing).substr(0, kBytes), std::string(kBytes, 's'));
  EXPECT_EQ(Fsync(alice_, failing), Errc::kOk);
}

// The same for what the index cannot keep.
TEST_F(SimDiskScene, AFailingIndexStopsItsTargetAlone) {
  const File failing = FileOn(0, "failing");
  const File well = FileOn(1, "well");
  cluster_.index_disk(0)->FailWrites(Errc::kIo);
  EXPECT_EQ(Write(alice_, failing, kBytes, 'x'), Errc::kOk);
  EXPECT_NE(Fsync(alice_, failing), Errc::kOk);
  EXPECT_EQ(Write(alice_, well, 0, 'w'), Errc::kOk);
  EXPECT_EQ(Fsync(alice_, well), Errc::kOk);
  cluster_.index_disk(0)->FailWrites(Errc::kOk);
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read(alice_, failing).substr(0, kBytes), std::string(kBytes, 's'));
}

// A write that the disk refuses is refused; when there is room again it goes on.
TEST_F(SimDiskScene, AFullDiskRefusesAndGoesOn) {
  const File file = FileOn(0, "full");
  cluster_.disk(0)->fail_writes = Errc::kNoSpace;
  const std::string data(kBytes, 'x');
  Errc refused = Errc::kOk;
  cluster_.Run([](Filesystem* fs, File f, std::string bytes, Errc* out) -> async::Task<void> {
    const auto wrote =
        co_await fs->Write(f.fid, f.handle, kBytes, AsBytes(bytes), {.direct = true});
    *out = wrote ? Errc::kOk : wrote.error().code();
    // Accepted and held back it is told here.
    const Status synced = co_await fs->Fsync(f.fid);
    if (*out == Errc::kOk && !synced) *out = synced.error().code();
  }(alice_, file, data, &refused));
  EXPECT_EQ(refused, Errc::kNoSpace);
  cluster_.disk(0)->fail_writes = Errc::kOk;
  EXPECT_EQ(Read(alice_, file).substr(0, kBytes), std::string(kBytes, 's'));
  EXPECT_EQ(Write(alice_, file, kBytes, 'z'), Errc::kOk);
  EXPECT_EQ(Fsync(alice_, file), Errc::kOk);
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read(alice_, file), std::string(kBytes, 's') + std::string(kBytes, 'z'));
}

// A read error is the reader's alone.
TEST_F(SimDiskScene, AFailingReadIsTold) {
  const File file = FileOn(0, "unread");
  cluster_.disk(0)->fail_reads = Errc::kIo;
  Errc code = Errc::kOk;
  cluster_.Run([](Filesystem* fs, File f, Errc* out) -> async::Task<void> {
    std::string bytes(kBytes, '?');
    const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
    const auto read = co_await fs->Read(f.fid, f.handle, 0, span);
    *out = read ? Errc::kOk : read.error().code();
  }(alice_, file, &code));
  EXPECT_EQ(code, Errc::kIo);
  cluster_.disk(0)->fail_reads = Errc::kOk;
  EXPECT_EQ(Read(alice_, file), std::string(kBytes, 's'));
}

// Times that people set are no times to go by: with clocks that jump by days nobody is evicted,
// nothing waits, and no file's time goes back.
TEST_F(SimDiskScene, ClocksThatJumpChangeNothing) {
  const File file = FileOn(0, "timed");
  int64_t ctime_ns = 0;
  for (int i = 0; i < 12; ++i) {
    const auto days = static_cast<int64_t>(random_.Below(60)) - 30;
    cluster_.JumpClocks(hours(24) * days);
    const Nanos begun = cluster_.shard()->Now();
    const char fill = static_cast<char>('a' + i);
    EXPECT_EQ(Write(i % 2 == 0 ? alice_ : bob_, i % 2 == 0 ? file : Create(bob_, "b"), 0, fill),
              Errc::kOk);
    EXPECT_EQ(Write(alice_, file, 0, fill), Errc::kOk);
    EXPECT_EQ(Fsync(alice_, file), Errc::kOk);
    cluster_.Run([](Filesystem* fs, Fid fid, int64_t* last) -> async::Task<void> {
      const auto attr = co_await fs->GetAttr(0, fid);
      EXPECT_TRUE(attr) << (attr ? "" : attr.error().ToString());
      if (!attr) co_return;
      EXPECT_GE(attr->ctime_ns, *last) << "time went back";
      *last = attr->ctime_ns;
    }(bob_, file.fid, &ctime_ns));
    EXPECT_LT(cluster_.shard()->Now() - begun, seconds(2));
    async::RunFor(cluster_.shard(), seconds(2));
    EXPECT_EQ(Read(alice_, file), std::string(kBytes, fill));
  }
  EXPECT_EQ(cluster_.mds()->session_count(), 2U);
}

// Tombstones, leases and what is awaited after a restart are of time, too.
TEST_F(SimDiskScene, ClocksThatJumpOverRestartsChangeNothing) {
  const File file = FileOn(0, "kept");
  for (int i = 0; i < 6; ++i) {
    const char fill = static_cast<char>('a' + i);
    EXPECT_EQ(Write(alice_, file, 0, fill), Errc::kOk);
    cluster_.JumpClocks(hours(24) * (i % 2 == 0 ? -400 : 400));
    if (i % 3 == 0) cluster_.PowerCutMds(&random_);
    if (i % 3 == 1) cluster_.PowerCutOss(&random_);
    if (i % 3 == 2) cluster_.KillOss();
    EXPECT_EQ(Read(alice_, file), std::string(kBytes, fill));
    const File gone = Create(bob_, "gone" + std::to_string(i));
    EXPECT_EQ(Write(bob_, gone, 0, 'g'), Errc::kOk);
    cluster_.Run([](Filesystem* fs, std::string name) -> async::Task<void> {
      const Status removed = co_await fs->Unlink(0, fs->root(), name);
      EXPECT_TRUE(removed) << (removed ? "" : removed.error().ToString());
    }(bob_, "gone" + std::to_string(i)));
  }
}

}  // namespace
}  // namespace sheen::test
