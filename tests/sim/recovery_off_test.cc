// A mount with recovery=off keeps nothing to repeat: what it cannot know is told as an error, never
// passed over, and other mounts are promised what they always are.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "client/state.h"
#include "sim/workload.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;
using std::chrono::seconds;

constexpr uint64_t kBytes = 20'000;

struct File {
  Fid fid;
  uint64_t handle = 0;
};

Errc CodeOf(const Status& status) { return status ? Errc::kOk : status.error().code(); }

async::Task<void> CreateTask(Filesystem* fs, std::string name, File* out) {
  const auto opened = co_await fs->Create(0, fs->root(), name, {.mode = 0644, .flags = O_RDWR});
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (opened) *out = {opened->attr.fid, opened->handle};
}

async::Task<void> WriteTask(Filesystem* fs, File file, char fill, Errc* out) {
  const std::string bytes(kBytes, fill);
  const auto wrote = co_await fs->Write(file.fid, file.handle, 0, AsBytes(bytes), {});
  *out = wrote ? Errc::kOk : wrote.error().code();
}

async::Task<void> FsyncTask(Filesystem* fs, Fid fid, Errc* out) {
  *out = CodeOf(co_await fs->Fsync(fid));
}

async::Task<void> FsyncDirTask(Filesystem* fs, Errc* out) {
  *out = CodeOf(co_await fs->FsyncDir(fs->root()));
}

async::Task<void> MakeTask(Filesystem* fs, std::string name, Errc* out) {
  const auto made = co_await fs->MakeNode(0, fs->root(), name, {.mode = S_IFDIR | 0755});
  *out = made ? Errc::kOk : made.error().code();
}

async::Task<void> ReadTask(Filesystem* fs, std::string name, std::string* out) {
  const auto found = co_await fs->Lookup(0, fs->root(), name);
  EXPECT_TRUE(found) << name << ": " << (found ? "" : found.error().ToString());
  if (!found) co_return;
  const auto opened = co_await fs->Open(0, found->fid, O_RDONLY);
  EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
  if (!opened) co_return;
  std::string bytes(2 * kBytes, '?');
  const MutableByteSpan span(reinterpret_cast<std::byte*>(bytes.data()), bytes.size());
  const auto read = co_await fs->Read(found->fid, opened->handle, 0, span);
  EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
  if (read) *out = bytes.substr(0, *read);
  const Status closed = co_await fs->Close(found->fid, opened->handle);
  EXPECT_TRUE(closed);
}

class SimRecoveryOffTest : public ::testing::Test {
 protected:
  SimRecoveryOffTest() : cluster_({.seed = TestSeed(), .ost_count = 1}), random_(TestSeed() + 1) {
    client::Options options;
    options.recovery = false;
    off_ = cluster_.AddClient("off", options);
    on_ = cluster_.AddClient("on");
  }
  File Create(Filesystem* fs, const std::string& name) {
    File file;
    cluster_.Run(CreateTask(fs, name, &file));
    return file;
  }
  Errc Write(Filesystem* fs, const File& file, char fill) {
    Errc code = Errc::kOk;
    cluster_.Run(WriteTask(fs, file, fill, &code));
    return code;
  }
  Errc Fsync(Filesystem* fs, const File& file) {
    Errc code = Errc::kOk;
    cluster_.Run(FsyncTask(fs, file.fid, &code));
    return code;
  }
  Errc FsyncDir(Filesystem* fs) {
    Errc code = Errc::kOk;
    cluster_.Run(FsyncDirTask(fs, &code));
    return code;
  }
  Errc Make(Filesystem* fs, const std::string& name) {
    Errc code = Errc::kOk;
    cluster_.Run(MakeTask(fs, name, &code));
    return code;
  }
  std::string Read(Filesystem* fs, const std::string& name) {
    std::string bytes;
    cluster_.Run(ReadTask(fs, name, &bytes));
    return bytes;
  }
  // An answer to such a request is lost, with its connection.
  void LoseAnswer(const std::string& node, const std::string& opcode) {
    ASSERT_TRUE(cluster_.faults(node)->Arm("server.executed." + opcode,
                                           {.action = rpc::FaultAction::kDrop}));
  }

  SimCluster cluster_;
  Random random_;
  Filesystem* off_ = nullptr;
  Filesystem* on_ = nullptr;
};

TEST_F(SimRecoveryOffTest, WithoutFailuresItIsLikeAnyOtherAndKeepsNothing) {
  Workload workload({off_, on_}, TestSeed());
  cluster_.Run(workload.Run(150));
  cluster_.Run(workload.CheckAll());
  EXPECT_EQ(off_->state()->kept_requests.size(), 0U);
  EXPECT_TRUE(off_->state()->kept_writes.empty());
  EXPECT_EQ(off_->GrantedBytes(0), 0U);
}

TEST_F(SimRecoveryOffTest, AChangeWhoseAnswerIsLostIsNotMadeTwice) {
  LoseAnswer("mds0", "mds_make_node");
  EXPECT_EQ(Make(off_, "d"), Errc::kIo);
  EXPECT_EQ(Make(off_, "d"), Errc::kExists) << "it was made, or not; not again";
  EXPECT_EQ(cluster_.faults("mds0")->HitsOf("server.executed.mds_make_node"), 1U);
}

TEST_F(SimRecoveryOffTest, AWriteWhoseAnswerIsLostIsTold) {
  const File file = Create(off_, "f");
  LoseAnswer("oss0", "ost_write");
  const Errc wrote = Write(off_, file, 'x');
  const Errc synced = Fsync(off_, file);  // of what was held back
  EXPECT_TRUE(wrote == Errc::kIo || synced == Errc::kIo);
}

TEST_F(SimRecoveryOffTest, ARestartOfTheOssIsToldByEveryFsync) {
  const File file = Create(off_, "f");
  const File of_other = Create(on_, "g");
  EXPECT_EQ(Write(off_, file, 'x'), Errc::kOk);
  EXPECT_EQ(Write(on_, of_other, 'y'), Errc::kOk);
  cluster_.PowerCutOss(&random_);
  async::RunFor(cluster_.shard(), seconds(5));
  EXPECT_EQ(Fsync(off_, file), Errc::kIo);
  EXPECT_EQ(Fsync(off_, file), Errc::kIo) << "told once is not enough: which are lost is not known";
  EXPECT_EQ(FsyncDir(off_), Errc::kIo);
  EXPECT_EQ(Fsync(on_, of_other), Errc::kOk);
  EXPECT_EQ(Read(on_, "g"), std::string(kBytes, 'y'));
}

TEST_F(SimRecoveryOffTest, ARestartOfTheMdsIsToldByFsyncOfADirectory) {
  EXPECT_EQ(Make(off_, "d"), Errc::kOk);
  EXPECT_EQ(Make(on_, "e"), Errc::kOk);
  cluster_.PowerCutMds(nullptr);
  async::RunFor(cluster_.shard(), seconds(30));
  EXPECT_EQ(FsyncDir(off_), Errc::kIo);
  EXPECT_EQ(FsyncDir(on_), Errc::kOk);
  EXPECT_EQ(Make(on_, "e"), Errc::kExists) << "what others were answered is there";
}

TEST_F(SimRecoveryOffTest, AnUnmountLeavesNothingThatPowerCutsTake) {
  const File file = Create(off_, "f");
  EXPECT_EQ(Write(off_, file, 'x'), Errc::kOk);
  EXPECT_TRUE(cluster_.RemoveClient(off_));
  cluster_.PowerCutMds(nullptr);
  cluster_.PowerCutOss(&random_);
  EXPECT_EQ(Read(on_, "f"), std::string(kBytes, 'x'));
}

TEST(SimRecoveryOffSmallTest, AFullDiskIsToldByFsync) {
  constexpr uint64_t kOstBytes = 64 << 20;
  SimCluster cluster({.seed = TestSeed(), .ost_count = 1, .ost_bytes = kOstBytes});
  client::Options options;
  options.recovery = false;
  Filesystem* const off = cluster.AddClient("off", options);
  cluster.Run([](Filesystem* fs) -> async::Task<void> {
    const auto opened = co_await fs->Create(0, fs->root(), "f", {.mode = 0644, .flags = O_RDWR});
    EXPECT_TRUE(opened);
    if (!opened) co_return;
    const std::string data(1 << 20, 'x');
    Errc told = Errc::kOk;
    for (uint64_t at = 0; at < 2 * kOstBytes && told == Errc::kOk; at += data.size()) {
      const auto wrote =
          co_await fs->Write(opened->attr.fid, opened->handle, at, AsBytes(data), {});
      if (!wrote) told = wrote.error().code();
      const Status synced = co_await fs->Fsync(opened->attr.fid);
      if (told == Errc::kOk) told = CodeOf(synced);
    }
    EXPECT_EQ(told, Errc::kNoSpace);
    const Status closed = co_await fs->Close(opened->attr.fid, opened->handle);
    static_cast<void>(closed);
  }(off));
}

}  // namespace
}  // namespace sheen::test
