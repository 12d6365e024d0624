// Processes that are killed while they wait for an answer, over real mounts with both transports.
// Skipped where mounting is not allowed, and the io_uring half where the kernel does not offer it.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
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

constexpr fuse_ino_t kFile = 2;
constexpr fuse_ino_t kOther = 3;
constexpr size_t kBytes = 64 << 10;

struct Parked {
  fuse_req_t request;
  std::span<std::byte> bytes;
  bool is_read = false;
};

// Two files. Reads and writes of "file" wait until Answer(); those of "other" do not.
struct ParkingFs {
  std::mutex mutex;  // guards the rest
  std::vector<Parked> parked;
  std::string content = std::string(kBytes, 'o');
  std::vector<std::string> events;
  bool parks = true;
  std::vector<int> answers;  // what replies gave

  size_t Count() {
    const std::scoped_lock lock(mutex);
    return parked.size();
  }
  void Note(std::string event) {
    const std::scoped_lock lock(mutex);
    events.push_back(std::move(event));
  }
  // On the shard: all that waits is done, and nothing waits any more.
  void Answer() {
    std::vector<Parked> all;
    {
      const std::scoped_lock lock(mutex);
      parks = false;
      all.swap(parked);
    }
    for (const Parked& one : all) Finish(one);
  }
  void Finish(const Parked& one) {
    int answer = 0;
    if (one.is_read) {
      // As a transfer that comes late.
      std::fill(one.bytes.begin(), one.bytes.end(), std::byte{'r'});
      answer = fuse_reply_buf(one.request, reinterpret_cast<const char*>(one.bytes.data()),
                              one.bytes.size());
    } else {
      {
        const std::scoped_lock lock(mutex);
        content.assign(reinterpret_cast<const char*>(one.bytes.data()), one.bytes.size());
        events.push_back(std::string("write ") + content[0]);
      }
      answer = fuse_reply_write(one.request, one.bytes.size());
    }
    const std::scoped_lock lock(mutex);
    answers.push_back(answer);
  }
  void Take(const Parked& one) {
    {
      const std::scoped_lock lock(mutex);
      if (parks) {
        parked.push_back(one);
        return;
      }
    }
    Finish(one);
  }
};

ParkingFs* Of(fuse_req_t request) {
  return static_cast<ParkingFs*>(fuse_req_userdata(request));
}

struct stat AttrOf(fuse_ino_t node) {
  struct stat attr {};
  attr.st_ino = node;
  attr.st_nlink = 1;
  attr.st_mode = node == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
  attr.st_size = kBytes;
  return attr;
}

fuse_lowlevel_ops ParkingOps() {
  fuse_lowlevel_ops ops{};
  ops.lookup = [](fuse_req_t request, fuse_ino_t, const char* name) {
    fuse_entry_param entry{};
    entry.ino = std::string_view(name) == "file" ? kFile : kOther;
    entry.attr = AttrOf(entry.ino);
    fuse_reply_entry(request, &entry);
  };
  ops.getattr = [](fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    const struct stat attr = AttrOf(node);
    fuse_reply_attr(request, &attr, 0);
  };
  ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
    file->direct_io = 1;
    fuse_reply_open(request, file);
  };
  ops.release = [](fuse_req_t request, fuse_ino_t node, fuse_file_info*) {
    if (node == kFile) Of(request)->Note("release");
    fuse_reply_err(request, 0);
  };
  ops.read = [](fuse_req_t request, fuse_ino_t node, size_t size, off_t, fuse_file_info*) {
    const Parked one{request, ReplyBuffer(request).first(size), true};
    if (node == kFile) return Of(request)->Take(one);
    std::fill(one.bytes.begin(), one.bytes.end(), std::byte{'x'});
    fuse_reply_buf(request, reinterpret_cast<const char*>(one.bytes.data()), size);
  };
  ops.write = [](fuse_req_t request, fuse_ino_t node, const char* data, size_t size, off_t,
                 fuse_file_info*) {
    auto* bytes = reinterpret_cast<std::byte*>(const_cast<char*>(data));
    if (node == kFile) return Of(request)->Take({request, {bytes, size}, false});
    fuse_reply_write(request, size);
  };
  return ops;
}

class KilledCaller : public testing::TestWithParam<UringMode> {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen_killed_test.XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    mountpoint_ = pattern;
    MountOptions options{.mountpoint = mountpoint_, .io_uring = GetParam()};
    options.entries_per_queue = 2;
    auto mounted = Session::Mount(options, ParkingOps(), &fs_);
    if (!mounted) GTEST_SKIP() << mounted.error().ToString();
    session_ = std::move(*mounted);
    session_->set_on_unmounted([this] {
      fs_.Answer();
      shard_->Post([this] { shard_->Stop(); });
    });
    session_->set_on_late_change([this](fuse_ino_t node, const std::string&) {
      fs_.Note("late " + std::to_string(node));
    });
    poller_ = io::UringPoller::Create({.sqe128 = true}).value();
    shard_ = std::make_unique<async::Shard>(poller_.get(), &SystemClock(), 0);
    thread_ = std::thread([this] {
      ASSERT_TRUE(session_->AttachShard(shard_.get(), poller_.get()));
      shard_->Run();
    });
  }
  void TearDown() override {
    if (session_ != nullptr) session_->Unmount();
    if (thread_.joinable()) thread_.join();
    session_.reset();
    rmdir(mountpoint_.c_str());
  }
  std::string Path(const char* name) const { return mountpoint_ + "/" + name; }

  // A process that reads or writes all of "file", once that has arrived.
  pid_t StartCaller(char fill) {
    const size_t before = fs_.Count();
    const std::string path = Path("file");
    static char bytes[kBytes];
    std::fill(bytes, bytes + kBytes, fill);
    const pid_t child = ::fork();
    if (child == 0) {
      const int fd = ::open(path.c_str(), O_RDWR);
      const ssize_t done = fill == 'r' ? ::pread(fd, bytes, kBytes, 0)
                                       : ::pwrite(fd, bytes, kBytes, 0);
      ::_exit(done == static_cast<ssize_t>(kBytes) ? 0 : 1);
    }
    Await([&] { return fs_.Count() > before; });
    return child;
  }
  template <typename Condition>
  void Await(Condition condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < deadline) continue;
      ADD_FAILURE() << "not within 20 s";
      session_->Abort();
      return;
    }
  }
  void Kill(pid_t child) {
    ::kill(child, SIGKILL);
    int status = 0;
    Await([&] { return ::waitpid(child, &status, WNOHANG) == child; });
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  }
  // Uses all entries of this mount.
  void UseOthers() {
    const int fd = ::open(Path("other").c_str(), O_RDWR);
    std::string bytes(kBytes, 'y');
    for (int i = 0; i < 20; ++i) {
      EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kBytes));
      EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kBytes));
      EXPECT_EQ(bytes, std::string(kBytes, 'x'));
    }
    ::close(fd);
  }
  void AnswerAll() {
    std::atomic<bool> done{false};
    shard_->Post([&] {
      fs_.Answer();
      done.store(true);
    });
    Await([&] { return done.load(); });
  }

  ParkingFs fs_;
  std::string mountpoint_;
  std::unique_ptr<Session> session_;
  std::unique_ptr<io::UringPoller> poller_;
  std::unique_ptr<async::Shard> shard_;
  std::thread thread_;
};

TEST_P(KilledCaller, EndsThoughNobodyAnswersAndItsBytesStay) {
  const pid_t child = StartCaller('a');
  Kill(child);
  EXPECT_EQ(session_->stats().abandoned, 1u);
  UseOthers();
  AnswerAll();
  Await([&] {
    const std::scoped_lock lock(fs_.mutex);
    return fs_.events.size() == 3;
  });
  const std::scoped_lock lock(fs_.mutex);
  EXPECT_TRUE(fs_.content == std::string(kBytes, 'a'));
  EXPECT_EQ(fs_.answers, std::vector<int>{-ENOENT});
  // The handle is closed after its last use; the kernel is told what it does not know.
  EXPECT_EQ(fs_.events, (std::vector<std::string>{"write a", "late 2", "release"}));
}

TEST_P(KilledCaller, WhatIsReadForItLateHarmsNobody) {
  Kill(StartCaller('r'));
  const int fd = ::open(Path("other").c_str(), O_RDWR);
  std::atomic<bool> stop{false};
  std::thread reader([&] {
    std::string bytes(kBytes, ' ');
    while (!stop.load()) {
      EXPECT_EQ(::pread(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kBytes));
      EXPECT_EQ(bytes, std::string(kBytes, 'x'));
    }
  });
  AnswerAll();
  UseOthers();
  stop.store(true);
  reader.join();
  ::close(fd);
  const std::scoped_lock lock(fs_.mutex);
  EXPECT_EQ(fs_.answers, std::vector<int>{-ENOENT});
}

TEST_P(KilledCaller, NoLaterWriteOvertakesItsOwn) {
  Kill(StartCaller('a'));
  const int fd = ::open(Path("file").c_str(), O_RDWR);
  std::atomic<bool> written{false};
  std::thread writer([&] {
    const std::string bytes(kBytes, 'b');
    EXPECT_EQ(::pwrite(fd, bytes.data(), bytes.size(), 0), static_cast<ssize_t>(kBytes));
    written.store(true);
  });
  UseOthers();
  EXPECT_EQ(fs_.Count(), 1u);
  EXPECT_FALSE(written.load());
  AnswerAll();
  writer.join();
  ::close(fd);
  const std::scoped_lock lock(fs_.mutex);
  EXPECT_TRUE(fs_.content == std::string(kBytes, 'b'));
  ASSERT_GE(fs_.events.size(), 3u);
  EXPECT_EQ(fs_.events[0], "write a");
}

TEST_P(KilledCaller, AnotherSignalInterruptsNothing) {
  const pid_t child = StartCaller('a');
  // Stopped and continued: the kernel sends the one INTERRUPT for that.
  ::kill(child, SIGSTOP);
  ::kill(child, SIGCONT);
  std::atomic<bool> looked_at{false};  // several times
  shard_->Post([&] {
    shard_->AddTimer(shard_->Now() + std::chrono::milliseconds(400), [&] { looked_at = true; });
  });
  Await([&] { return looked_at.load(); });
  EXPECT_EQ(session_->stats().abandoned, 0u);
  Kill(child);  // long after the INTERRUPT
  EXPECT_EQ(session_->stats().abandoned, 1u);
  AnswerAll();
}

INSTANTIATE_TEST_SUITE_P(Transports, KilledCaller,
                         testing::Values(UringMode::kOff, UringMode::kOn), [](const auto& param) {
                           return param.param == UringMode::kOn ? "io_uring" : "classic";
                         });

}  // namespace
}  // namespace sheen::fuse
