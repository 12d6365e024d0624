#include "s3/client.h"

#include <unistd.h>

#include <cstdlib>
#include <fstream>

#include "unit/s3/s3_rig.h"

namespace sheen::s3 {
namespace {

using s3_stub::Fault;

class ClientTest : public S3Rig {};

constexpr uint64_t kSize = 3'000'000;

TEST_F(ClientTest, ReadsRangesIntoABufferAndASink) {
  const s3_stub::Object object = Add("a/b c+é//../d", 10ULL << 30);
  const uint64_t offset = (7ULL << 30) + 13;
  const Result<RangeResult> got = GetAndCompare("a/b c+é//../d", offset, kSize);
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->object_size, 10ULL << 30);
  EXPECT_EQ(got->attempts, 1U);
  EXPECT_EQ(got->etag, object.EtagOf("a/b c+é//../d"));
  Collector sink;
  const Result<RangeResult> streamed = shard_.Await(client().GetRange(
      {.key = "a/b c+é//../d", .offset = offset, .size = kSize, .etag = got->etag}, &sink));
  ASSERT_TRUE(streamed) << streamed.error().message();
  EXPECT_EQ(sink.data, ContentOf("a/b c+é//../d", object, offset, kSize));
}

TEST_F(ClientTest, HeadTellsAttributesAndMetadata) {
  bucket_->Put("k", {.size = 7,
                     .modified = 1'500'000'000,
                     .metadata = {{"file-owner", "12"}, {"Other", "x  y"}},
                     .storage_class = "GLACIER"});
  const Result<ObjectInfo> info = shard_.Await(client().Head({.key = "k"}));
  ASSERT_TRUE(info) << info.error().message();
  EXPECT_EQ(info->size, 7U);
  EXPECT_EQ(info->last_modified, std::chrono::seconds(1'500'000'000));
  EXPECT_EQ(info->storage_class, "GLACIER");
  EXPECT_FALSE(info->readable);
  EXPECT_EQ(ParsePosixMetadata(info->metadata).uid, 12U);
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, 7)), Errc::kNoData);
}

TEST_F(ClientTest, PutsAndDeletes) {
  const std::string body(100'000, 'x');
  const Result<std::string> etag = shard_.Await(client().Put(
      {.key = "new", .body = body, .metadata = {{"file-mtime", "5ns"}}, .if_absent = true}));
  ASSERT_TRUE(etag) << etag.error().message();
  EXPECT_EQ(CodeOf(shard_.Await(client().Put({.key = "new", .body = body, .if_absent = true}))),
            Errc::kStale);
  const Result<ObjectInfo> info = shard_.Await(client().Head({.key = "new"}));
  ASSERT_TRUE(info);
  EXPECT_EQ(info->etag, *etag);
  EXPECT_EQ(info->size, body.size());
  EXPECT_TRUE(shard_.Await(client().Put({.key = "empty", .body = ""})));
  EXPECT_TRUE(shard_.Await(client().Delete("new")));
  EXPECT_TRUE(shard_.Await(client().Delete("new")));
  EXPECT_EQ(CodeOf(shard_.Await(client().Head({.key = "new"}))), Errc::kNoEntry);
}

TEST_F(ClientTest, FinalAnswersAreToldApartAndNotRepeated) {
  Add("k", kSize);
  const std::string etag = bucket_->Find("k")->EtagOf("k");
  stub_.Touch(kBucket, "k");
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, 10, etag)), Errc::kStale);
  EXPECT_EQ(CodeOf(GetAndCompare("k", kSize, 10)), Errc::kRange);
  EXPECT_EQ(CodeOf(GetAndCompare("k", kSize - 5, 10)), Errc::kRange);
  EXPECT_EQ(stub_.counters().operations["get"], 3U);
  EXPECT_EQ(CodeOf(shard_.Await(client().Head({.key = "none"}))), Errc::kNoEntry);
  Collector sink;
  const Result<RangeResult> none =
      shard_.Await(client().GetRange({.key = "none", .offset = 0, .size = 5}, &sink));
  EXPECT_EQ(CodeOf(none), Errc::kNoEntry);
  EXPECT_NE(none.error().message().find("NoSuchKey"), std::string::npos) << none.error().message();
  EXPECT_NE(none.error().message().find("STUB-"), std::string::npos) << none.error().message();
  stub_.AddFault({.kind = "status", .value = 403, .code = "AccessDenied"});
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, 10)), Errc::kAccess);
}

// Every fault that passes: the call succeeds, and no byte is wrong.
TEST_F(ClientTest, PassingFaultsAreOvercome) {
  Add("k", kSize);
  const std::vector<Fault> faults{
      {.kind = "status", .times = 3, .value = 500},
      {.kind = "status", .times = 3, .value = 503, .code = "SlowDown"},
      {.kind = "status", .times = 2, .value = 502, .code = "BadGateway"},
      {.kind = "status", .times = 2, .value = 504, .code = "GatewayTimeout"},
      {.kind = "status", .times = 2, .value = 429, .code = "TooManyRequests"},
      {.kind = "reset", .times = 2},
      {.kind = "garbage", .times = 2},
      {.kind = "cut", .times = 3, .value = 100'000},
      {.kind = "cut", .times = 2, .value = 0},
      {.kind = "stall", .times = 1, .value = 200'000},
      {.kind = "slow", .times = 1, .value = 2000},
      {.kind = "wrong_range", .times = 2},
      {.kind = "short_range", .times = 2},
      {.kind = "error_body", .times = 1}};
  for (const Fault& fault : faults) {
    stub_.ResetCounters();
    stub_.AddFault(fault);
    const Result<RangeResult> got = GetAndCompare("k", 1000, kSize - 2000);
    EXPECT_TRUE(got) << fault.kind << ": " << got.error().message();
    EXPECT_EQ(stub_.counters().faults, fault.times) << fault.kind;
    // libcurl itself tries again when a connection that was kept open is reset.
    if (got) EXPECT_LE(got->attempts, fault.times + 1) << fault.kind;
    stub_.AddFault(fault);
    Collector sink;
    const Result<RangeResult> streamed =
        shard_.Await(client().GetRange({.key = "k", .offset = 0, .size = kSize}, &sink));
    EXPECT_TRUE(streamed) << fault.kind << ": " << streamed.error().message();
    const std::string served = ContentOf("k", *bucket_->Find("k"), 0, kSize);
    EXPECT_EQ(FirstDifference(sink.data, served), SIZE_MAX) << fault.kind << sink.data.size();
  }
}

TEST_F(ClientTest, ACutBodyGoesOnWhereItStopped) {
  Add("k", kSize);
  stub_.AddFault({.kind = "cut", .times = 2, .value = 1'000'000});
  ASSERT_TRUE(GetAndCompare("k", 0, kSize));
  const s3_stub::KeyCounters key = stub_.counters().keys["k"];
  ASSERT_EQ(key.ranges.size(), 3U);
  EXPECT_EQ(key.ranges[1].first, 1'000'000U);
  EXPECT_EQ(key.ranges[2].first, 2'000'000U);
}

TEST_F(ClientTest, WhatGoesOnIsOfTheSameContent) {
  Add("k", kSize);
  stub_.AddFault({.kind = "cut", .value = 1'000'000});
  stub_.AddFault({.kind = "wrong_etag"});
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, kSize)), Errc::kStale);
}

TEST_F(ClientTest, GivesUpAfterTheBoundWithoutProgress) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.retry.progress_bound = std::chrono::milliseconds(300);
  Make(options, Given("stub-access-key", "stub-secret-key"));
  stub_.AddFault({.kind = "status", .times = 0, .value = 503, .code = "SlowDown"});
  const Nanos begin = SystemClock().Monotonic();
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, kSize)), Errc::kUnavailable);
  EXPECT_LT(SystemClock().Monotonic() - begin, std::chrono::seconds(10));
  EXPECT_GT(stub_.counters().faults, 2U);
  // Slow but steady: each attempt brings something.
  stub_.ClearFaults();
  stub_.AddFault({.kind = "cut", .times = 0, .value = 20'000});
  EXPECT_TRUE(GetAndCompare("k", 0, kSize));
}

TEST_F(ClientTest, AWrongClockIsCorrectedFromTheAnswer) {
  Add("k", kSize);
  for (const int64_t offset : {86400, -86400}) {
    stub_.SetClockOffset(offset);
    Make(Options(), Given("stub-access-key", "stub-secret-key"));
    EXPECT_TRUE(GetAndCompare("k", 0, 100));
    Make(Options(), Given("stub-access-key", "stub-secret-key"));
    EXPECT_TRUE(shard_.Await(client().Head({.key = "k"})));
    stub_.ResetCounters();
    EXPECT_TRUE(GetAndCompare("k", 0, 100));
    EXPECT_EQ(stub_.counters().errors.size(), 0U);
  }
}

TEST_F(ClientTest, ExpiredKeysAreRenewedOnce) {
  Add("k", kSize);
  Make(Options(), Given("temporary", "secret", "token"));
  stub_.AddFault({.kind = "status", .value = 400, .code = "ExpiredToken"});
  EXPECT_TRUE(GetAndCompare("k", 0, 100));
  EXPECT_EQ(provider_->walks(), 2U);
  stub_.AddFault({.kind = "status", .value = 400});
  EXPECT_TRUE(shard_.Await(client().Head({.key = "k"})));
  stub_.AddFault({.kind = "status", .times = 0, .value = 400, .code = "ExpiredToken"});
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, 100)), Errc::kPerm);
}

TEST_F(ClientTest, KeysThatAreExchangedInTheirFileAreReadAgain) {
  char name[] = "/tmp/sheen-s3-keys.XXXXXX";
  const int file = mkstemp(name);
  ASSERT_GE(file, 0);
  close(file);
  const auto write = [&name](const std::string& id) {
    std::ofstream(name) << "[default]\naws_access_key_id = " << id
                        << "\naws_secret_access_key = secret of " << id << "\n";
  };
  stub_.SetIdentity("old", {.secret = "secret of old"});
  write("old");
  Make(Options(), {.file = name});
  Add("k", kSize);
  EXPECT_TRUE(GetAndCompare("k", 0, kSize));
  stub_.SetIdentity("old", {.secret = "another"});
  stub_.SetIdentity("new", {.secret = "secret of new"});
  write("new");
  // What was looked up within the last 5 s is not looked up again.
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, kSize)), Errc::kPerm);
  EXPECT_EQ(provider_->walks(), 1U);
  const Credentials old{.access_key_id = "old", .secret_access_key = "secret of old"};
  provider_->Refused(old, SystemClock().Wall() + std::chrono::seconds(6));
  EXPECT_TRUE(GetAndCompare("k", 0, kSize));
  EXPECT_EQ(provider_->walks(), 2U);
  std::remove(name);
}

TEST_F(ClientTest, AnotherRegionIsFollowed) {
  Add("k", kSize);
  stub_.SetRegion("eu-north-1");
  EXPECT_TRUE(GetAndCompare("k", 0, 100));
  EXPECT_EQ(client().region(), "eu-north-1");
  Make(Options(), Given("stub-access-key", "stub-secret-key"));
  EXPECT_TRUE(shard_.Await(client().Head({.key = "k"})));
  // There and back: the stub keeps to its region.
  stub_.AddFault({.kind = "redirect", .code = "eu-west-1"});
  EXPECT_TRUE(shard_.Await(client().Head({.key = "k"})));
  stub_.AddFault({.kind = "location", .code = stub_.url() + "/bucket/k"});
  EXPECT_TRUE(GetAndCompare("k", 0, 100));
  stub_.AddFault({.kind = "location", .code = "http://elsewhere.example/bucket/k"});
  EXPECT_EQ(CodeOf(GetAndCompare("k", 0, 100)), Errc::kNotThisServer);
}

TEST_F(ClientTest, ChecksTheBucketAtOnce) {
  EXPECT_TRUE(shard_.Await(client().CheckBucket()));
  ClientOptions options = Options();
  options.bucket = "none";
  Make(options, Given("stub-access-key", "stub-secret-key"));
  EXPECT_EQ(CodeOf(shard_.Await(client().CheckBucket())), Errc::kNoSuchDevice);
  Make(Options(), Given("stub-access-key", "wrong"));
  EXPECT_EQ(CodeOf(shard_.Await(client().CheckBucket())), Errc::kPerm);
  Make(Options(), Given("nobody", "wrong"));
  EXPECT_EQ(CodeOf(shard_.Await(client().CheckBucket())), Errc::kPerm);
  options = Options();
  options.endpoint = "http://127.0.0.1:1";
  Make(options, Given("stub-access-key", "stub-secret-key"));
  EXPECT_EQ(CodeOf(shard_.Await(client().CheckBucket())), Errc::kConnectionRefused);
  options.endpoint = "ftp://x";
  Make(options, Given("stub-access-key", "stub-secret-key"));
  EXPECT_EQ(CodeOf(shard_.Await(client().CheckBucket())), Errc::kInvalid);
}

TEST_F(ClientTest, VirtualHostStyleIsSignedAndSent) {
  Add("k/ü", 1000);
  ClientOptions options = Options();
  const std::string port = std::to_string(stub_.port());
  options.endpoint = "http://s3.stub.test:" + port;
  options.addressing = Addressing::kVirtualHost;
  options.link.resolve = {"bucket.s3.stub.test:" + port + ":127.0.0.1"};
  Make(options, Given("stub-access-key", "stub-secret-key"));
  EXPECT_TRUE(GetAndCompare("k/ü", 10, 100));
}

TEST_F(ClientTest, RequestsOverTheRateAreRetriedUntilTheyPass) {
  Add("k", kSize);
  stub_.SetLimits({.requests_per_second = 10});
  for (int i = 0; i < 10; ++i) EXPECT_TRUE(GetAndCompare("k", 0, 100));
  EXPECT_GT(stub_.counters().errors["SlowDown"], 0U);
}

TEST_F(ClientTest, TheErrorOfASinkIsFinal) {
  Add("k", kSize);
  Collector sink;
  sink.fail_after = 500'000;
  const Result<RangeResult> got =
      shard_.Await(client().GetRange({.key = "k", .offset = 0, .size = kSize}, &sink));
  EXPECT_EQ(CodeOf(got), Errc::kNoSpace);
  EXPECT_EQ(stub_.counters().operations["get"], 1U);
}

async::Task<Status> CancelSoon(async::Shard* shard, Cancellation* stop) {
  co_await shard->Sleep(std::chrono::milliseconds(50));
  stop->Cancel();
  co_return Status();
}

async::Task<Status> GetUntil(Client* client, Cancellation* stop) {
  Collector sink;
  const Result<RangeResult> got = co_await client->GetRange(
      {.key = "k", .offset = 0, .size = kSize, .call = {.stop = stop}}, &sink);
  if (!got) co_return std::unexpected(got.error());
  co_return Status();
}

async::Task<std::vector<Status>> CancelWhileReading(Client* client) {
  Cancellation stop;
  std::vector<async::Task<Status>> tasks;
  for (int i = 0; i < 5; ++i) tasks.push_back(GetUntil(client, &stop));
  tasks.push_back(CancelSoon(async::Shard::Current(), &stop));
  co_return co_await async::WhenAll(std::move(tasks));
}

TEST_F(ClientTest, CancellationEndsWaitingRunningAndBackingOff) {
  Add("k", kSize);
  ClientOptions options = Options();
  options.link.concurrency = 3;
  options.link.kept_for_demand = 0;
  Make(options, Given("stub-access-key", "stub-secret-key"));
  for (const char* kind : {"stall", "status"}) {
    stub_.ClearFaults();
    stub_.AddFault({.kind = kind, .times = 0, .value = 503});
    const Nanos begin = SystemClock().Monotonic();
    const std::vector<Status> all = shard_.Await(CancelWhileReading(&client()));
    // Not cancelled they take a minute.
    EXPECT_LT(SystemClock().Monotonic() - begin, std::chrono::seconds(10)) << kind;
    for (int i = 0; i < 5; ++i) EXPECT_EQ(CodeOf(all[i]), Errc::kCancelled) << kind;
  }
}

}  // namespace
}  // namespace sheen::s3
