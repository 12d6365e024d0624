// Blocks are fetched once however many ask, those who read in order find the next ones under way,
// and a failure is told with its reason.
#include "oss/lazy_loader.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "support/ost_world.h"

namespace sheen::oss {
namespace {

using test::ObjectNumber;
using test::OstWorld;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kBytes = 64 * kMiB;

// S3, 30 ms away.
class FakeSource final : public BlockSource {
 public:
  async::Task<Result<io::Buffer>> Fetch(FetchOrder order) override {
    orders.push_back(order);
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(30));
    if (broken) co_return Fail(Errc::kStale, "s3://b/k was changed since it was imported");
    io::Buffer out = io::Buffer::Allocate(order.length);
    std::fill_n(out.data(), order.length, std::byte{'s'});
    co_return std::move(out);
  }
  uint64_t bytes() const {
    uint64_t sum = 0;
    for (const FetchOrder& order : orders) sum += order.length;
    return sum;
  }
  std::vector<FetchOrder> orders;
  bool broken = false;
};

class LazyLoaderTest : public ::testing::Test {
 protected:
  LazyLoaderTest() {
    world.Start();
    loader.SetSource(&source);
    const ost::ObjectSource from{.link = 1, .key = "k", .etag = "e", .stripe_bytes = 8 * kMiB,
                                 .stripe_count = 1, .stripe = 0, .bytes = kBytes};
    EXPECT_TRUE(world.Run(world.target->Attach(world.io.get(), id, from, {})));
  }
  ~LazyLoaderTest() override {
    world.Run(Stop());
    world.Close();
  }
  async::Task<bool> Stop() {
    co_await loader.Stop();
    co_return true;
  }
  LazyLoader::Place Place() { return {world.target.get(), world.io.get(), {3, id}}; }
  Status Load(uint64_t offset, uint64_t length, bool change = false) {
    return world.Run(loader.Load(Place(), {offset, length}, change));
  }
  async::Task<bool> ReadTask(uint64_t offset, uint64_t length) {
    loader.NoteRead(Place(), {offset, length});
    const Status loaded = co_await loader.Load(Place(), {offset, length}, false);
    co_return loaded.has_value();
  }
  bool Read(uint64_t offset, uint64_t length) { return world.Run(ReadTask(offset, length)); }

  OstWorld world;
  FakeSource source;
  LazyLoader loader;
  const layout::ObjectId id = ObjectNumber(1);
};

TEST_F(LazyLoaderTest, ManyWhoWantABlockCostOneFetch) {
  std::vector<std::optional<Status>> done(16);
  for (auto& one : done) world.Start(loader.Load(Place(), {5 * kMiB + 7, 4096}, false), &one);
  for (auto& one : done) {
    world.Finish(&one);
    EXPECT_TRUE(*one);
  }
  ASSERT_EQ(source.orders.size(), 1U);
  EXPECT_EQ(source.orders[0].offset, 5 * kMiB);
  EXPECT_EQ(source.orders[0].length, kMiB);
  EXPECT_EQ(*world.Read(id, 5 * kMiB + 7, 3), "sss");
}

TEST_F(LazyLoaderTest, ASecondReadFetchesNothing) {
  ASSERT_TRUE(Load(0, kMiB));
  ASSERT_TRUE(Load(0, kMiB));
  EXPECT_EQ(source.orders.size(), 1U);
}

TEST_F(LazyLoaderTest, AChangeFetchesOnlyWhatItDoesNotCover) {
  ASSERT_TRUE(Load(kMiB, 4 * kMiB, true));
  EXPECT_TRUE(source.orders.empty());
  ASSERT_TRUE(Load(kMiB - 1, 2 * kMiB, true));
  ASSERT_EQ(source.orders.size(), 2U);  // the first and the last block
}

TEST_F(LazyLoaderTest, RunsAreFetchedTogetherButNotAcrossStripes) {
  ASSERT_TRUE(Load(6 * kMiB, 4 * kMiB));
  ASSERT_EQ(source.orders.size(), 2U);
  EXPECT_EQ(source.orders[0].length, 2 * kMiB);
  EXPECT_EQ(source.orders[1].offset, 8 * kMiB);
}

TEST_F(LazyLoaderTest, WhoReadsInOrderIsReadAheadAndEachBlockComesOnce) {
  for (uint64_t at = 0; at < kBytes; at += kMiB / 2) ASSERT_TRUE(Read(at, kMiB / 2));
  EXPECT_EQ(source.bytes(), kBytes);
  const auto ahead = std::ranges::count_if(source.orders, &FetchOrder::prefetch);
  EXPECT_GT(ahead * 10, static_cast<ptrdiff_t>(source.orders.size()) * 8);
  // 64 blocks of 30 ms one after the other would take longer.
  EXPECT_LT(source.orders.size(), 32U);
}

TEST_F(LazyLoaderTest, WhoJumpsPaysForNothingElse) {
  for (const uint64_t block : {40, 3, 57, 20, 33, 9, 61, 14}) {
    ASSERT_TRUE(Read(block * kMiB + 1000, 4096));
  }
  EXPECT_EQ(source.bytes(), 8 * kMiB);
}

TEST_F(LazyLoaderTest, AFailureIsAnIoErrorWithItsReasonAndIsNotKept) {
  source.broken = true;
  const Status failed = Load(0, 100);
  ASSERT_FALSE(failed);
  EXPECT_EQ(failed.error().code(), Errc::kIo);
  EXPECT_NE(failed.error().message().find("was changed"), std::string::npos);
  ASSERT_EQ(loader.Failures().size(), 1U);
  EXPECT_EQ(loader.Failures()[0].object, "k");
  source.broken = false;
  EXPECT_TRUE(Load(0, 100));
}

}  // namespace
}  // namespace sheen::oss
