// Changes of objects whose answer is lost: they are executed once, and never again over what others
// have written since; also when the OSS has been killed, restarted or without power between.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/falloc.h>

#include <functional>
#include <string>

#include "client/state.h"
#include "support/sim_cluster.h"

namespace sheen::test {
namespace {

using client::Filesystem;

constexpr uint64_t kBytes = 8192;

struct Mounted {
  Filesystem* fs = nullptr;
  Fid fid;
  uint64_t handle = 0;
};

enum class Between : uint8_t { kNothing, kKill, kRestart, kPowerCut };

class SimExactlyOnce : public ::testing::TestWithParam<Between> {
 protected:
  SimExactlyOnce() : cluster_({.seed = TestSeed(), .ost_count = 1}) {
    Open("alice", &alice_);
    Open("bob", &bob_);
    Write(alice_, 'a');
    Write(bob_, 'b');  // others have the file too: nobody holds anything back
  }
  void Open(const std::string& name, Mounted* out) {
    out->fs = cluster_.AddClient(name);
    cluster_.Run([](Mounted* m) -> async::Task<void> {
      auto opened =
          co_await m->fs->Create(0, m->fs->root(), "shared", {.mode = 0644, .flags = O_RDWR});
      EXPECT_TRUE(opened) << (opened ? "" : opened.error().ToString());
      if (opened) m->fid = opened->attr.fid;
      if (opened) m->handle = opened->handle;
    }(out));
  }
  static async::Task<void> WriteTask(Mounted m, char fill) {
    const std::string data(kBytes, fill);
    const auto wrote = co_await m.fs->Write(m.fid, m.handle, 0, AsBytes(data), {.direct = true});
    EXPECT_TRUE(wrote) << (wrote ? "" : wrote.error().ToString());
  }
  void Write(const Mounted& m, char fill) { cluster_.Run(WriteTask(m, fill)); }
  std::string Read(const Mounted& m) {
    std::string bytes(kBytes, '?');
    cluster_.Run([](Mounted who, std::string* out) -> async::Task<void> {
      const MutableByteSpan span(reinterpret_cast<std::byte*>(out->data()), out->size());
      const auto read = co_await who.fs->Read(who.fid, who.handle, 0, span);
      EXPECT_TRUE(read) << (read ? "" : read.error().ToString());
      if (read) out->resize(*read);
    }(m, &bytes));
    return bytes;
  }

  // Alice's change is executed, its answer is lost, and she is cut off; bob writes; then what
  // happens to the OSS; then alice is back and sends again.
  void Interleave(const std::string& opcode, async::Task<void> change) {
    ASSERT_TRUE(cluster_.faults("oss0")->Arm("server.executed." + opcode,
                                             {.action = rpc::FaultAction::kDrop}));
    const auto done = cluster_.Begin(std::move(change));
    const auto executed = [this, &opcode] {
      return cluster_.faults("oss0")->HitsOf("server.executed." + opcode) > 0;
    };
    ASSERT_TRUE(async::RunUntil(cluster_.shard(), executed, std::chrono::seconds(30)));
    cluster_.network()->Partition("alice", "oss0");
    // She has told bob's server nothing more; his write is over hers.
    Write(bob_, 'B');
    EXPECT_EQ(Read(bob_), std::string(kBytes, 'B'));
    Meanwhile();
    EXPECT_FALSE(*done);
    cluster_.network()->Heal("alice", "oss0");
    cluster_.Finish(done);
    EXPECT_EQ(Read(bob_), std::string(kBytes, 'B')) << "an old change has landed on a newer one";
    EXPECT_EQ(Read(alice_), std::string(kBytes, 'B'));
  }
  void Meanwhile() {
    Random random(TestSeed());
    if (GetParam() == Between::kKill) cluster_.KillOss();
    if (GetParam() == Between::kRestart) cluster_.RestartOss();
    if (GetParam() == Between::kPowerCut) cluster_.PowerCutOss(&random);
  }

  SimCluster cluster_;
  Mounted alice_;
  Mounted bob_;
};

TEST_P(SimExactlyOnce, AWriteDoesNotLandOnANewerOne) {
  Interleave("ost_write", WriteTask(alice_, 'A'));
}

TEST_P(SimExactlyOnce, ATruncateDoesNotCutWhatCameAfterIt) {
  Interleave("ost_truncate", [](Mounted m) -> async::Task<void> {
    client::AttrChange change;
    change.set_size = true;
    change.size = 0;
    const auto set = co_await m.fs->SetAttr(0, m.fid, change, m.handle);
    EXPECT_TRUE(set) << (set ? "" : set.error().ToString());
  }(alice_));
}

TEST_P(SimExactlyOnce, AHoleIsNotPunchedIntoWhatCameAfterIt) {
  Interleave("ost_allocate", [](Mounted m) -> async::Task<void> {
    const Status punched = co_await m.fs->Fallocate(
        m.fid, m.handle, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kBytes);
    EXPECT_TRUE(punched) << (punched ? "" : punched.error().ToString());
  }(alice_));
}

TEST_P(SimExactlyOnce, ARangeIsNotZeroedAgain) {
  Interleave("ost_allocate", [](Mounted m) -> async::Task<void> {
    const Status zeroed =
        co_await m.fs->Fallocate(m.fid, m.handle, FALLOC_FL_ZERO_RANGE, 0, kBytes);
    EXPECT_TRUE(zeroed) << (zeroed ? "" : zeroed.error().ToString());
  }(alice_));
}

INSTANTIATE_TEST_SUITE_P(Sim, SimExactlyOnce,
                         ::testing::Values(Between::kNothing, Between::kKill, Between::kRestart,
                                           Between::kPowerCut));

}  // namespace
}  // namespace sheen::test
