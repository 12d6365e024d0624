// A strict S3 for tests: every signature is verified, every fault can be ordered, everything is
// counted. As a library in unit tests, as the program s3_stub for scripts.
//
//   Stub stub({.access_key = "AK", .secret_key = "SK"});
//   stub.Start("127.0.0.1", 0);
//   stub.AddBucket("b").Add({.prefix = "k/", .count = 1'000'000});   // before requests come
//   stub.AddFault({.kind = "cut", .key = "k/7", .value = 1000});
//
// Calls: GET (Range, If-Match), HEAD, PUT (If-Match, If-None-Match: *), DELETE of objects; HEAD and
// location of buckets; ListObjectsV2. Path style, and virtual-host style below `domain`.
//
// Control, unsigned, JSON: GET /_stub/stats; POST /_stub/{faults,limits,objects,patterns,touch,
// identities,clock,reset}; DELETE /_stub/faults. tests/support/s3_stub/README.md.
//
// Thread-safe, except what AddBucket returns.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "support/s3_stub/http_server.h"
#include "support/s3_stub/signature.h"
#include "support/s3_stub/store.h"

namespace sheen::s3_stub {

struct StubOptions {
  std::string access_key = "stub-access-key";
  std::string secret_key = "stub-secret-key";
  std::string region = "us-east-1";
  std::string domain = "s3.stub.test";
};

// What is to go wrong, and when: with the requests that match, after `skip` of them, `times` times.
//   status       `value` (500 ...), `code`    an error answer
//   cut          `value` bytes of the body, then the end of the connection
//   stall        `value` bytes of the body, then nothing more
//   reset        no answer, RST
//   slow         `value` milliseconds to the first byte
//   wrong_etag   another object's ETag
//   wrong_range  Content-Range one byte off
//   short_range  fewer bytes than asked for, and said so in Content-Length alone
//   redirect     301 to the region `code`
//   location     307 to the URL `code`
//   garbage      something that is not HTTP
//   error_body   200 with an <Error>
struct Fault {
  std::string kind;
  std::string method;        // empty: any
  std::string key;           // empty: any; else the whole key
  std::string operation;     // empty: any; else as Counters::operations
  uint64_t skip = 0;
  uint64_t times = 1;        // 0: for ever
  uint64_t value = 0;
  std::string code;
};

struct Limits {
  std::chrono::milliseconds first_byte{0};
  Rates rates;
  double requests_per_second = 0;  // beyond: 503 SlowDown
};

struct KeyCounters {
  uint64_t gets = 0, heads = 0, puts = 0;
  uint64_t bytes = 0;                                    // of GET bodies, as asked for
  std::vector<std::pair<uint64_t, uint64_t>> ranges;     // offset and size, in the order they came
};

struct Counters {
  std::map<std::string, uint64_t> operations;  // "get", "head", "list", "put", "delete", "bucket"
  std::map<std::string, uint64_t> errors;      // by code, faults too
  std::map<std::string, KeyCounters> keys;
  uint64_t faults = 0;
  uint64_t requests = 0;
};

class Stub final {
 public:
  explicit Stub(StubOptions options);
  ~Stub() { server_.Stop(); }

  bool Start(const std::string& address, uint16_t port) { return server_.Start(address, port); }
  uint16_t port() const { return server_.port(); }
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port()); }
  uint64_t connections() const { return server_.connections(); }

  Bucket& AddBucket(const std::string& name);
  void AddFault(Fault fault);
  void ClearFaults();
  void SetLimits(Limits limits);
  void SetIdentity(const std::string& access_key, Identity identity);
  void SetClockOffset(int64_t seconds);
  void SetRegion(const std::string& region);
  bool Touch(const std::string& bucket, const std::string& key);
  // As if `json` were posted to /_stub/`what`. False: not understood.
  bool Order(const std::string& what, const std::string& json) {
    std::string answer;
    return Post(what, json, &answer);
  }
  Counters counters() const;
  void ResetCounters();

 private:
  struct Call;     // a request, as far as it is understood
  struct Listing;  // what is asked for, and what was found

  Response Handle(const Request& request);
  Response Answer(const Request& request);
  Response Control(const Request& request);
  bool Post(const std::string& what, const std::string& body, std::string* answer);
  std::string StatsJson() const;
  bool Understand(const Request& request, Call* call, S3Error* error);
  Response Serve(const Request& request, const Call& call);
  Response Get(const Request& request, const Call& call, const Object& object);
  Response Put(const Request& request, const Call& call);
  Response List(const Call& call);
  void Collect(const Call& call, Listing* listing);
  Response OfBucket(const Call& call);
  Response ErrorAnswer(const S3Error& error, bool head);
  bool OverRate();
  const Fault* TakeFault(const Call& call);
  static void Break(const Fault& fault, Response* response);

  const StubOptions options_;
  mutable std::mutex mutex_;  // guards everything below but server_
  std::map<std::string, std::unique_ptr<Bucket>> buckets_;
  std::vector<Fault> faults_;
  Fault taken_;
  Limits limits_;
  Verifier verifier_;
  Counters counters_;
  double request_tokens_ = 0;
  Clock::time_point request_time_{};
  uint64_t request_number_ = 0;
  HttpServer server_;
};

}  // namespace sheen::s3_stub
