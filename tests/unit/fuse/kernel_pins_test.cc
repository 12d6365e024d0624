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

#include "unit/fuse/pin_mount.h"

namespace sheen::fuse {
namespace {

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
    const struct stat attr = AttrOf(kPinnedFile);
    if (is_getattr) {
      fuse_reply_attr(request, &attr, kPinnedSeconds);
    } else {
      fuse_reply_err(request, EACCES);
    }
  }
  fs->parked.clear();
}

fuse_lowlevel_ops PinOps() {
  fuse_lowlevel_ops ops{};
  ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
    if (std::string_view(name) == "parked") {
      Park(request, false);
      return;
    }
    if (std::string_view(name) != "f") {
      fuse_reply_err(request, ENOENT);
      return;
    }
    ++Of(request)->lookups;
    fuse_entry_param entry{};
    entry.ino = kPinnedFile;
    entry.attr = AttrOf(kPinnedFile);
    entry.entry_timeout = kPinnedSeconds;
    entry.attr_timeout = Of(request)->keep_attr ? kPinnedSeconds : 0;
    fuse_reply_entry(request, &entry);
  };
  ops.getattr = [](fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
    if (id == kPinnedFile) ++Of(request)->getattrs;
    if (id == kPinnedFile && Of(request)->park_getattr) {
      Park(request, true);
      return;
    }
    const struct stat attr = AttrOf(id);
    const bool keep = id == kPinnedFile && Of(request)->keep_attr;
    fuse_reply_attr(request, &attr, keep ? kPinnedSeconds : 0);
  };
  ops.mkdir = [](fuse_req_t request, fuse_ino_t, const char*, mode_t) { Park(request, false); };
  return ops;
}

class KernelPinsTest : public PinMountTest {
 protected:
  void SetUp() override { Mount(PinOps(), &fs_); }
  int Stat(const char* name = "f") {
    struct stat attr {};
    return stat(Path(name).c_str(), &attr);
  }
  void Release() {
    OnShard([this] { AnswerParked(&fs_); });
  }
  void AwaitParked(int count) {
    Await([&] { return fs_.parked_count >= count; }, "the request did not come");
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
};

TEST_P(KernelPinsTest, AnInodeThatIsNotKnownIsToldSo) {
  EXPECT_EQ(Forget(kPinnedFile), -ENOENT);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(Forget(kPinnedFile), 0);
}

TEST_P(KernelPinsTest, WhatIsKeptIsNotAskedForUntilItIsToBeForgotten) {
  ASSERT_EQ(Stat(), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 1);
  EXPECT_EQ(fs_.getattrs, 0);
  EXPECT_EQ(Forget(kPinnedFile), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 1);
  EXPECT_EQ(fs_.getattrs, 1);
  EXPECT_EQ(Expire("f"), 0);
  ASSERT_EQ(Stat(), 0);
  EXPECT_EQ(fs_.lookups, 2);
}

TEST_P(KernelPinsTest, AttributesOlderThanWhatItWasToldAreDropped) {
  fs_.keep_attr = false;
  ASSERT_EQ(Stat(), 0);
  fs_.park_getattr = true;
  std::thread reader([this] { EXPECT_EQ(Stat(), 0); });
  AwaitParked(1);
  EXPECT_EQ(Forget(kPinnedFile), 0);
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
    (void)Expire("f");  // ENOENT when the epoch was faster
    expired = true;
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_FALSE(expired) << "hold the lock and be told at the same time: not on this kernel?";
  EXPECT_EQ(Forget(kPinnedFile), 0) << "attributes need no lock";
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

TEST_P(KernelPinsTest, ANameWaitsForALookupInItsDirectory) {
  ASSERT_EQ(Stat(), 0);
  std::thread seeker([this] { EXPECT_NE(Stat("parked"), 0); });
  AwaitParked(1);
  std::atomic<bool> expired{false};
  std::thread teller([&] {
    EXPECT_EQ(Expire("f"), 0);
    expired = true;
  });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_FALSE(expired);
  Release();
  seeker.join();
  teller.join();
}

INSTANTIATE_TEST_SUITE_P(Transports, KernelPinsTest,
                         testing::Values(UringMode::kOff, UringMode::kOn), TransportName);

}  // namespace
}  // namespace sheen::fuse
