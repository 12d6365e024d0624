#include "s3/client.h"

#include <fmt/format.h>

#include "base/random.h"
#include "s3/encoding.h"
#include "s3/exchange.h"

namespace sheen::s3 {
namespace {

constexpr const char* kDefaultRegion = "us-east-1";

Endpoint EndpointOr(const Result<Endpoint>& endpoint) { return endpoint ? *endpoint : Endpoint{}; }

// Of an answer of class 2xx that is not what was asked for.
Judgement JudgeMisfit(const SentRequest& sent, const Error& error) {
  const bool final = error.code() == Errc::kStale || error.code() == Errc::kRange;
  return {.verdict = final ? Verdict::kFinal : Verdict::kRetry,
          .error = Annotate(error, sent.what)};
}

}  // namespace

Client::Client(HttpClient* http, CredentialProvider* credentials, ClientOptions options)
    : http_(http),
      credentials_(credentials),
      options_(std::move(options)),
      link_(http->AddLink(options_.link)),
      region_(options_.region.empty() ? kDefaultRegion : options_.region),
      endpoint_(ResolveEndpoint(options_.endpoint, region_, options_.bucket, options_.addressing)),
      clock_offset_(options_.clock_offset) {}

std::string Client::region() const {
  std::lock_guard lock(mutex_);
  return region_;
}

async::Task<Status> Client::Prepare(Exchange* exchange) {
  Credentials keys;
  if (credentials_ != nullptr) {
    SHEEN_CO_TRY_ASSIGN(keys, co_await credentials_->Get());
  }
  SentRequest sent{.what = fmt::format("{} {}/{}", exchange->method(), options_.bucket,
                                       exchange->key())};
  Endpoint endpoint;
  {
    std::lock_guard lock(mutex_);
    if (!endpoint_) co_return std::unexpected(endpoint_.error());
    endpoint = exchange->elsewhere() ? *exchange->elsewhere() : *endpoint_;
    sent.region = region_;
    sent.clock = async::Shard::Current()->WallNow() + clock_offset_;
  }
  exchange->Build(endpoint, credentials_ != nullptr ? &keys : nullptr, std::move(sent));
  co_return Status();
}

async::Task<Client::Attempted> Client::Attempt(Exchange* exchange, RetryState* state,
                                               Nanos idle_limit) {
  Attempted out;
  const Status prepared = co_await Prepare(exchange);
  if (!prepared) {
    out.judgement = Judge(exchange->sent(), prepared.error());
    co_return out;
  }
  uint64_t received = 0;
  out.answer = co_await exchange->Send(http_, link_, idle_limit, &received);
  const SentRequest& sent = exchange->sent();
  out.judgement = out.answer ? Judge(sent, *out.answer) : Judge(sent, out.answer.error());
  if (received > 0) state->Progress(async::Shard::Current()->Now());
  RangeTarget* const range = exchange->range;
  if (range != nullptr && range->sink_error) {
    out.judgement = {.verdict = Verdict::kFinal, .error = *range->sink_error};
  }
  if (out.judgement.verdict == Verdict::kDone) {
    const Status fits = exchange->Check(*out.answer);
    if (!fits) out.judgement = JudgeMisfit(sent, fits.error());
  }
  if (range != nullptr) range->done += received;
  if (out.judgement.verdict == Verdict::kDone && range != nullptr && range->done < range->size) {
    out.judgement = JudgeMisfit(sent, Error(Errc::kDisconnected, "a short body"));
  }
  co_return out;
}

async::Task<Result<HttpResponse>> Client::Perform(Exchange* exchange) {
  async::Shard* const shard = async::Shard::Current();
  const RetryPolicy policy = exchange->policy.value_or(options_.retry);
  const Nanos idle_limit = std::min(policy.idle_limit, policy.progress_bound);
  Cancellation* const stop = exchange->call().stop;
  RetryState state(policy, shard->Now(), RandomU64());
  for (;;) {
    if (stop != nullptr && stop->cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
    Attempted tried = co_await Attempt(exchange, &state, idle_limit);
    exchange->attempts = state.attempts() + 1;
    if (tried.judgement.verdict == Verdict::kDone) co_return std::move(tried.answer);
    const RetryState::Next next = state.Decide(tried.judgement, shard->Now());
    if (!next.again) co_return std::unexpected(next.error);
    SHEEN_CO_TRY(Adopt(tried.judgement, exchange));
    if (next.delay > Nanos(0)) co_await SleepUnlessCancelled(shard, next.delay, stop);
  }
}

// Learns what the server has told, before the next attempt.
Status Client::Adopt(const Judgement& judgement, Exchange* exchange) {
  switch (judgement.verdict) {
    case Verdict::kFixClock: {
      const Nanos local = async::Shard::Current()->WallNow();
      SHEEN_LOG(Warn, "s3: the server's clock is {} s from this one's",
                std::chrono::duration_cast<std::chrono::seconds>(judgement.server_clock - local)
                    .count());
      std::lock_guard lock(mutex_);
      clock_offset_ = judgement.server_clock - local;
      return {};
    }
    case Verdict::kRefreshCredentials:
      if (credentials_ == nullptr) return std::unexpected(judgement.error);
      credentials_->Refused(exchange->used(), async::Shard::Current()->WallNow());
      return {};
    case Verdict::kRedirect:
      break;
    default:
      return {};
  }
  std::lock_guard lock(mutex_);
  if (!judgement.region.empty() && judgement.region != exchange->sent().region) {
    region_ = judgement.region;
    if (options_.endpoint.empty()) {
      endpoint_ = ResolveEndpoint("", region_, options_.bucket, options_.addressing);
    }
    return {};
  }
  const Endpoint from = exchange->elsewhere() ? *exchange->elsewhere() : EndpointOr(endpoint_);
  Result<Endpoint> next = FollowLocation(from, judgement.location);
  if (!next) return std::unexpected(Annotate(next.error(), exchange->sent().what));
  exchange->set_elsewhere(*std::move(next));
  return {};
}

async::Task<Result<HttpResponse>> Client::ProbeBucket(RetryPolicy policy) {
  Exchange exchange("GET", "", {});
  exchange.query = {{"list-type", "2"}, {"max-keys", "1"}};
  exchange.policy = policy;
  co_return co_await Perform(&exchange);
}

async::Task<Result<BucketInfo>> Client::CheckBucket() {
  const RetryPolicy policy{.progress_bound = std::chrono::seconds(10),
                           .idle_limit = std::chrono::seconds(5),
                           .attempts_max = 2};
  Exchange exchange("HEAD", "", {});
  exchange.policy = policy;
  Result<HttpResponse> answer = co_await Perform(&exchange);
  if (!answer) {
    const Errc code = answer.error().code();
    if (code == Errc::kConnectionRefused || code == Errc::kTimedOut ||
        code == Errc::kDisconnected) {
      co_return std::unexpected(answer.error());
    }
    // An answer to HEAD says no reason; one to GET does.
    Result<HttpResponse> reason = co_await ProbeBucket(policy);
    SHEEN_CO_TRY(reason);
    answer = std::move(reason);
  }
  co_return BucketInfo{.region = std::string(answer->head.Find("x-amz-bucket-region"))};
}

}  // namespace sheen::s3
