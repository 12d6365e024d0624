// What to do after an attempt: the rules, without I/O.
//
//   outcome                                          verdict
//   2xx                                              done
//   500, 502, 503, 504, 429, 408; connection lost,   again after a back-off, until `progress_bound`
//   refused or silent; a body cut short              has passed without a byte of progress
//   RequestTimeTooSkewed                             again with the server's clock
//   ExpiredToken and its kin, keys not known, a      again with credentials that are looked up
//   wrong signature, a HEAD refused                  anew, once
//   301, 307, 400 with another region                again there, three times at most
//   everything else                                  final: kNoEntry 404, kStale 412, ...
//
// Back-off: uniform in [0, min(cap, base * 2^n)) ("full jitter"), more for SlowDown.
//
// Pure; not thread-safe.
#pragma once

#include <cstdint>
#include <string>

#include "base/clock.h"
#include "base/random.h"
#include "s3/http.h"
#include "s3/xml.h"
#include "sheen/result.h"

namespace sheen::s3 {

struct RetryPolicy {
  Nanos progress_bound = std::chrono::seconds(60);
  Nanos idle_limit = std::chrono::seconds(15);  // of one attempt
  Nanos backoff_base = std::chrono::milliseconds(50);
  Nanos backoff_cap = std::chrono::seconds(5);
  uint32_t attempts_max = 0;                    // 0: the bound alone decides
};

enum class Verdict : uint8_t {
  kDone,
  kFinal,
  kRetry,
  kRetrySlower,
  kFixClock,
  kRefreshCredentials,
  kRedirect,
};

// How an answer that is no success is to be taken.
struct Judgement {
  Verdict verdict = Verdict::kFinal;
  Error error;             // when it ends the call
  ServiceError service;    // as far as the answer had one
  Nanos server_clock{0};   // kFixClock: its Date
  std::string region;      // kRedirect; may be empty
  std::string location;    // kRedirect; may be empty
};

// What the request was, as far as its answer must be read by it.
struct SentRequest {
  std::string what;             // "GET bucket/key", for messages
  bool head = false;            // answers of HEAD have no body to say a code
  std::string region;           // signed for
  Nanos clock{0};               // signed for
};

Judgement Judge(const SentRequest& sent, const HttpResponse& answer);
// Of a request that got no whole answer.
Judgement Judge(const SentRequest& sent, const Error& transport);

// The tries of one call.
class RetryState final {
 public:
  RetryState(const RetryPolicy& policy, Nanos now, uint64_t seed)
      : policy_(policy), last_progress_(now), random_(seed) {}

  void Progress(Nanos now) {
    last_progress_ = now;
    tries_ = 0;
  }
  struct Next {
    bool again = false;
    Nanos delay{0};
    Error error;  // when not again
  };
  // Counts the verdict, and says whether and when to try again.
  Next Decide(const Judgement& judgement, Nanos now);
  uint32_t attempts() const { return attempts_; }

 private:
  Next BackOff(const Judgement& judgement, Nanos now);

  const RetryPolicy policy_;
  Nanos last_progress_;
  Random random_;
  uint32_t attempts_ = 0;
  uint32_t tries_ = 0;  // since the last progress
  uint32_t refreshes_ = 0;
  uint32_t clock_fixes_ = 0;
  uint32_t redirects_ = 0;
};

}  // namespace sheen::s3
