// A target on a real directory, served by two shards on threads of their own with their own rings.
#include <fmt/core.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>

#include "io/uring_file_io.h"
#include "kv/memory_store.h"
#include "ost/index_record.h"
#include "ost/target.h"

namespace sheen::ost {
namespace {

layout::ObjectId Id(uint32_t number) {
  return {{kFirstClientSequence, number + 1, 0}, 0x10000000007, 0};
}

class Thread final {
 public:
  explicit Thread(async::BlockingPool* pool) {
    auto created = io::UringPoller::Create({});
    if (!created) return;  // no io_uring here
    poller_ = std::move(*created);
    io = std::make_unique<io::UringFileIo>(poller_.get(), pool);
    shard = std::make_unique<async::Shard>(poller_.get(), &SystemClock());
    thread_ = std::thread([this] { shard->Run(); });
  }
  ~Thread() {
    if (shard) shard->Stop();
    if (thread_.joinable()) thread_.join();
  }
  bool ok() const { return shard != nullptr; }

  template <class T>
  std::future<T> Start(std::function<async::Task<T>()> make) {
    auto promise = std::make_shared<std::promise<T>>();
    shard->Post([this, make, promise] { shard->Spawn(Keep<T>(make(), promise)); });
    return promise->get_future();
  }
  template <class T>
  T Run(std::function<async::Task<T>()> make) {
    return Start<T>(std::move(make)).get();
  }

 private:
  std::unique_ptr<io::UringPoller> poller_;  // outlives the shard

 public:
  std::unique_ptr<io::UringFileIo> io;
  std::unique_ptr<async::Shard> shard;

 private:
  template <class T>
  static async::Task<void> Keep(async::Task<T> task, std::shared_ptr<std::promise<T>> promise) {
    promise->set_value(co_await std::move(task));
  }
  std::thread thread_;
};

class RealDiskTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!threads[0].ok() || !threads[1].ok()) GTEST_SKIP() << "no io_uring on this machine";
    std::string pattern = ::testing::TempDir() + "/sheen-ost-XXXXXX";
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory = pattern;
    const auto formatted = threads[0].Run<Result<Superblock>>(
        [this] { return Format(threads[0].io.get(), store.get(), {.directory = directory}); });
    ASSERT_TRUE(formatted) << formatted.error().ToString();
    Open();
  }
  void TearDown() override {
    if (target) Close();
    if (!directory.empty()) std::filesystem::remove_all(directory);
  }
  Result<std::unique_ptr<Target>> TryOpen() {
    return threads[0].Run<Result<std::unique_ptr<Target>>>([this] {
      OpenOptions options;
      options.directory = directory;
      options.index = store.get();
      options.pool = &pool;
      options.open_objects_max = 4;
      return Target::Open(threads[0].io.get(), std::move(options));
    });
  }
  void Open() {
    auto opened = TryOpen();
    ASSERT_TRUE(opened) << opened.error().ToString();
    target = std::move(*opened);
  }
  void Close() {
    const Status closed =
        threads[0].Run<Status>([this] { return target->Close(threads[0].io.get()); });
    EXPECT_TRUE(closed) << closed.error().ToString();
    target.reset();
  }
  std::string Contents(const layout::ObjectId& id) {
    std::string out(1 << 20, '?');
    const auto read = threads[1].Run<Result<ReadResult>>([&] {
      return target->Read(threads[1].io.get(), id, 0,
                          {reinterpret_cast<std::byte*>(out.data()), out.size()});
    });
    if (!read) return "<" + read.error().ToString() + ">";
    out.resize(read->bytes);
    return out;
  }

  async::BlockingPool pool{2};
  Thread threads[2]{Thread(&pool), Thread(&pool)};
  kv::MemoryDisk disk{IndexFamilies().size()};
  std::unique_ptr<kv::Store> store = kv::OpenMemoryStore(&disk);
  std::string directory;
  std::unique_ptr<Target> target;
};

constexpr uint32_t kObjects = 12;

// Each worker owns a region of every object; both truncate one object of their own.
async::Task<bool> Work(Target* target, io::FileIo* io, char mark, int rounds) {
  const std::string data(3000, mark);
  const uint64_t base = mark == 'a' ? 0 : 5000;
  for (int i = 0; i < rounds; ++i) {
    WriteArgs write{.id = Id(static_cast<uint32_t>(i) % kObjects), .offset = base};
    write.data = AsBytes(data);
    const auto written = co_await target->Write(io, write);
    EXPECT_TRUE(written) << written.error().ToString();
    TruncateArgs truncate{.id = Id(100 + static_cast<uint32_t>(mark)), .create = true};
    truncate.size = static_cast<uint64_t>(rounds - i) * 10;
    const auto cut = co_await target->Truncate(io, truncate);
    EXPECT_TRUE(cut) << cut.error().ToString();
    if (i % 10 == 0) {
      const Status committed = co_await target->Commit(io);
      EXPECT_TRUE(committed) << committed.error().ToString();
    }
    if (!written || !cut) co_return false;
  }
  co_return true;
}

TEST_F(RealDiskTest, TwoShardsShareObjectsAndCommits) {
  std::future<bool> ends[2];
  for (int i = 0; i < 2; ++i) {
    ends[i] = threads[i].Start<bool>(
        [this, i] { return Work(target.get(), threads[i].io.get(), i == 0 ? 'a' : 'b', 120); });
  }
  EXPECT_TRUE(ends[0].get());
  EXPECT_TRUE(ends[1].get());
  const std::string expected =
      std::string(3000, 'a') + std::string(2000, '\0') + std::string(3000, 'b');
  for (uint32_t i = 0; i < kObjects; ++i) EXPECT_EQ(Contents(Id(i)), expected) << i;
  Close();
  Open();
  for (uint32_t i = 0; i < kObjects; ++i) EXPECT_EQ(Contents(Id(i)), expected) << i;
  EXPECT_EQ(Contents(Id(100 + 'a')), std::string(10, '\0'));
}

TEST_F(RealDiskTest, SecondOwnerIsRefusedWithThePid) {
  const auto second = TryOpen();
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), Errc::kBusy);
  EXPECT_NE(second.error().message().find("pid"), std::string::npos);
}

TEST_F(RealDiskTest, DestroyRemovesTheFile) {
  const std::string data = "abc";
  const auto written = threads[0].Run<Result<ChangeResult>>(
      [&] { return target->Write(threads[0].io.get(), {.id = Id(1), .data = AsBytes(data)}); });
  ASSERT_TRUE(written);
  EXPECT_TRUE(std::filesystem::exists(ObjectPath(directory, Id(1))));
  const Status gone =
      threads[1].Run<Status>([&] { return target->Destroy(threads[1].io.get(), {Id(1)}); });
  EXPECT_TRUE(gone);
  EXPECT_FALSE(std::filesystem::exists(ObjectPath(directory, Id(1))));
  EXPECT_NE(Contents(Id(1)).find("was destroyed"), std::string::npos) << Contents(Id(1));
}

TEST_F(RealDiskTest, SpaceIsTheDisks) {
  const auto space =
      threads[0].Run<Result<TargetSpace>>([&] { return target->Space(threads[0].io.get()); });
  ASSERT_TRUE(space);
  EXPECT_GT(space->bytes_total, 0U);
  EXPECT_LE(space->bytes_available, space->bytes_free);
  EXPECT_FALSE(space->limited);
}

}  // namespace
}  // namespace sheen::ost
