#include "s3/retry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr uint32_t kRefreshesMax = 1;
constexpr uint32_t kClockFixesMax = 2;
constexpr uint32_t kRedirectsMax = 3;
// S3 refuses beyond 15 minutes; a HEAD that is refused does not say why.
constexpr Nanos kSkewSuspected = std::chrono::minutes(10);

bool OneOf(std::string_view code, std::initializer_list<std::string_view> codes) {
  return std::ranges::find(codes, code) != codes.end();
}

bool IsTransient(int status, std::string_view code) {
  if (status == 500 || status == 502 || status == 503 || status == 504) return true;
  if (status == 429 || status == 408) return true;
  return OneOf(code, {"RequestTimeout", "SlowDown", "InternalError", "ServiceUnavailable",
                      "ThrottlingException", "Throttling", "RequestLimitExceeded",
                      "OperationAborted", "ConditionalRequestConflict"});
}

bool IsSlowDown(int status, std::string_view code) {
  return status == 503 || status == 429 ||
         OneOf(code, {"SlowDown", "ThrottlingException", "Throttling", "RequestLimitExceeded"});
}

struct Row {
  std::string_view code;
  Errc errc;
};
constexpr std::array<Row, 17> kCodes{{
    {"NoSuchKey", Errc::kNoEntry},
    {"NoSuchVersion", Errc::kNoEntry},
    {"NoSuchBucket", Errc::kNoSuchDevice},
    {"InvalidBucketName", Errc::kNoSuchDevice},
    {"PreconditionFailed", Errc::kStale},
    {"InvalidRange", Errc::kRange},
    {"InvalidObjectState", Errc::kNoData},
    {"AccessDenied", Errc::kAccess},
    {"AllAccessDisabled", Errc::kAccess},
    {"AccountProblem", Errc::kAccess},
    {"InvalidAccessKeyId", Errc::kPerm},
    {"SignatureDoesNotMatch", Errc::kPerm},
    {"InvalidToken", Errc::kPerm},
    {"ExpiredToken", Errc::kPerm},
    {"KeyTooLongError", Errc::kNameTooLong},
    {"EntityTooLarge", Errc::kFileTooBig},
    {"MethodNotAllowed", Errc::kNotSupported},
}};

Errc ErrcOf(int status, std::string_view code) {
  for (const Row& row : kCodes) {
    if (row.code == code) return row.errc;
  }
  switch (status) {
    case 301:
    case 307: return Errc::kNotThisServer;
    case 401: return Errc::kPerm;
    case 403: return Errc::kAccess;
    case 404: return Errc::kNoEntry;
    case 405:
    case 501: return Errc::kNotSupported;
    case 409: return Errc::kBusy;
    case 412: return Errc::kStale;
    case 416: return Errc::kRange;
    default: break;
  }
  if (IsTransient(status, code)) return Errc::kUnavailable;
  return status >= 400 && status < 500 ? Errc::kInvalid : Errc::kProtocol;
}

bool ClockIsOff(const SentRequest& sent, const HttpResponse& answer, Judgement* out) {
  const std::optional<Nanos> date = ParseHttpDate(answer.head.Find("date"));
  if (!date) return false;
  const bool said = out->service.code == "RequestTimeTooSkewed";
  const Nanos apart = *date > sent.clock ? *date - sent.clock : sent.clock - *date;
  const bool suspected = sent.head && answer.head.status == 403 && apart > kSkewSuspected;
  if (!said && !suspected) return false;
  out->server_clock = *date;
  return true;
}

bool IsElsewhere(const SentRequest& sent, const HttpResponse& answer, Judgement* out) {
  const int status = answer.head.status;
  if (status != 301 && status != 307 && status != 308 && status != 400) return false;
  out->region = answer.head.Find("x-amz-bucket-region");
  if (out->region.empty()) out->region = out->service.region;
  out->location = answer.head.Find("location");
  const bool other_region = !out->region.empty() && out->region != sent.region;
  if (status == 400) {  // AuthorizationHeaderMalformed; a HEAD does not say so
    out->location.clear();
    return other_region;
  }
  return other_region || !out->location.empty();
}

// Of keys of whatever kind; an answer to HEAD does not say why.
bool CredentialsAreOld(const SentRequest& sent, const HttpResponse& answer,
                       std::string_view code) {
  if (OneOf(code, {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})) return true;
  // Keys of a file are exchanged now and then, by a new id or a new secret.
  if (OneOf(code, {"InvalidToken", "InvalidAccessKeyId", "SignatureDoesNotMatch"})) return true;
  return sent.head && (answer.head.status == 400 || answer.head.status == 403);
}

}  // namespace

Judgement Judge(const SentRequest& sent, const HttpResponse& answer) {
  const int status = answer.head.status;
  Judgement out;
  if (status >= 200 && status < 300) {
    out.verdict = Verdict::kDone;
    return out;
  }
  out.service = ParseServiceError(answer.body);
  if (out.service.request_id.empty()) {
    out.service.request_id = answer.head.Find("x-amz-request-id");
  }
  const std::string& code = out.service.code;
  std::string text = fmt::format("{}: {}", sent.what, status);
  if (!code.empty()) text += " " + code;
  if (!out.service.message.empty()) text += ": " + out.service.message;
  if (!out.service.request_id.empty()) text += " (request " + out.service.request_id + ")";
  out.error = Error(ErrcOf(status, code), std::move(text));
  if (ClockIsOff(sent, answer, &out)) {
    out.verdict = Verdict::kFixClock;
  } else if (IsElsewhere(sent, answer, &out)) {
    out.verdict = Verdict::kRedirect;
  } else if (CredentialsAreOld(sent, answer, code)) {
    out.verdict = Verdict::kRefreshCredentials;
  } else if (IsTransient(status, code)) {
    out.verdict = IsSlowDown(status, code) ? Verdict::kRetrySlower : Verdict::kRetry;
  }
  return out;
}

Judgement Judge(const SentRequest&, const Error& transport) {
  Judgement out;
  out.error = transport;
  switch (transport.code()) {
    case Errc::kConnectionRefused:
    case Errc::kDisconnected:
    case Errc::kTimedOut:
    case Errc::kProtocol:
      out.verdict = Verdict::kRetry;
      break;
    default:
      break;
  }
  return out;
}

RetryState::Next RetryState::Decide(const Judgement& judgement, Nanos now) {
  ++attempts_;
  switch (judgement.verdict) {
    case Verdict::kFixClock:
      if (clock_fixes_++ < kClockFixesMax) return {.again = true};
      break;
    case Verdict::kRefreshCredentials:
      if (refreshes_++ < kRefreshesMax) return {.again = true};
      break;
    case Verdict::kRedirect:
      if (redirects_++ < kRedirectsMax) return {.again = true};
      break;
    case Verdict::kRetry:
    case Verdict::kRetrySlower:
      return BackOff(judgement, now);
    case Verdict::kDone:
    case Verdict::kFinal:
      break;
  }
  return {.error = judgement.error};
}

RetryState::Next RetryState::BackOff(const Judgement& judgement, Nanos now) {
  const uint32_t doublings = std::min(tries_++, 20U);
  const int64_t base = policy_.backoff_base.count() *
                       (judgement.verdict == Verdict::kRetrySlower ? 4 : 1);
  const int64_t ceiling = std::min(base << doublings, policy_.backoff_cap.count());
  const Nanos delay(ceiling > 0 ? int64_t(random_.Below(uint64_t(ceiling))) : 0);
  const bool spent = policy_.attempts_max > 0 && attempts_ >= policy_.attempts_max;
  if (!spent && now + delay - last_progress_ < policy_.progress_bound) {
    return {.again = true, .delay = delay};
  }
  const double seconds = std::chrono::duration<double>(now - last_progress_).count();
  return {.error = Error(judgement.error.code(),
                         fmt::format("{}; given up after {} attempts, {:.1f} s without progress",
                                     judgement.error.message(), attempts_, seconds))};
}

}  // namespace sheen::s3
