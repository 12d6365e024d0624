// A client and the strict stub, on one shard.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "async/blocking_pool.h"
#include "s3/client.h"
#include "s3/lister.h"
#include "support/s3_stub/stub.h"
#include "support/wait_poller.h"

namespace sheen::s3 {

// Where two texts differ first; SIZE_MAX: nowhere. For messages that can be read.
inline size_t FirstDifference(const std::string& a, const std::string& b) {
  const size_t same = static_cast<size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  return same == a.size() && same == b.size() ? SIZE_MAX : same;
}

// The body that the stub serves for a synthetic object.
inline std::string ContentOf(const std::string& key, const s3_stub::Object& object,
                             uint64_t offset, uint64_t size) {
  std::string out;
  while (out.size() < size) {
    out += s3_stub::SyntheticBytes(key, object, offset + out.size()).substr(0, size - out.size());
  }
  return out;
}

class Collector final : public BodySink {
 public:
  async::Task<Status> Take(ByteSpan bytes) override {
    if (fail_after && data.size() >= *fail_after) co_return Fail(Errc::kNoSpace, "full");
    if (pause > Nanos(0)) co_await async::Shard::Current()->Sleep(pause);
    data += AsText(bytes);
    most = std::max(most, bytes.size());
    co_return Status();
  }
  std::string data;
  size_t most = 0;
  Nanos pause{0};
  std::optional<size_t> fail_after;
};

class S3Rig : public ::testing::Test {
 protected:
  static constexpr const char* kBucket = "bucket";

  S3Rig() : stub_(s3_stub::StubOptions{}) {
    EXPECT_TRUE(stub_.Start("127.0.0.1", 0));
    bucket_ = &stub_.AddBucket(kBucket);
    stub_.SetIdentity("temporary", {.secret = "secret", .token = "token"});
  }

  static CredentialOptions Given(const std::string& key, const std::string& secret,
                                 const std::string& token = "") {
    return {.given = Credentials{
                .access_key_id = key, .secret_access_key = secret, .session_token = token}};
  }
  ClientOptions Options() {
    return {.bucket = kBucket,
            .endpoint = stub_.url(),
            .link = {.use_proxy = false},
            .retry = {.progress_bound = std::chrono::seconds(10),
                      .idle_limit = std::chrono::milliseconds(500),
                      .backoff_base = std::chrono::milliseconds(2),
                      .backoff_cap = std::chrono::milliseconds(20)}};
  }
  // The one to use after it was called; the defaults otherwise.
  Client& client() {
    if (client_ == nullptr) Make(Options(), Given("stub-access-key", "stub-secret-key"));
    return *client_;
  }
  void Make(ClientOptions options, CredentialOptions credentials) {
    client_.reset();
    provider_ = std::make_unique<CredentialProvider>(&http_, &pool_, std::move(credentials));
    client_ = std::make_unique<Client>(&http_, provider_.get(), std::move(options));
  }
  s3_stub::Object Add(const std::string& key, uint64_t size) {
    bucket_->Put(key, s3_stub::Object{.size = size});
    return *bucket_->Find(key);
  }
  // The range into a buffer, compared with what is served.
  Result<RangeResult> GetAndCompare(const std::string& key, uint64_t offset, uint64_t size,
                                    const std::string& etag = "") {
    std::string buffer(size, 0);
    const s3_stub::Object object = *bucket_->Find(key);
    const MutableByteSpan into(reinterpret_cast<std::byte*>(buffer.data()), buffer.size());
    Result<RangeResult> got = shard_.Await(client().GetRange(
        {.key = key, .offset = offset, .size = size, .etag = etag}, into));
    if (got) EXPECT_EQ(FirstDifference(buffer, ContentOf(key, object, offset, size)), SIZE_MAX);
    return got;
  }
  template <class T>
  static Errc CodeOf(const Result<T>& result) {
    return result ? Errc::kOk : result.error().code();
  }

  s3_stub::Stub stub_;
  s3_stub::Bucket* bucket_;
  HttpClient http_;
  async::BlockingPool pool_{1};
  std::unique_ptr<CredentialProvider> provider_;
  std::unique_ptr<Client> client_;
  ShardRunner shard_;
};

}  // namespace sheen::s3
