// One call of Client on its way: what is sent again until it succeeds. Internal to Client.
//
// Shard-confined: belongs to the call's coroutine.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "s3/client.h"

namespace sheen::s3 {

// Of an answer to a ranged GET, from its head alone. `etag` may be empty: any.
// Errors: kStale another ETag; kRange the object ends before; kProtocol not that range.
Status CheckRangeHead(const HttpHead& head, uint64_t offset, uint64_t size, std::string_view etag);
// "bytes 0-9/100": false when it is not that form, or contradicts itself.
bool ParseContentRange(std::string_view text, uint64_t* first, uint64_t* last, uint64_t* total);

// A range that is being read: how far it is, over all attempts.
struct RangeTarget {
  uint64_t offset = 0;
  uint64_t size = 0;
  std::string etag;  // of the first answer when none was given
  MutableByteSpan into;
  BodySink* sink = nullptr;
  uint64_t done = 0;
  uint64_t object_size = 0;
  std::optional<Error> sink_error;
};

class Exchange final {
 public:
  Exchange(std::string method, std::string key, CallOptions call)
      : method_(std::move(method)), key_(std::move(key)), call_(call) {}

  // What is asked for; set before it is performed.
  NameValues query;
  NameValues headers;
  std::string_view body;
  RangeTarget* range = nullptr;
  std::optional<RetryPolicy> policy;

  // The request of this attempt, signed.
  void Build(const Endpoint& endpoint, const Credentials* credentials, SentRequest sent);
  // `received`: bytes of the range that came, also in an attempt that failed.
  async::Task<Result<HttpResponse>> Send(HttpClient* http, HttpLink link, Nanos idle_limit,
                                         uint64_t* received);
  // Whether an answer of class 2xx is what was asked for.
  Status Check(const HttpResponse& answer) const;

  const std::string& method() const { return method_; }
  const std::string& key() const { return key_; }
  const CallOptions& call() const { return call_; }
  const SentRequest& sent() const { return sent_; }
  const Credentials& used() const { return used_; }
  const std::optional<Endpoint>& elsewhere() const { return elsewhere_; }
  void set_elsewhere(Endpoint endpoint) { elsewhere_ = std::move(endpoint); }
  uint32_t attempts = 0;

 private:
  std::string PayloadHash(bool encrypted) const;
  async::Task<Result<HttpResponse>> SendRange(HttpClient* http, HttpLink link, HttpRequest request,
                                              uint64_t* received);

  const std::string method_;
  const std::string key_;
  const CallOptions call_;
  SentRequest sent_;
  Credentials used_;
  std::optional<Endpoint> elsewhere_;  // after a redirect of this call alone
  PlainRequest plain_;
  std::string url_;
};

}  // namespace sheen::s3
