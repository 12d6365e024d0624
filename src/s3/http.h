// HTTP/1.1 and HTTPS requests as coroutines, on libcurl.
//
//   HttpClient client;                                    // one thread, all connections
//   const HttpLink link = client.AddLink({.concurrency = 32});
//   const Result<HttpResponse> answer = co_await client.Fetch(link, {.url = "http://..."});
//
// Requests belong to a link, which bounds how many are under way, how many start a second and how
// many bytes a second come. Within a link who waits goes in the order of Priority; some of the
// places are kept for demands, and while there are demands prefetches have an eighth of the places;
// those that were under way before pause.
// Questions (HEADs of imports) carry no bytes: they may have places of their own.
// Bodies arrive in the caller's buffer, or in a sink that slows the sender down (the transfer is
// paused when kStreamBytesMax wait to be taken).
//
// Answers of any status are results; errors are what kept a whole answer from coming:
//   kConnectionRefused  no connection: refused, no route, unknown name
//   kPerm               TLS: the certificate is not accepted, or no common protocol
//   kDisconnected       connection lost, or a body shorter than announced
//   kTimedOut           `idle_limit` without a byte, or connect_limit
//   kFileTooBig  the body does not fit `into` or the limit of bodies kept
//   kCancelled, kInvalid (a URL that is none), kProtocol (not HTTP)
// Redirects are answers: who signs must sign anew.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "s3/cancellation.h"
#include "s3/haste.h"
#include "s3/signer.h"
#include "sheen/result.h"

namespace sheen::s3 {

// Somebody waits for it; it will be wanted soon (read-ahead, imports); whole files, some day;
// imports' questions, which are as kAhead where the link has no places for them.
enum class Priority : uint8_t { kDemand = 0, kAhead = 1, kPrefetch = 2, kQuestion = 3 };
inline constexpr size_t kPriorities = 4;

struct LinkOptions {
  uint32_t concurrency = 32;            // requests under way
  uint32_t kept_for_demand = 4;         // of these places; at most concurrency - 1
  uint32_t questions = 0;               // kQuestion under way, besides these; 0: among them
  double requests_per_second = 0;       // 0: no limit
  double bytes_per_second = 0;          // of bodies received; 0: no limit
  std::string ca_file;                  // PEM; empty: the system's
  std::string ca_directory;
  bool verify_tls = true;
  bool use_proxy = true;                // as http_proxy, https_proxy, no_proxy say
  Nanos connect_limit = std::chrono::seconds(5);
  // "host:port:address" of names that are not to be looked up (CURLOPT_RESOLVE).
  std::vector<std::string> resolve;
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;                      // percent-encoded; sent as it is
  NameValues headers;
  std::string_view body;                // of PUT and POST; must live until the call ends
  Priority priority = Priority::kDemand;
  Nanos idle_limit = std::chrono::seconds(20);
  Cancellation* stop = nullptr;
  Haste* haste = nullptr;
};

// Names in lower case, in the order they came.
struct HttpHead {
  int status = 0;
  NameValues headers;
  // First of that name; empty when there is none.
  std::string_view Find(std::string_view lower_name) const;
};

struct HttpResponse {
  HttpHead head;
  std::string body;  // what did not go elsewhere
};

// What to do with a body, decided from the head: give it to the sink or buffer, keep it in
// HttpResponse::body (errors), or end the transfer and answer with the head alone.
// Called on the client's thread: pure, quick.
enum class BodyUse : uint8_t { kTake, kKeep, kDrop };
using BodyFilter = std::function<BodyUse(const HttpHead&)>;

// Takes a body in order. Runs on the shard of the call; the next bytes come after it is through.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual async::Task<Status> Take(ByteSpan bytes) = 0;
};

struct HttpLink {
  uint32_t index = 0;
};

struct LinkCounters {
  uint64_t requests = 0;
  uint64_t body_bytes = 0;
  uint64_t connections = 0;  // opened; fewer than requests when they are reused
  uint32_t active = 0;
  uint32_t waiting = 0;
};

// Bytes of one streamed body that may wait for its sink.
inline constexpr size_t kStreamBytesMax = 1024 * 1024;
// Of a body that is kept.
inline constexpr size_t kKeptBodyBytesMax = 32 * 1024 * 1024;

class HttpEngine;

// Thread-safe: any shard may call; each call resumes on its own. Destroy it when no call is left.
class HttpClient final {
 public:
  HttpClient();
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  HttpLink AddLink(LinkOptions options);
  // For requests not yet begun; connections stay.
  void SetLimits(HttpLink link, LinkOptions options);
  LinkCounters Counters(HttpLink link) const;

  // The whole body in HttpResponse::body.
  async::Task<Result<HttpResponse>> Fetch(HttpLink link, HttpRequest request);
  // The body into `into`, from its beginning. `received` says how far, also when the call fails.
  // REQUIRES: `into` lives until the call ends.
  async::Task<Result<HttpResponse>> FetchInto(HttpLink link, HttpRequest request,
                                              BodyFilter filter, MutableByteSpan into,
                                              uint64_t* received);
  // The body into `sink`. An error of the sink ends the request and is the result.
  async::Task<Result<HttpResponse>> FetchStream(HttpLink link, HttpRequest request,
                                                BodyFilter filter, BodySink* sink,
                                                uint64_t* received);

 private:
  std::unique_ptr<HttpEngine> engine_;
};

}  // namespace sheen::s3
