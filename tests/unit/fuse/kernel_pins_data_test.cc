// What the client relies on in the kernel where bytes are concerned, each tried by itself on a real
// mount: pages being read or written when they are to be forgotten, read-ahead that fails, how
// writes come. A kernel that behaves otherwise fails here first.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "unit/fuse/pin_mount.h"

namespace sheen::fuse {
namespace {

constexpr off_t kPage = 4096;
constexpr off_t kFileBytes = 8 << 20;
constexpr off_t kFewBytes = 1 << 20;

// A READ or WRITE as it came.
struct Seen {
  size_t size = 0;
  off_t offset = 0;
  int flags = 0;
};

struct DataFs {
  std::atomic<char> fill{'1'};  // what READs give, decided when they come
  std::atomic<size_t> fails_above{SIZE_MAX};  // READs of more bytes fail
  std::atomic<int> failed{0};
  std::atomic<bool> direct{false};  // of what is opened from now on
  std::atomic<bool> parks_reads{false};
  std::atomic<bool> parks_writes{false};
  std::atomic<bool> parks_getattrs{false};
  std::atomic<off_t> size{kFileBytes};  // what GETATTRs say, decided when they come
  std::atomic<double> keeps{kPinnedSeconds};  // attributes
  std::atomic<int> fsyncs{0};
  std::atomic<int> parked_count{0};
  std::mutex mutex;  // guards the rest
  std::vector<std::function<void()>> parked;
  std::vector<Seen> reads;
  std::vector<Seen> writes;
};

DataFs* Of(fuse_req_t request) { return static_cast<DataFs*>(fuse_req_userdata(request)); }

struct stat AttrOf(fuse_ino_t id) {
  struct stat attr {};
  attr.st_ino = id;
  attr.st_nlink = 1;
  attr.st_mode = id == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
  if (id == kPinnedFile) attr.st_size = kFileBytes;
  return attr;
}

void AnswerOrPark(DataFs* fs, bool parks, std::function<void()> answer) {
  if (!parks) {
    answer();
    return;
  }
  const std::scoped_lock lock(fs->mutex);
  fs->parked.push_back(std::move(answer));
  ++fs->parked_count;
}

void LookUp(fuse_req_t request, fuse_ino_t, const char* name) {
  if (std::string_view(name) != "f") {
    fuse_reply_err(request, ENOENT);
    return;
  }
  fuse_entry_param entry{};
  entry.ino = kPinnedFile;
  entry.attr = AttrOf(kPinnedFile);
  entry.attr.st_size = Of(request)->size;
  entry.entry_timeout = kPinnedSeconds;
  entry.attr_timeout = Of(request)->keeps;
  fuse_reply_entry(request, &entry);
}

void Read(fuse_req_t request, fuse_ino_t, size_t size, off_t offset, fuse_file_info* file) {
  DataFs* fs = Of(request);
  {
    const std::scoped_lock lock(fs->mutex);
    fs->reads.push_back({size, offset, file->flags});
  }
  const char fill = fs->fill;
  const bool fails = size > fs->fails_above;
  if (fails) ++fs->failed;
  AnswerOrPark(fs, fs->parks_reads, [=] {
    if (fails) {
      fuse_reply_err(request, EIO);
      return;
    }
    const off_t there = kFileBytes - std::min(kFileBytes, offset);
    const std::string bytes(std::min(size, static_cast<size_t>(there)), fill);
    fuse_reply_buf(request, bytes.data(), bytes.size());
  });
}

void Write(fuse_req_t request, fuse_ino_t, const char*, size_t size, off_t offset,
           fuse_file_info* file) {
  DataFs* fs = Of(request);
  {
    const std::scoped_lock lock(fs->mutex);
    fs->writes.push_back({size, offset, file->flags});
  }
  AnswerOrPark(fs, fs->parks_writes, [=] { fuse_reply_write(request, size); });
}

fuse_lowlevel_ops DataOps() {
  fuse_lowlevel_ops ops{};
  ops.lookup = &LookUp;
  ops.getattr = [](fuse_req_t request, fuse_ino_t id, fuse_file_info*) {
    DataFs* fs = Of(request);
    struct stat attr = AttrOf(id);
    if (id == kPinnedFile) attr.st_size = fs->size;
    AnswerOrPark(fs, id == kPinnedFile && fs->parks_getattrs,
                 [=] { fuse_reply_attr(request, &attr, fs->keeps); });
  };
  ops.open = [](fuse_req_t request, fuse_ino_t, fuse_file_info* file) {
    file->direct_io = Of(request)->direct ? 1 : 0;
    fuse_reply_open(request, file);
  };
  ops.read = &Read;
  ops.write = &Write;
  ops.fsync = [](fuse_req_t request, fuse_ino_t, int, fuse_file_info*) {
    ++Of(request)->fsyncs;
    fuse_reply_err(request, 0);
  };
  return ops;
}

// Something done by a thread of its own, since it may have to wait.
class Meanwhile final {
 public:
  explicit Meanwhile(std::function<void()> action)
      : thread_([this, action = std::move(action)] {
          action();
          done_ = true;
        }) {}
  ~Meanwhile() { thread_.join(); }
  Meanwhile(const Meanwhile&) = delete;
  Meanwhile& operator=(const Meanwhile&) = delete;
  bool done() const { return done_; }

 private:
  std::atomic<bool> done_{false};
  std::thread thread_;
};

class KernelPinsDataTest : public PinMountTest {
 protected:
  void SetUp() override {
    Mount(DataOps(), &fs_);
    if (!IsSkipped() && !HasFatalFailure()) Open(O_RDWR);
  }
  void TearDown() override {
    if (fd_ >= 0) close(fd_);
    PinMountTest::TearDown();
  }
  void Open(int flags) {
    if (fd_ >= 0) close(fd_);
    fd_ = open(Path("f").c_str(), flags | O_CLOEXEC);
    ASSERT_GE(fd_, 0);
  }
  // One READ a page.
  void WithoutReadAhead() { ASSERT_EQ(posix_fadvise(fd_, 0, 0, POSIX_FADV_RANDOM), 0); }
  // The byte at `offset`, when all of its page is the same; 0 after an error.
  char ByteOf(off_t offset) const {
    std::string page(kPage, '\0');
    if (pread(fd_, page.data(), kPage, offset) != kPage) return 0;
    return page == std::string(kPage, page[0]) ? page[0] : '?';
  }
  void AwaitParked(int count) {
    Await([&] { return fs_.parked_count >= count; }, "the request did not come");
  }
  void AwaitDone(const Meanwhile& action, const char* what) {
    Await([&] { return action.done(); }, what);
  }
  void Release() {
    fs_.parks_reads = fs_.parks_writes = fs_.parks_getattrs = false;
    OnShard([this] {
      std::vector<std::function<void()>> parked;
      {
        const std::scoped_lock lock(fs_.mutex);
        parked.swap(fs_.parked);
      }
      for (const auto& answer : parked) answer();
    });
  }
  void ReleaseOne() {
    OnShard([this] {
      std::function<void()> answer;
      {
        const std::scoped_lock lock(fs_.mutex);
        answer = std::move(fs_.parked.front());
        fs_.parked.erase(fs_.parked.begin());
      }
      answer();
    });
  }
  std::vector<Seen> Take(std::vector<Seen> DataFs::*what) {
    const std::scoped_lock lock(fs_.mutex);
    return std::exchange(fs_.*what, {});
  }

  DataFs fs_;
  int fd_ = -1;
};

TEST_P(KernelPinsDataTest, ForgettingPagesWaitsForTheReadThatFillsThem) {
  WithoutReadAhead();
  fs_.parks_reads = true;
  char got = 0;
  {
    const Meanwhile reader([&] { got = ByteOf(0); });
    AwaitParked(1);
    fs_.fill = '2';
    const Meanwhile teller([&] { EXPECT_EQ(Forget(kPinnedFile, 0, kPage), 0); });
    std::this_thread::sleep_for(kAWhile);
    EXPECT_FALSE(teller.done());
    EXPECT_FALSE(reader.done());
    Release();
    AwaitDone(reader, "the reader hangs");
    AwaitDone(teller, "the notice hangs");
  }
  // Perhaps it asked again: what was forgotten under it is no error.
  const size_t asked = Take(&DataFs::reads).size();
  EXPECT_EQ(got, asked == 1 ? '1' : '2') << asked;
  RecordProperty("reads_of_a_page_forgotten_meanwhile", static_cast<int>(asked));
  EXPECT_EQ(ByteOf(0), '2') << "what was in flight is kept";
}

TEST_P(KernelPinsDataTest, OtherPagesAndAttributesAreForgottenDuringARead) {
  WithoutReadAhead();
  ASSERT_EQ(ByteOf(64 * kPage), '1');
  fs_.parks_reads = true;
  const Meanwhile reader([&] { EXPECT_EQ(ByteOf(0), '1'); });
  AwaitParked(1);
  const Meanwhile teller([&] {
    EXPECT_EQ(Forget(kPinnedFile), 0);
    EXPECT_EQ(Forget(kPinnedFile, kPage, 0), 0);
  });
  AwaitDone(teller, "it waits for a page that is not concerned");
  EXPECT_FALSE(reader.done());
  fs_.fill = '2';
  Release();
  AwaitDone(reader, "the reader hangs");
  EXPECT_EQ(ByteOf(64 * kPage), '2');
  EXPECT_EQ(ByteOf(0), '1') << "what was read in the meantime was not to be forgotten";
}

TEST_P(KernelPinsDataTest, ForgettingPagesWaitsForTheLastPartOfAWriteAlone) {
  fs_.parks_writes = true;
  const std::string page(kPage, 'w');
  {
    const Meanwhile writer([&] { EXPECT_EQ(pwrite(fd_, page.data(), kPage, 0), kPage); });
    AwaitParked(1);
    const Meanwhile teller([&] { EXPECT_EQ(Forget(kPinnedFile, 0, kPage), 0); });
    AwaitDone(teller, "a page that was written whole is locked");
    EXPECT_FALSE(writer.done());
    Release();
  }
  fs_.parks_writes = true;
  const Meanwhile writer([&] { EXPECT_EQ(pwrite(fd_, page.data(), 100, 7 * kPage), 100); });
  AwaitParked(2);
  const Meanwhile teller([&] { EXPECT_EQ(Forget(kPinnedFile, 7 * kPage, kPage), 0); });
  std::this_thread::sleep_for(kAWhile);
  EXPECT_FALSE(teller.done());
  Release();
  AwaitDone(writer, "the writer hangs");
  AwaitDone(teller, "the notice hangs");
}

TEST_P(KernelPinsDataTest, ReadAheadThatFailsIsNotSeen) {
  fs_.fails_above = kPage;
  for (off_t at = 0; at < 64 * kPage; at += kPage) EXPECT_EQ(ByteOf(at), '1');
  EXPECT_GT(fs_.failed, 0) << "nothing was read ahead";
  const int before = fs_.failed;
  void* map = mmap(nullptr, kFileBytes, PROT_READ, MAP_SHARED, fd_, 0);
  ASSERT_NE(map, MAP_FAILED);
  for (off_t at = 1 << 20; at < (1 << 20) + 64 * kPage; at += kPage) {
    EXPECT_EQ(static_cast<const volatile char*>(map)[at], '1');
  }
  munmap(map, kFileBytes);
  EXPECT_GT(fs_.failed, before) << "nothing was read ahead for the mapping";
}

TEST_P(KernelPinsDataTest, AnAppendComesWholeAndSaysSo) {
  fs_.direct = true;
  Open(O_WRONLY | O_APPEND);
  const std::vector<char> bytes((1 << 20) + 2 * kPage, 'a');
  const char* page = bytes.data() + kPage - reinterpret_cast<uintptr_t>(bytes.data()) % kPage;
  // Of at most 256 pages of memory.
  struct Part {
    const char* from;
    size_t size;
  };
  for (const Part& part : {Part{page + 100, 1}, Part{page + 100, 47'008},
                           Part{page + 4095, (1u << 20) - 4095}, Part{page, 1u << 20}}) {
    EXPECT_EQ(write(fd_, part.from, part.size), static_cast<ssize_t>(part.size));
    const std::vector<Seen> writes = Take(&DataFs::writes);
    ASSERT_EQ(writes.size(), 1u) << part.size;
    EXPECT_EQ(writes[0].size, part.size);
    EXPECT_NE(writes[0].flags & O_APPEND, 0);
  }
  // One that touches more comes in two.
  EXPECT_EQ(write(fd_, page + 1, 1u << 20), 1 << 20);
  EXPECT_EQ(Take(&DataFs::writes).size(), 2u);
  // The flag is that of the moment.
  ASSERT_EQ(fcntl(fd_, F_SETFL, 0), 0);
  EXPECT_EQ(pwrite(fd_, page, 10, 0), 10);
  ASSERT_EQ(fcntl(fd_, F_SETFL, O_APPEND), 0);
  EXPECT_EQ(write(fd_, page, 10), 10);
  const std::vector<Seen> writes = Take(&DataFs::writes);
  ASSERT_EQ(writes.size(), 2u);
  EXPECT_EQ(writes[0].flags & O_APPEND, 0);
  EXPECT_NE(writes[1].flags & O_APPEND, 0);
}

TEST_P(KernelPinsDataTest, AWriteBesidePagesComesInOrderAndInFewParts) {
  const std::string bytes(47'008, 'w');
  EXPECT_EQ(pwrite(fd_, bytes.data(), bytes.size(), 100), static_cast<ssize_t>(bytes.size()));
  const std::vector<Seen> writes = Take(&DataFs::writes);
  EXPECT_LE(writes.size(), 3u);
  off_t at = 100;
  for (const Seen& one : writes) {
    EXPECT_EQ(one.offset, at);
    at += static_cast<off_t>(one.size);
  }
  EXPECT_EQ(at, 100 + static_cast<off_t>(bytes.size()));
  RecordProperty("writes_of_47008_bytes_at_100", static_cast<int>(writes.size()));
}

// Of two questions under way at once the answer that comes first is taken and the other dropped,
// though it was asked later and is newer: a read ends at the older size.
TEST_P(KernelPinsDataTest, TheSecondAnswerAboutASizeIsDropped) {
  fs_.keeps = 0;
  fs_.size = kFewBytes;
  Open(O_RDONLY);
  EXPECT_EQ(Forget(kPinnedFile), 0);
  EXPECT_EQ(ByteOf(0), '1');
  fs_.parks_getattrs = true;
  struct stat seen {};
  Meanwhile lister([&] { EXPECT_EQ(fstat(fd_, &seen), 0); });
  AwaitParked(1);
  fs_.size = kFileBytes;
  char byte = 0;
  ssize_t got = -1;
  Meanwhile reader([&] { got = pread(fd_, &byte, 1, kFewBytes); });
  AwaitParked(2);
  ReleaseOne();
  AwaitDone(lister, "fstat hangs");
  Release();
  AwaitDone(reader, "the reader hangs");
  EXPECT_EQ(seen.st_size, kFewBytes);
  EXPECT_EQ(got, 0) << "it is seen: what the documents say of readers beside listers can be better";
  EXPECT_EQ(pread(fd_, &byte, 1, kFewBytes), 1);
}

TEST_P(KernelPinsDataTest, SyncfsAsksNothing) {
  EXPECT_EQ(pwrite(fd_, "x", 1, 0), 1);
  const uint64_t before = session_->stats().requests;
  EXPECT_EQ(syncfs(fd_), 0);
  EXPECT_EQ(session_->stats().requests, before);
  EXPECT_EQ(fs_.fsyncs, 0);
  EXPECT_EQ(fsync(fd_), 0);
  EXPECT_EQ(fs_.fsyncs, 1);
  EXPECT_GT(session_->stats().requests, before);
}

INSTANTIATE_TEST_SUITE_P(Transports, KernelPinsDataTest,
                         testing::Values(UringMode::kOff, UringMode::kOn), TransportName);

}  // namespace
}  // namespace sheen::fuse
