#include "s3/http.h"

#include "s3/token_bucket.h"
#include "unit/s3/s3_rig.h"

namespace sheen::s3 {
namespace {

class HttpTest : public S3Rig {
 protected:
  static constexpr uint64_t kSize = 4'000'000;
};

TEST_F(HttpTest, ConnectionsAreReused) {
  Add("k", kSize);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(GetAndCompare("k", 0, 1000));
  EXPECT_EQ(stub_.connections(), 1U);
  EXPECT_EQ(http_.Counters(client().link()).connections, 1U);
}

TEST_F(HttpTest, ASlowSinkSlowsTheServerDown) {
  const s3_stub::Object object = Add("k", 64'000'000);
  Collector sink;
  sink.pause = std::chrono::milliseconds(200);
  Cancellation stop;
  shard_.shard()->Post([&] {
    shard_.shard()->AddTimer(shard_.shard()->Now() + std::chrono::milliseconds(500),
                             [&] { stop.Cancel(); });
  });
  const Result<RangeResult> got = shard_.Await(client().GetRange(
      {.key = "k", .offset = 0, .size = 64'000'000, .call = {.stop = &stop}}, &sink));
  EXPECT_EQ(CodeOf(got), Errc::kCancelled);
  // What had been received: what the sink took, and what may wait for it.
  EXPECT_LE(http_.Counters(client().link()).body_bytes, sink.data.size() + kStreamBytesMax);
  EXPECT_EQ(sink.data, ContentOf("k", object, 0, sink.data.size()));
}

async::Task<Status> GetOne(Client* client, uint64_t size, Priority priority, int id,
                           std::vector<int>* order) {
  Collector sink;
  const Result<RangeResult> got = co_await client->GetRange(
      {.key = "k", .offset = 0, .size = size, .call = {.priority = priority}}, &sink);
  order->push_back(id);
  if (!got) co_return std::unexpected(got.error());
  co_return Status();
}

async::Task<std::vector<Status>> GetPrefetchesAndADemand(Client* client, std::vector<int>* order) {
  std::vector<async::Task<Status>> tasks;
  for (int i = 0; i < 10; ++i) tasks.push_back(GetOne(client, 1000, Priority::kPrefetch, i, order));
  tasks.push_back(GetOne(client, 1000, Priority::kDemand, 100, order));
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(HttpTest, ADemandGoesBeforeWaitingPrefetches) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.link.concurrency = 3;
  options.link.kept_for_demand = 1;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  stub_.SetLimits({.first_byte = std::chrono::milliseconds(40)});
  std::vector<int> order;
  for (const Status& one : shard_.Await(GetPrefetchesAndADemand(&client(), &order))) {
    EXPECT_TRUE(one);
  }
  ASSERT_EQ(order.size(), 11U);
  const auto place = std::ranges::find(order, 100) - order.begin();
  EXPECT_LE(place, 2);  // with the first two, which had begun
}

TEST_F(HttpTest, BytesAndRequestsKeepToTheirRates) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.link.bytes_per_second = 8'000'000;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  Nanos begin = SystemClock().Monotonic();
  EXPECT_TRUE(GetAndCompare("k", 0, kSize));
  Nanos took = SystemClock().Monotonic() - begin;
  EXPECT_GT(took, std::chrono::milliseconds(380));
  EXPECT_LT(took, std::chrono::milliseconds(1500));
  options.link.bytes_per_second = 0;
  options.link.requests_per_second = 100;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  begin = SystemClock().Monotonic();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(GetAndCompare("k", 0, 10));
  took = SystemClock().Monotonic() - begin;
  EXPECT_GT(took, std::chrono::milliseconds(350));
  EXPECT_LT(took, std::chrono::milliseconds(2000));
}

TEST(TokenBucket, PaysDebtsOff) {
  TokenBucket bucket(1000, 10);
  Nanos now = std::chrono::seconds(1);
  EXPECT_TRUE(bucket.Ready(now));
  bucket.Take(510);
  EXPECT_FALSE(bucket.Ready(now));
  EXPECT_NEAR(double(bucket.Wait(now).count()), 501e6, 1e6);
  now += std::chrono::milliseconds(499);
  EXPECT_FALSE(bucket.Ready(now));
  now += std::chrono::milliseconds(3);
  EXPECT_TRUE(bucket.Ready(now));
}

}  // namespace
}  // namespace sheen::s3
