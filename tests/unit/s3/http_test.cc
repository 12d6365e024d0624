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

async::Task<void> Ignore(async::Task<bool> task) { static_cast<void>(co_await std::move(task)); }

async::Task<std::vector<Status>> All(std::vector<async::Task<Status>> tasks) {
  return async::WhenAll(std::move(tasks));
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
  stub_.SetLimits({.first_byte = std::chrono::milliseconds(300)});
  std::vector<int> order;
  for (const Status& one : shard_.Await(GetPrefetchesAndADemand(&client(), &order))) {
    EXPECT_TRUE(one);
  }
  ASSERT_EQ(order.size(), 11U);
  const auto place = std::ranges::find(order, 100) - order.begin();
  EXPECT_LE(place, 2);  // with the first two, which had begun
}

async::Task<Status> GetHastened(Client* client, Haste* haste, int id, std::vector<int>* order) {
  Collector sink;
  const auto got = co_await client->GetRange(
      {.key = "k", .offset = 0, .size = 1000,
       .call = {.priority = Priority::kPrefetch, .haste = haste}},
      &sink);
  order->push_back(id);
  if (!got) co_return std::unexpected(got.error());
  co_return Status();
}

async::Task<bool> HastenLater(Haste* haste) {
  co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(20));
  haste->Hasten();
  co_return true;
}

async::Task<std::vector<Status>> GetPrefetchesOneHastened(Client* client, std::vector<int>* order) {
  std::vector<async::Task<Status>> tasks;
  Haste haste;
  for (int i = 0; i < 10; ++i) tasks.push_back(GetOne(client, 1000, Priority::kPrefetch, i, order));
  tasks.push_back(GetHastened(client, &haste, 100, order));
  auto hasten = HastenLater(&haste);
  async::Shard::Current()->Spawn(Ignore(std::move(hasten)));
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(HttpTest, AHastenedPrefetchGoesBeforeThoseThatWaitedLonger) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.link.concurrency = 3;
  options.link.kept_for_demand = 1;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  stub_.SetLimits({.first_byte = std::chrono::milliseconds(300)});
  std::vector<int> order;
  for (const Status& one : shard_.Await(GetPrefetchesOneHastened(&client(), &order))) {
    EXPECT_TRUE(one);
  }
  ASSERT_EQ(order.size(), 11U);
  const auto place = std::ranges::find(order, 100) - order.begin();
  EXPECT_LE(place, 3);  // with those that had begun
}

TEST_F(HttpTest, BesideDemandsPrefetchesHaveAnEighthOfThePlacesAndAfterThemAllAgain) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.link.concurrency = 16;
  options.link.kept_for_demand = 4;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  stub_.SetLimits({.first_byte = std::chrono::milliseconds(50)});
  std::vector<int> order;
  const auto run = [this, &order](int demands) {
    order.clear();
    std::vector<async::Task<Status>> tasks;
    for (int i = 0; i < demands; ++i) {
      tasks.push_back(GetOne(&client(), 1000, Priority::kDemand, 100 + i, &order));
    }
    for (int i = 0; i < 12; ++i) {
      tasks.push_back(GetOne(&client(), 1000, Priority::kPrefetch, i, &order));
    }
    const Nanos begin = SystemClock().Monotonic();
    for (const Status& one : shard_.Await(All(std::move(tasks)))) EXPECT_TRUE(one);
    return SystemClock().Monotonic() - begin;
  };
  // All at once, on a machine that is busy now and then; two at a time while demands are, or were
  // until just now.
  Nanos at_once = run(0);
  for (int i = 0; i < 20 && at_once > std::chrono::milliseconds(200); ++i) {
    at_once = std::min(at_once, run(0));
  }
  EXPECT_LT(at_once, std::chrono::milliseconds(200));
  EXPECT_GT(run(1), std::chrono::milliseconds(250));
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
  EXPECT_LT(took, std::chrono::seconds(10));
  options.link.bytes_per_second = 0;
  options.link.requests_per_second = 100;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  begin = SystemClock().Monotonic();
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(GetAndCompare("k", 0, 10));
  took = SystemClock().Monotonic() - begin;
  EXPECT_GT(took, std::chrono::milliseconds(350));
  EXPECT_LT(took, std::chrono::seconds(10));
}

async::Task<Status> AskUntil(Client* client, Priority priority, bool head, Cancellation* stop) {
  if (head) {
    const auto info =
        co_await client->Head({.key = "k", .call = {.priority = priority, .stop = stop}});
    co_return info ? Status() : Status(std::unexpected(info.error()));
  }
  Collector sink;
  const Result<RangeResult> got = co_await client->GetRange(
      {.key = "k", .offset = 0, .size = 10, .call = {.priority = priority, .stop = stop}}, &sink);
  co_return got ? Status() : Status(std::unexpected(got.error()));
}

constexpr uint32_t kAsked = 25;

// Until nothing more can begin; then all are ended.
async::Task<Status> EndWhenActive(Client* client, HttpClient* http, uint32_t active, uint32_t* seen,
                                  Cancellation* stop) {
  const Nanos until = async::Shard::Current()->Now() + std::chrono::seconds(30);
  LinkCounters counters;
  while (async::Shard::Current()->Now() < until &&
         (counters.active < active || counters.active + counters.waiting < kAsked)) {
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(5));
    counters = http->Counters(client->link());
  }
  *seen = counters.active;
  stop->Cancel();
  co_return Status();
}

TEST_F(HttpTest, QuestionsHavePlacesBesideThoseOfBodies) {
  Add("k", kSize);
  // Nothing is answered.
  stub_.AddFault({.kind = "slow", .times = 0, .value = 600'000});
  const auto run = [this](uint32_t questions, uint32_t expected) {
    ClientOptions options = Options();
    options.link.concurrency = 4;
    options.link.kept_for_demand = 1;
    options.link.questions = questions;
    options.retry.idle_limit = std::chrono::minutes(10);
    Make(options, Given("stub-access-key", "stub-secret-key"));
    Cancellation stop;
    uint32_t seen = 0;
    std::vector<async::Task<Status>> tasks;
    for (int i = 0; i < 12; ++i) {
      tasks.push_back(AskUntil(&client(), Priority::kQuestion, true, &stop));
    }
    for (int i = 0; i < 12; ++i) {
      tasks.push_back(AskUntil(&client(), Priority::kAhead, false, &stop));
    }
    tasks.push_back(AskUntil(&client(), Priority::kDemand, false, &stop));
    tasks.push_back(EndWhenActive(&client(), &http_, expected, &seen, &stop));
    static_cast<void>(shard_.Await(All(std::move(tasks))));
    return seen;
  };
  // Three ahead and a demand, and six questions; or all of them in four places.
  EXPECT_EQ(run(6, 10), 10U);
  EXPECT_EQ(run(0, 4), 4U);
}

constexpr int kStreams = 6;
constexpr size_t kPart = 3'000'000;

async::Task<Status> Stream(Client* client, Collector* sink, Priority priority, Cancellation* stop) {
  const Result<RangeResult> got = co_await client->GetRange(
      {.key = "long", .offset = 0, .size = 4'000'000'000,
       .call = {.priority = priority, .stop = stop}},
      sink);
  co_return got ? Status() : Status(std::unexpected(got.error()));
}

// Until `count` of them have received kPart more than `from`; gives how many have half of it.
async::Task<int> AwaitProgress(const std::vector<Collector>* sinks, std::vector<size_t> from,
                               int count) {
  const Nanos until = async::Shard::Current()->Now() + std::chrono::seconds(30);
  const auto grown = [&](size_t bytes) {
    int out = 0;
    for (int i = 0; i < kStreams; ++i) out += sinks->at(i).data.size() >= from[i] + bytes ? 1 : 0;
    return out;
  };
  while (grown(kPart) < count && async::Shard::Current()->Now() < until) {
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(2));
  }
  co_return grown(kPart / 2);
}

std::vector<size_t> SizesOf(const std::vector<Collector>& sinks) {
  std::vector<size_t> out;
  for (const Collector& sink : sinks) out.push_back(sink.data.size());
  return out;
}

struct Progress {
  int before = 0;
  int beside = 0;
  int after = 0;
};

async::Task<void> Demand(Client* client, Cancellation* stop, async::OneShot<bool>* ended) {
  static_cast<void>(co_await AskUntil(client, Priority::kDemand, true, stop));
  ended->Set(true);
}

async::Task<Status> DemandFor(Client* client, const std::vector<Collector>* sinks,
                              Cancellation* stop_streams, Progress* progress) {
  progress->before = co_await AwaitProgress(sinks, SizesOf(*sinks), kStreams);
  Cancellation stop;
  async::OneShot<bool> ended;
  async::Shard::Current()->Spawn(Demand(client, &stop, &ended));
  // What was on its way to the sinks comes.
  static_cast<void>(co_await AwaitProgress(sinks, SizesOf(*sinks), 1));
  progress->beside = co_await AwaitProgress(sinks, SizesOf(*sinks), 2);
  stop.Cancel();
  co_await ended;
  progress->after = co_await AwaitProgress(sinks, SizesOf(*sinks), kStreams);
  stop_streams->Cancel();
  co_return Status();
}

TEST_F(HttpTest, PrefetchesUnderWayPauseForADemandAllButAnEighthAndGoOnAfterIt) {
  Add("long", 4'000'000'000);
  Add("k", kSize);
  stub_.SetLimits({.rates = {.stream_bytes_per_second = 10'000'000}});
  // The demand is not answered before it is ended.
  stub_.AddFault({.kind = "slow", .key = "k", .times = 0, .value = 600'000});
  ClientOptions options = Options();
  options.link.concurrency = 16;
  options.link.kept_for_demand = 4;
  options.retry.idle_limit = std::chrono::minutes(10);
  Make(options, Given("stub-access-key", "stub-secret-key"));
  std::vector<Collector> sinks(kStreams);
  Cancellation stop;
  Progress progress;
  std::vector<async::Task<Status>> tasks;
  for (Collector& sink : sinks) {
    tasks.push_back(Stream(&client(), &sink, Priority::kPrefetch, &stop));
  }
  tasks.push_back(DemandFor(&client(), &sinks, &stop, &progress));
  static_cast<void>(shard_.Await(All(std::move(tasks))));
  EXPECT_EQ(progress.before, kStreams);
  EXPECT_EQ(progress.beside, 2);
  EXPECT_EQ(progress.after, kStreams);
}

// Half a minute of it.
constexpr uint64_t kSlowBytes = 300'000'000;

async::Task<Status> GetUntilStopped(Client* client, Cancellation* stop) {
  Collector sink;
  const Result<RangeResult> got = co_await client->GetRange(
      {.key = "slow", .offset = 0, .size = kSlowBytes, .call = {.stop = stop}}, &sink);
  if (!got) co_return std::unexpected(got.error());
  co_return Status();
}

async::Task<Status> GetBeside(Client* client, s3_stub::Stub* stub, Cancellation* stop) {
  while (stub->counters().keys["slow"].gets == 0) {
    co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(5));
  }
  std::vector<int> order;
  const Status got = co_await GetOne(client, 100, Priority::kDemand, 0, &order);
  stop->Cancel();
  co_return got;
}

// What is measured against the stub is Sheen's and not the stub's turn.
TEST_F(HttpTest, TheStubAnswersOthersWhileOneStreamIsSlow) {
  Add("k", kSize);
  Add("slow", kSlowBytes);
  Make(Options(), Given("stub-access-key", "stub-secret-key"));
  stub_.SetLimits({.rates = {.stream_bytes_per_second = 10'000'000}});
  Cancellation stop;
  std::vector<async::Task<Status>> tasks;
  tasks.push_back(GetUntilStopped(&client(), &stop));
  tasks.push_back(GetBeside(&client(), &stub_, &stop));
  const std::vector<Status> all = shard_.Await(All(std::move(tasks)));
  EXPECT_EQ(CodeOf(all[0]), Errc::kCancelled);
  EXPECT_TRUE(all[1]) << all[1].error().ToString();
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
