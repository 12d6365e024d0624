// A small filesystem over real mounts, with both transports. Skipped where mounting is not allowed;
// the io_uring half where the kernel does not offer it (the machine's switch is left alone).
#include "fuse/session.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "async/shard.h"
#include "base/log.h"
#include "fuse/shard_channel.h"
#include "io/uring.h"

namespace sheen::fuse {
namespace {

constexpr uint32_t kShards = 2;
constexpr const char* kContents = "what the file holds";

// Files: "hello", readable; "sizeless", whose attributes say 0 bytes; "wait", whose open is
// answered when "go" is opened, or with EINTR at an interrupt; "sink", which takes writes and whose
// attributes can be made to wait too.
enum FileId : fuse_ino_t { kHello = 2, kSizeless, kWait, kGo, kSink };

struct Waiter {
  fuse_req_t request;
  async::Shard* shard;
  bool is_getattr = false;
};

struct MiniFs {
  std::mutex mutex;  // guards waiters, written
  std::vector<Waiter> waiters;
  std::string written;
  std::atomic<uint32_t> waiting{0};
  std::atomic<bool> parks_getattr{false};  // of "sink"
  std::atomic<uint32_t> inits{0};
  std::atomic<uint32_t> destroys{0};
  std::atomic<bool> wrong_shard{false};
  std::atomic<bool> misplaced_reply_buffer{false};
};

MiniFs* Of(fuse_req_t request) { return static_cast<MiniFs*>(fuse_req_userdata(request)); }

struct stat AttrOf(fuse_ino_t id) {
  struct stat attr {};
  attr.st_ino = id;
  attr.st_nlink = 1;
  attr.st_mode = id == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
  if (id == kHello) attr.st_size = static_cast<off_t>(std::strlen(kContents));
  return attr;
}

void LookUp(fuse_req_t request, fuse_ino_t, const char* name) {
  fuse_entry_param entry{};
  const std::string_view text(name);
  if (text == "hello") entry.ino = kHello;
  if (text == "sizeless") entry.ino = kSizeless;
  if (text == "wait") entry.ino = kWait;
  if (text == "go") entry.ino = kGo;
  if (text == "sink") entry.ino = kSink;
  if (entry.ino == 0) {
    fuse_reply_err(request, ENOENT);
    return;
  }
  entry.attr = AttrOf(entry.ino);
  fuse_reply_entry(request, &entry);
}

void Park(fuse_req_t request, bool is_getattr) {
  MiniFs* fs = Of(request);
  {
    std::lock_guard lock(fs->mutex);
    fs->waiters.push_back({request, async::Shard::Current(), is_getattr});
  }
  fs->waiting.fetch_add(1);
}

void GetAttr(fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
  if (id == kSink && Of(request)->parks_getattr.load()) {
    Park(request, true);
    return;
  }
  const struct stat attr = AttrOf(id);
  fuse_reply_attr(request, &attr, 0);
}

void SetAttr(fuse_req_t request, fuse_ino_t id, struct stat*, int, fuse_file_info*) {
  GetAttr(request, id, nullptr);
}

// Takes the waiter out; empty when somebody else did.
std::optional<Waiter> TakeWaiter(MiniFs* fs, fuse_req_t request) {
  std::lock_guard lock(fs->mutex);
  for (size_t i = 0; i < fs->waiters.size(); ++i) {
    if (fs->waiters[i].request != request) continue;
    const Waiter found = fs->waiters[i];
    fs->waiters.erase(fs->waiters.begin() + static_cast<ptrdiff_t>(i));
    return found;
  }
  return std::nullopt;
}

void OnInterrupt(fuse_req_t request, void*) {
  MiniFs* fs = Of(request);
  const std::optional<Waiter> waiter = TakeWaiter(fs, request);
  if (!waiter) return;
  if (waiter->shard != async::Shard::Current()) fs->wrong_shard.store(true);
  fuse_reply_err(request, EINTR);
}

void AnswerWaiters(MiniFs* fs) {
  std::vector<Waiter> waiters;
  {
    std::lock_guard lock(fs->mutex);
    waiters.swap(fs->waiters);
  }
  for (const Waiter& waiter : waiters) {
    waiter.shard->Post([waiter] {
      const fuse_file_info file{};
      const struct stat attr = AttrOf(kSink);
      if (waiter.is_getattr) {
        fuse_reply_attr(waiter.request, &attr, 0);
      } else {
        fuse_reply_open(waiter.request, &file);
      }
    });
  }
}

void Open(fuse_req_t request, fuse_ino_t id, fuse_file_info* file) {
  MiniFs* fs = Of(request);
  if (id == kSizeless) AddOpenFlags(request, 1u << 0);  // FOPEN_DIRECT_IO
  if (id == kGo) AnswerWaiters(fs);
  if (id != kWait) {
    fuse_reply_open(request, file);
    return;
  }
  fuse_req_interrupt_func(request, &OnInterrupt, nullptr);
  Park(request, false);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info*) {
  const std::span<std::byte> out = ReplyBuffer(request);
  const bool aligned = reinterpret_cast<uintptr_t>(out.data()) % 4096 == 0;
  if (!aligned || out.size() < size) Of(request)->misplaced_reply_buffer.store(true);
  const std::string_view contents(kContents);
  const size_t from = std::min(contents.size(), static_cast<size_t>(offset));
  const std::string_view part = contents.substr(from, size);
  std::memcpy(out.data(), part.data(), part.size());
  fuse_reply_buf(request, reinterpret_cast<const char*>(out.data()), part.size());
}

void Write(fuse_req_t request, fuse_ino_t, const char* data, size_t size, off_t offset,
           fuse_file_info*) {
  MiniFs* fs = Of(request);
  // Answered in a later turn: the written bytes must still be there.
  async::Shard::Current()->Post([=] {
    {
      std::lock_guard lock(fs->mutex);
      fs->written.resize(std::max(fs->written.size(), static_cast<size_t>(offset) + size));
      fs->written.replace(static_cast<size_t>(offset), size, data, size);
    }
    fuse_reply_write(request, size);
  });
}

void Init(void* userdata, fuse_conn_info*) { static_cast<MiniFs*>(userdata)->inits.fetch_add(1); }
void Destroy(void* userdata) { static_cast<MiniFs*>(userdata)->destroys.fetch_add(1); }

fuse_lowlevel_ops MiniOps() {
  fuse_lowlevel_ops ops{};
  ops.init = &Init;
  ops.destroy = &Destroy;
  ops.lookup = &LookUp;
  ops.getattr = &GetAttr;
  ops.setattr = &SetAttr;
  ops.open = &Open;
  ops.read = &Read;
  ops.write = &Write;
  return ops;
}

void BindToCore(uint32_t core) {
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(core, &one);
  pthread_setaffinity_np(pthread_self(), sizeof one, &one);
}

// Mounted while it lives.
class SessionTest : public testing::TestWithParam<UringMode> {
 protected:
  void SetUp() override {
    char pattern[] = "/tmp/sheen_session_test.XXXXXX";
    ASSERT_NE(mkdtemp(pattern), nullptr);
    mountpoint_ = pattern;
    MountOptions options{.mountpoint = mountpoint_, .io_uring = GetParam(), .shard_count = kShards};
    options.entries_per_queue = 4;
    auto mounted = Session::Mount(options, MiniOps(), &fs_);
    if (!mounted) GTEST_SKIP() << mounted.error().ToString();
    session_ = std::move(*mounted);
    // What is still parked is answered late, to nobody; then the shards stop.
    session_->set_on_unmounted([this] {
      unmounted_.fetch_add(1);
      AnswerWaiters(&fs_);
      for (const auto& shard : shards_) shard->Post([raw = shard.get()] { raw->Stop(); });
    });
    session_->set_admission([this](uint32_t pid, uint32_t, uint32_t) {
      if (pid != stranger_.load()) return true;
      return asked_.fetch_add(1) >= refusals_.load();
    });
    for (uint32_t i = 0; i < kShards; ++i) {
      pollers_.push_back(io::UringPoller::Create({.sqe128 = true}).value());
      shards_.push_back(std::make_unique<async::Shard>(pollers_[i].get(), &SystemClock(), i));
    }
    for (uint32_t i = 0; i < kShards; ++i) {
      threads_.emplace_back([this, i] {
        BindToCore(i % static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN)));
        ASSERT_TRUE(session_->AttachShard(shards_[i].get(), pollers_[i].get()));
        shards_[i]->Run();
      });
    }
  }
  void TearDown() override {
    if (session_ != nullptr && unmounted_.load() == 0) session_->Unmount();
    for (std::thread& thread : threads_) thread.join();
    if (session_ != nullptr) {
      EXPECT_EQ(unmounted_.load(), 1u);
      EXPECT_EQ(fs_.inits.load(), 1u);
      session_.reset();
      EXPECT_EQ(fs_.destroys.load(), 1u);
    }
    EXPECT_FALSE(fs_.wrong_shard.load());
    EXPECT_FALSE(fs_.misplaced_reply_buffer.load());
    rmdir(mountpoint_.c_str());
  }
  std::string Path(const char* name) const { return mountpoint_ + "/" + name; }
  // Until `count` requests have been parked. Callers that hang in the kernel would keep this
  // process from ending, so a lost request ends the connection.
  void AwaitWaiting(uint32_t count) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (fs_.waiting.load() < count) {
      std::this_thread::yield();
      if (std::chrono::steady_clock::now() < deadline) continue;
      ADD_FAILURE() << fs_.waiting.load() << " of " << count << " requests arrived";
      session_->Abort();
      return;
    }
  }

  MiniFs fs_;
  std::string mountpoint_;
  std::unique_ptr<Session> session_;
  std::vector<std::unique_ptr<io::UringPoller>> pollers_;
  std::vector<std::unique_ptr<async::Shard>> shards_;
  std::vector<std::thread> threads_;
  std::atomic<uint32_t> unmounted_{0};
  std::atomic<uint32_t> stranger_{0};  // a thread that is not admitted when it is first asked for
  std::atomic<uint32_t> refusals_{0};
  std::atomic<uint32_t> asked_{0};
};

TEST_P(SessionTest, UsesTheTransportThatWasAskedFor) {
  const bool ring = GetParam() == UringMode::kOn;
  EXPECT_EQ(session_->transport(), ring ? Transport::kUring : Transport::kClassic);
  EXPECT_EQ(session_->fallback_reason().empty(), ring);
  struct stat root {};
  ASSERT_EQ(stat(mountpoint_.c_str(), &root), 0);
  EXPECT_EQ(session_->device(), root.st_dev);
}

TEST_P(SessionTest, ReadGivesTheBytesOfTheReplyBuffer) {
  const int fd = open(Path("hello").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  char text[100] = {};
  EXPECT_EQ(read(fd, text, sizeof text), static_cast<ssize_t>(std::strlen(kContents)));
  EXPECT_STREQ(text, kContents);
  close(fd);
}

// A thread whose stat() is asked for; gives how long that took.
std::chrono::nanoseconds StatAs(const std::string& path, std::atomic<uint32_t>* thread_id) {
  std::chrono::nanoseconds took{0};
  std::thread([&] {
    BindToCore(0);
    thread_id->store(static_cast<uint32_t>(gettid()));
    const auto begun = std::chrono::steady_clock::now();
    struct stat attr {};
    EXPECT_EQ(stat(path.c_str(), &attr), 0);
    took = std::chrono::steady_clock::now() - begun;
  }).join();
  return took;
}

TEST_P(SessionTest, AStrangersRequestWaitsAWhileAndTheShardDoesNot) {
  refusals_.store(UINT32_MAX);
  EXPECT_GE(StatAs(Path("hello"), &stranger_), kAdmissionWait) << "nobody knows it";
  // Looked at again in a later turn; a machine that is busy may be late for that.
  bool again = false;
  for (int attempt = 0; attempt < 100 && !again; ++attempt) {
    asked_.store(0);
    refusals_.store(1);
    static_cast<void>(StatAs(Path("hello"), &stranger_));
    again = asked_.load() >= 2;
  }
  EXPECT_TRUE(again);
}

TEST_P(SessionTest, AddedOpenFlagsReachTheKernel) {
  // Of a file of 0 bytes read(2) asks the daemon only when it is open with FOPEN_DIRECT_IO.
  const int fd = open(Path("sizeless").c_str(), O_RDONLY);
  ASSERT_GE(fd, 0);
  char text[100] = {};
  EXPECT_EQ(read(fd, text, sizeof text), static_cast<ssize_t>(std::strlen(kContents)));
  close(fd);
}

TEST_P(SessionTest, WrittenBytesStayUntilTheReply) {
  std::string data;
  for (size_t i = 0; data.size() < 3 << 20; ++i) data += std::to_string(i) + " ";
  const int fd = open(Path("sink").c_str(), O_WRONLY);
  ASSERT_GE(fd, 0);
  // Of all sizes between a few bytes and more than one request takes.
  size_t offset = 0;
  for (size_t size = 7; offset < data.size(); size = size * 3 + 1) {
    const size_t part = std::min(size, data.size() - offset);
    ASSERT_EQ(pwrite(fd, data.data() + offset, part, static_cast<off_t>(offset)),
              static_cast<ssize_t>(part));
    offset += part;
  }
  close(fd);
  std::lock_guard lock(fs_.mutex);
  EXPECT_TRUE(fs_.written == data);
}

TEST_P(SessionTest, ParkedRequestsOfACoreKeepNobodyOut) {
  constexpr uint32_t kParked = 1000;
  std::vector<std::thread> callers;
  std::atomic<uint32_t> opened{0};
  for (uint32_t i = 0; i < kParked; ++i) {
    callers.emplace_back([this, &opened] {
      BindToCore(0);
      const int fd = open(Path("wait").c_str(), O_RDONLY);
      if (fd >= 0) opened.fetch_add(1);
      close(fd);
    });
  }
  AwaitWaiting(kParked);
  std::thread releaser([this] {
    BindToCore(0);
    const int fd = open(Path("go").c_str(), O_RDONLY);
    EXPECT_GE(fd, 0);
    close(fd);
  });
  releaser.join();
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(opened.load(), kParked);
}

// State letter of a thread of this process: 'S' or 'D' when it waits in the kernel.
char StateOf(pid_t tid) {
  std::ifstream file("/proc/self/task/" + std::to_string(tid) + "/stat");
  std::string text;
  std::getline(file, text);
  const size_t name_end = text.rfind(')');
  return name_end == std::string::npos || name_end + 2 >= text.size() ? '?' : text[name_end + 2];
}

TEST_P(SessionTest, RequestsThatFoundNoRingEntryAreFetchedThoughAllOthersStayParked) {
  constexpr uint32_t kCallers = 40;  // ten times the entries of a queue
  std::vector<int> files;
  for (uint32_t i = 0; i < kCallers; ++i) {
    files.push_back(open(Path("sink").c_str(), O_RDONLY));
    ASSERT_GE(files.back(), 0);
  }
  fs_.parks_getattr.store(true);
  std::vector<std::atomic<pid_t>> tids(kCallers);
  std::atomic<bool> hogged{false};
  std::atomic<bool> looked{false};
  // Shard 0 looks away until all callers wait in the kernel.
  shards_[0]->Post([&] {
    hogged.store(true);
    for (const auto& tid : tids) {
      for (char state = '?'; state != 'S' && state != 'D';) {
        std::this_thread::yield();
        if (tid.load() != 0) state = StateOf(tid.load());
      }
    }
    looked.store(true);
  });
  while (!hogged.load()) std::this_thread::yield();
  std::vector<std::thread> callers;
  for (uint32_t i = 0; i < kCallers; ++i) {
    callers.emplace_back([&, i] {
      BindToCore(0);
      tids[i].store(gettid());
      struct stat attr {};
      EXPECT_EQ(fstat(files[i], &attr), 0);
    });
  }
  // Not to be released before shard 0 has seen every one of them wait.
  while (!looked.load()) std::this_thread::yield();
  AwaitWaiting(kCallers);
  fs_.parks_getattr.store(false);
  AnswerWaiters(&fs_);
  for (std::thread& caller : callers) caller.join();
  for (const int file : files) close(file);
}

TEST_P(SessionTest, InterruptRunsOnTheShardOfItsRequest) {
  struct sigaction action {};
  action.sa_handler = [](int) {};
  ASSERT_EQ(sigaction(SIGUSR1, &action, nullptr), 0);
  const auto cores = static_cast<uint32_t>(sysconf(_SC_NPROCESSORS_ONLN));
  for (uint32_t i = 0; i < 20; ++i) {
    std::atomic<int> result{0};
    std::thread caller([&] {
      BindToCore(i % cores);
      const int fd = open(Path("wait").c_str(), O_RDONLY);
      result.store(fd >= 0 ? 0 : errno);
      if (fd >= 0) close(fd);
    });
    AwaitWaiting(i + 1);
    pthread_kill(caller.native_handle(), SIGUSR1);
    caller.join();
    EXPECT_EQ(result.load(), EINTR);
  }
}

TEST_P(SessionTest, OperationsUnknownToLibfuseAreNotSupported) {
  EXPECT_LT(open(mountpoint_.c_str(), O_TMPFILE | O_RDWR, 0600), 0);
  EXPECT_EQ(errno, EOPNOTSUPP);
}

TEST_P(SessionTest, UmountFromOutsideEndsTheSession) {
  ASSERT_EQ(umount2(mountpoint_.c_str(), UMOUNT_NOFOLLOW), 0);
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  EXPECT_EQ(unmounted_.load(), 1u);
}

TEST_P(SessionTest, AbortFreesCallersWhoseRequestsAreParked) {
  std::atomic<int> result{0};
  std::thread caller([&] {
    const int fd = open(Path("wait").c_str(), O_RDONLY);
    result.store(fd >= 0 ? 0 : errno);
  });
  AwaitWaiting(1);
  session_->Abort();
  caller.join();
  EXPECT_TRUE(result.load() == ENOTCONN || result.load() == ECONNABORTED) << result.load();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  EXPECT_EQ(unmounted_.load(), 1u);
}

INSTANTIATE_TEST_SUITE_P(Transports, SessionTest, testing::Values(UringMode::kOff, UringMode::kOn),
                         [](const auto& param) {
                           return param.param == UringMode::kOn ? "io_uring" : "classic";
                         });

TEST(SessionOptions, MaxWriteOutOfRangeIsRefused) {
  for (const uint32_t bytes : {0u, 4096u, 10'000u, 2u << 20}) {
    const MountOptions options{.mountpoint = "/nowhere", .max_write = bytes};
    EXPECT_EQ(Session::Mount(options, MiniOps(), nullptr).error().code(), Errc::kInvalid);
  }
}

TEST(SessionOptions, MissingMountPointIsNamed) {
  const MountOptions options{.mountpoint = "/sheen/is/not/here"};
  const auto mounted = Session::Mount(options, MiniOps(), nullptr);
  ASSERT_FALSE(mounted);
  EXPECT_NE(mounted.error().message().find("/sheen/is/not/here"), std::string::npos);
}

TEST(SessionOptions, UringModeIsParsed) {
  EXPECT_EQ(ParseUringMode("auto").value(), UringMode::kAuto);
  EXPECT_EQ(ParseUringMode("on").value(), UringMode::kOn);
  EXPECT_EQ(ParseUringMode("off").value(), UringMode::kOff);
  EXPECT_EQ(ParseUringMode("yes").error().code(), Errc::kInvalid);
}

}  // namespace
}  // namespace sheen::fuse
