// What client/kernel_cache.h and KernelNotices rely on in the kernel, each tried by itself on a
// real mount. A kernel that behaves otherwise fails here first.
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "async/shard.h"
#include "fuse/session.h"
#include "io/uring.h"

namespace sheen::fuse {
namespace {

constexpr fuse_ino_t kFile = 2;  // "f", a file; kept for as long as the kernel likes
constexpr double kLong = 1000;   // seconds
constexpr auto kAWhile = std::chrono::milliseconds(150);

struct PinFs {
  std::atomic<int> lookups{0};
  std::atomic<int> getattrs{0};
  std::atomic<bool> park_getattr{false};
  std::atomic<bool> keep_attr{true};
  std::mutex mutex;  // guards parked
  std::vector<std::pair<fuse_req_t, bool>> parked;  // the request; is it a getattr?
  std::atomic<int> parked_count{0};
};

PinFs* Of(fuse_req_t request) { return static_cast<PinFs*>(fuse_req_userdata(request)); }

struct stat AttrOf(fuse_ino_t id) {
  struct stat attr {};
  attr.st_ino = id;
  attr.st_nlink = 1;
  attr.st_mode = id == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
  return attr;
}

void Park(fuse_req_t request, bool is_getattr) {
  PinFs* fs = Of(request);
  const std::scoped_lock lock(fs->mutex);
  fs->parked.emplace_back(request, is_getattr);
  ++fs->parked_count;
}

// On the shard of the requests.
void AnswerParked(PinFs* fs) {
  const std::scoped_lock lock(fs->mutex);
  for (const auto& [request, is_getattr] : fs->parked) {
    const struct stat attr = AttrOf(kFile);
    if (is_getattr) {
      fuse_reply_attr(request, &attr, kLong);
    } else {
      fuse_reply_err(request, EACCES);
    }
  }
  fs->parked.clear();
}

fuse_lowlevel_ops PinOps() {
  fuse_lowlevel_ops ops{};
  ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
    if (std::string_view(name) != "f") {
      fuse_reply_err(request, ENOENT);
      return;
    }
    ++Of(request)->lookups;
    fuse_entry_param entry{};
    entry.ino = kFile;
    entry.attr = AttrOf(kFile);
    entry.entry_timeout = kLong;
    entry.attr_timeout = Of(request)->keep_attr ? kLong : 0;
    fuse_reply_entry(request, &entry);
  };
  ops.getattr = [](fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
    if (id == kFile) ++Of(request)->getattrs;
    if (id == kFile && Of(request)->park_getattr) {
      Park(request, true);
      return;
    }
    const struct stat attr = AttrOf(id);
    fuse_reply_attr(request, &attr, id == kFile && Of(request)->keep_attr ? kLong : 0);
  };
  ops.mkdir = [](fuse_req_t request, fuse_ino_t, const char*, mode_t) { Park(request, false); };
  return ops;
}

class KernelPinsTest : public testing::TestWithParam<UringMode> {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen_kernel_pins.XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    mountpoint_ = pattern;
    const MountOptions options{.mountpoint = mountpoint_, .io_uring = GetParam()};
    auto mounted = Session::Mount(options, PinOps(), &fs_);
    if (!mounted) GTEST_SKIP() << mounted.error().ToString();
    session_ = std::move(*mounted);
    session_->set_on_unmounted([this] { shard_->Post([this] { shard_->Stop(); }); });
    poller_ = io::UringPoller::Create({.sqe128 = true}).value();
    shard_ = std::make_unique<async::Shard>(poller_.get(), &SystemClock(), 0);
    thread_ = std::thread([this] {
      ASSERT_TRUE(session_->AttachShard(shard_.get(), poller_.get()));
      shard_->Run();
    });
    if (session_->kernel_minor() < 44) GTEST_SKIP() << "nothing is kept in this kernel";
  }
  void TearDown() override {
    if (session_ != nullptr) {
      session_->Unmount();
      thread_.join();
      session_.reset();
    }
    rmdir(mountpoint_.c_str());
  }
  int Stat() {
    struct stat attr {};
    return stat((mountpoint_ + "/f").c_str(), &attr);
  }
  void Release() {
    shard_->Post([this] { AnswerParked(&fs_); });
  }
  // A caller that hangs in the kernel would keep this process from ending.
  void AwaitParked(int count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (fs_.parked_count < count) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < deadline) continue;
      ADD_FAILURE() << "the request did not come";
      session_->Abort();
      return;
    }
  }
  int Forget(fuse_ino_t node) {
    return fuse_lowlevel_notify_inval_inode(session_->notify_session(), node, -1, 0);
  }
  int Expire() {
    return fuse_lowlevel_notify_expire_entry(session_->notify_session(), FUSE_ROOT_ID, "f", 1,
                                             FUSE_LL_EXPIRE_ONLY);
  }
  ssize_t RaiseEpoch() {
    struct {
      uint32_t bytes = 16;
      int32_t code = 8;  // FUSE_NOTIFY_INC_EPOCH
      uint64_t unique = 0;
    } notice;
    return ::write(fuse_session_fd(session_->notify_session()), &notice, sizeof notice);
  }

  PinFs fs_;
  std::string mountpoint_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<io::UringPoller> poller_;
  std::unique_ptr<async::Shard> shard_;
  std::thread thread_;
};

TEST_P(KernelPinsTest, AnInodeThatIsNotKnownIsToldSo) {
  EXPECT_EQ(Forget(kFile), -ENOENT);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(Forget(kFile), 0);
}

TEST_P(KernelPinsTest, WhatIsKeptIsNotAskedForUntilItIsToBeForgotten) {
  ASSERT_EQ(Stat(), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 1);
  EXPECT_EQ(fs_.getattrs, 0);
  EXPECT_EQ(Forget(kFile), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 1);
  EXPECT_EQ(fs_.getattrs, 1);
  EXPECT_EQ(Expire(), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 2);
}

TEST_P(KernelPinsTest, AttributesOlderThanWhatItWasToldAreDropped) {
  fs_.keep_attr = false;
  ASSERT_EQ(Stat(), 0);
  fs_.park_getattr = true;
  std::thread reader([this] { EXPECT_EQ(Stat(), 0); });
  AwaitParked(1);
  EXPECT_EQ(Forget(kFile), 0);
  fs_.park_getattr = false;
  Release();  // says: for a long time
  reader.join();
  const int before = fs_.getattrs;
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.getattrs, before + 1) << "the late answer was kept";
}

TEST_P(KernelPinsTest, ANameWaitsForItsDirectorysLockAndTheEpochDoesNot) {
  ASSERT_EQ(Stat(), 0);
  std::thread maker([this] { mkdir((mountpoint_ + "/d").c_str(), 0755); });
  AwaitParked(1);
  std::atomic<bool> expired{false};
  std::thread teller([&] {
    (void)Expire();  // ENOENT when the epoch was faster
    expired = true;
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_FALSE(expired) << "hold the lock and be told at the same time: not on this kernel?";
  EXPECT_EQ(Forget(kFile), 0) << "attributes need no lock";
  EXPECT_GT(RaiseEpoch(), 0);
  std::atomic<bool> seen{false};
  std::thread reader([&] {
    EXPECT_EQ(Stat(), 0);
    seen = true;
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_FALSE(seen) << "the name is looked up again, behind the directory's lock";
  Release();
  maker.join();
  teller.join();
  reader.join();
  EXPECT_EQ(fs_.lookups, 2);
}

INSTANTIATE_TEST_SUITE_P(Transports, KernelPinsTest,
                         testing::Values(UringMode::kOff, UringMode::kOn),
                         [](const auto& info) {
                           return info.param == UringMode::kOn ? "Ring" : "Classic";
                         });

}  // namespace
}  // namespace sheen::fuse
