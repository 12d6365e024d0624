// A bucket's objects: what Sheen asks of S3.
//
//   Client client(&http, &provider, {.bucket = "training", .region = "eu-west-1"});
//   SHEEN_CO_TRY(co_await client.CheckBucket());
//   const Result<ObjectInfo> info = co_await client.Head({.key = "a/b"});
//   co_await client.GetRange({.key = "a/b", .offset = 0, .size = n, .etag = info->etag}, buffer);
//
// Every call is tried again as retry.h says: until `progress_bound` without progress. A body that
// is cut short goes on where it stopped, with the same ETag. Errors of all calls, the message
// naming request, code and request id:
//   kNoEntry        no such object                      (404)
//   kStale          the object is not of that ETag      (412, or an answer with another one)
//   kRange          the range begins behind its end     (416)
//   kNoData         archived: restore it first          (403 InvalidObjectState)
//   kNoSuchDevice   no such bucket
//   kAccess         the identity may not                (403 AccessDenied)
//   kPerm           keys refused, none found, or the server's certificate
//   kConnectionRefused, kDisconnected, kTimedOut, kUnavailable   for too long; nothing is known
//   kNotThisServer  the bucket is elsewhere, and where it says so is not trusted
//   kInvalid, kProtocol, kCancelled, kNameTooLong, kBusy
//
// Thread-safe: any shard may call; a call resumes on its own shard. It must outlive its calls.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <string_view>

#include "async/task.h"
#include "base/bytes.h"
#include "s3/credentials.h"
#include "s3/endpoint.h"
#include "s3/http.h"
#include "s3/object.h"
#include "s3/retry.h"
#include "sheen/result.h"

namespace sheen::s3 {

struct ClientOptions {
  std::string bucket;
  std::string endpoint;  // "http[s]://host[:port]"; empty: AWS
  std::string region;    // empty: us-east-1, until the server says another
  Addressing addressing = Addressing::kAuto;
  LinkOptions link;
  RetryPolicy retry;
  Nanos clock_offset{0};  // of the server's clock, as far as known; corrected by what it says
};

struct CallOptions {
  Priority priority = Priority::kDemand;
  Cancellation* stop = nullptr;
  Haste* haste = nullptr;
};

struct HeadRequest {
  std::string key;
  CallOptions call;
};

struct GetRangeRequest {
  std::string key;
  uint64_t offset = 0;
  uint64_t size = 0;  // > 0; the object must reach so far
  std::string etag;   // with its quotes; empty: whatever is there, but one and the same throughout
  CallOptions call;
};

struct RangeResult {
  std::string etag;
  uint64_t object_size = 0;
  uint32_t attempts = 0;
};

struct ListRequest {
  std::string prefix;
  std::string delimiter;
  std::string start_after;  // keys behind this one
  std::string token;        // ListPage::next_token of the page before
  uint32_t keys_max = 1000;
  CallOptions call;
};

struct PutRequest {
  std::string key;
  std::string_view body;    // lives until the call ends; at most 5 GiB
  std::string content_type = "application/octet-stream";
  NameValues metadata;      // names without "x-amz-meta-"
  std::string if_match;     // an ETag; empty: no condition
  bool if_absent = false;   // only when there is no such object
  CallOptions call;
};

struct BucketInfo {
  std::string region;  // empty: the server does not say
};

class Exchange;

class Client final {
 public:
  // `http` and `credentials` must outlive it. `credentials` null: requests are not signed.
  // What is wrong with the options shows in the first call: kInvalid.
  Client(HttpClient* http, CredentialProvider* credentials, ClientOptions options);

  async::Task<Result<ObjectInfo>> Head(HeadRequest request);
  // REQUIRES: into.size() == request.size. Its content is undefined after an error.
  async::Task<Result<RangeResult>> GetRange(GetRangeRequest request, MutableByteSpan into);
  // Bytes in order, each once, also over retries. What an error leaves taken stays taken.
  async::Task<Result<RangeResult>> GetRange(GetRangeRequest request, BodySink* sink);
  // One page, at most 1000 entries, in the order of bytes of keys.
  async::Task<Result<ListPage>> List(ListRequest request);
  // Gives the ETag. A retry may write twice; the content is the same.
  async::Task<Result<std::string>> Put(PutRequest request);
  // Success also when there is no such object.
  async::Task<Status> Delete(std::string key);
  // Tells within seconds what would keep everything else from working: an unknown bucket, refused
  // keys, an endpoint that does not answer.
  async::Task<Result<BucketInfo>> CheckBucket();

  const std::string& bucket() const { return options_.bucket; }
  HttpLink link() const { return link_; }
  std::string region() const;

 private:
  friend class Exchange;

  struct Attempted {
    Judgement judgement;
    Result<HttpResponse> answer;
  };
  // Until it succeeds, or for good has not.
  async::Task<Result<HttpResponse>> Perform(Exchange* exchange);
  async::Task<Attempted> Attempt(Exchange* exchange, RetryState* state, Nanos idle_limit);
  async::Task<Status> Prepare(Exchange* exchange);
  async::Task<Result<RangeResult>> Get(GetRangeRequest request, MutableByteSpan into,
                                       BodySink* sink);
  async::Task<Result<HttpResponse>> ProbeBucket(RetryPolicy policy);
  Status Adopt(const Judgement& judgement, Exchange* exchange);

  HttpClient* const http_;
  CredentialProvider* const credentials_;
  const ClientOptions options_;
  const HttpLink link_;

  mutable std::mutex mutex_;  // guards what follows: what servers have told
  std::string region_;
  Result<Endpoint> endpoint_;
  Nanos clock_offset_;
};

}  // namespace sheen::s3
