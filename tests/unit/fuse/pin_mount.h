// A mount of one shard for the tests that pin what the kernel does, with either transport. Skipped
// where mounting is not allowed, or the kernel keeps nothing that it could be told to forget.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "async/shard.h"
#include "fuse/session.h"
#include "io/uring.h"

namespace sheen::fuse {

inline constexpr fuse_ino_t kPinnedFile = 2;    // "f", a file; kept for as long as the kernel likes
inline constexpr double kPinnedSeconds = 1000;  // timeout of what is to be kept
inline constexpr auto kAWhile = std::chrono::milliseconds(150);

class PinMountTest : public testing::TestWithParam<UringMode> {
 protected:
  void Mount(const fuse_lowlevel_ops& ops, void* userdata) {
    char pattern[] = "/tmp/sheen_kernel_pins.XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    mountpoint_ = pattern;
    const MountOptions options{
        .mountpoint = mountpoint_, .read_ahead_kb = 256, .io_uring = GetParam()};
    auto mounted = Session::Mount(options, ops, userdata);
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
  std::string Path(const std::string& name) const { return mountpoint_ + "/" + name; }
  void OnShard(std::function<void()> action) { shard_->Post(std::move(action)); }
  // A caller that hangs in the kernel would keep this process from ending.
  void Await(const std::function<bool()>& done, const char* what) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!done()) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < deadline) continue;
      ADD_FAILURE() << what;
      session_->Abort();
      return;
    }
  }
  // Of attributes, and of pages unless `offset` is negative; `length` 0: to the end.
  int Forget(fuse_ino_t node, off_t offset = -1, off_t length = 0) {
    return fuse_lowlevel_notify_inval_inode(session_->notify_session(), node, offset, length);
  }
  int Expire(const std::string& name) {
    return fuse_lowlevel_notify_expire_entry(session_->notify_session(), FUSE_ROOT_ID, name.c_str(),
                                             name.size(), FUSE_LL_EXPIRE_ONLY);
  }

  std::string mountpoint_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<io::UringPoller> poller_;
  std::unique_ptr<async::Shard> shard_;
  std::thread thread_;
};

inline std::string TransportName(const testing::TestParamInfo<UringMode>& info) {
  return info.param == UringMode::kOn ? "Ring" : "Classic";
}

}  // namespace sheen::fuse
