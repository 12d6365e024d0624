#include "fuse/kernel_notices.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <thread>

#include "async/sim_poller.h"
#include "fuse/fuse_kernel.h"
#include "fuse/libfuse_session.h"
#include "fuse/sheen_front.h"

namespace sheen::fuse {
namespace {

constexpr Fid kDirectory{0x200000400, 1, 0};
constexpr uint32_t kLost = 1000;  // oid of the first inode of which the kernel never hears

constexpr Fid kLostData{0x200000400, 7, 0};

Fid FileOf(uint32_t oid) { return {0x200000400, oid, 0}; }

client::Attr AttrOf(const Fid& fid) {
  client::Attr attr;
  attr.fid = fid;
  attr.mode = S_IFREG | 0644;
  return attr;
}

// A kernel that knows all inodes but those from kLost on.
class KernelNoticesTest : public testing::Test {
 protected:
  KernelNoticesTest() : fs(client::Options{}), notices(&fs, Calls()) {
    fs.AddShard(&shard, nullptr);
    notices.Start();
  }
  ~KernelNoticesTest() override { notices.Stop(); }

  KernelCalls Calls() {
    KernelCalls calls;
    calls.minor = 44;
    calls.forget_attributes = [this](fuse_ino_t node) {
      told.fetch_add(1);
      return Fid::FromInode(node).oid >= kLost ? -ENOENT : 0;
    };
    calls.forget_data = [this](fuse_ino_t node, int64_t offset, int64_t length) {
      EXPECT_EQ(Fid::FromInode(node), kLostData);
      EXPECT_EQ(offset, 4096);
      EXPECT_EQ(length, 100);
      data_told.fetch_add(1);
      return 0;
    };
    calls.expire_name = [](fuse_ino_t, const std::string&) { return 0; };
    calls.raise_epoch = [] { return 0; };
    return calls;
  }
  // A reply with this inode is on its way; then what it said must be forgotten.
  void PromiseAndRecall(const Fid& fid) {
    const Nanos now = SystemClock().Monotonic();
    fs.kernel()->PromiseEntry(kDirectory, "f", AttrOf(fid), true, now);
    fs.kernel()->Recall(fid, lock::kAttrBits, now, true, [this] { done.fetch_add(1); });
  }
  bool Await(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::yield();
    }
    return true;
  }

  std::atomic<uint32_t> told{0};
  std::atomic<uint32_t> done{0};
  std::atomic<uint32_t> data_told{0};
  ManualClock clock;
  async::SimPoller poller{&clock};
  async::Shard shard{&poller, &clock};
  client::Filesystem fs;
  KernelNotices notices;
};

TEST_F(KernelNoticesTest, InodesThatNeverReachTheKernelKeepNobodyElseWaiting) {
  constexpr uint32_t kMany = 40;  // more than there are threads
  for (uint32_t i = 0; i < kMany; ++i) PromiseAndRecall(FileOf(kLost + i));
  EXPECT_TRUE(Await([&] { return told.load() > kMany; }));
  PromiseAndRecall(FileOf(5));
  EXPECT_TRUE(Await([&] { return done.load() == 1; }));
  for (uint32_t i = 0; i < kMany; ++i) fs.kernel()->Forget(FileOf(kLost + i), 1);
  EXPECT_TRUE(Await([&] { return done.load() == kMany + 1; }));
}

TEST_F(KernelNoticesTest, PagesOfBytesThatWereNotStoredAreForgotten) {
  const Nanos now = SystemClock().Monotonic();
  fs.kernel()->DataLost(kLostData, 0, 1);  // it has no such inode
  fs.kernel()->PromiseEntry(kDirectory, "f", AttrOf(kLostData), true, now);
  EXPECT_FALSE(fs.kernel()->KeepPages(AttrOf(kLostData), true));
  EXPECT_TRUE(fs.kernel()->KeepPages(AttrOf(kLostData), true));
  fs.kernel()->DataLost(kLostData, 4096, 100);
  EXPECT_TRUE(Await([&] { return data_told.load() == 1; }));
  EXPECT_FALSE(fs.kernel()->KeepPages(AttrOf(kLostData), true)) << "at the next open either";
}

class FailingTarget final : public ReplyTarget {
 public:
  ssize_t OnReply(iovec* iov, int) override {
    if (static_cast<const fuse_out_header*>(iov[0].iov_base)->unique == 2) return 1;  // INIT
    errno = ENOENT;
    return -1;
  }
};

TEST_F(KernelNoticesTest, ALookupWhoseAnswerDoesNotReachTheKernelIsTakenBack) {
  fuse_lowlevel_ops ops{};
  ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
    ReplyEntry(request, kDirectory, name, AttrOf(FileOf(kLost)));
  };
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  const int descriptor = null.get();
  const LibfuseSession session = NewLibfuseSession(ops, &fs, std::move(null)).value();
  struct {
    fuse_in_header header;
    fuse_init_in init;
  } init{.header = {.len = sizeof init, .opcode = FUSE_INIT, .unique = 2}, .init = {}};
  init.init.major = FUSE_KERNEL_VERSION;
  init.init.minor = FUSE_KERNEL_MINOR_VERSION;
  ASSERT_TRUE(
      ReplayInit(session.get(), descriptor, {reinterpret_cast<std::byte*>(&init), sizeof init}));
  struct {
    fuse_in_header header;
    char name[8];
  } lookup{.header = {.len = sizeof lookup, .opcode = FUSE_LOOKUP, .unique = 4, .nodeid = 1},
           .name = "f"};
  FailingTarget target;
  const ReplyRoute route(descriptor, &target);
  fuse_buf buffer{};
  buffer.mem = &lookup;
  buffer.size = sizeof lookup;
  // As the lookup itself, but for the reply.
  bool known_before_reply = false;
  shard.Post([&] {
    fs.PromiseEntry(kDirectory, "f", AttrOf(FileOf(kLost)));
    known_before_reply = fs.kernel()->MayKnow(FileOf(kLost), clock.Monotonic());
    fs.kernel()->Forget(FileOf(kLost), 1);
    fuse_session_process_buf(session.get(), &buffer);
  });
  shard.RunOnce(Nanos(0));
  EXPECT_TRUE(known_before_reply);
  EXPECT_FALSE(fs.kernel()->MayKnow(FileOf(kLost), clock.Monotonic()));
}

}  // namespace
}  // namespace sheen::fuse
