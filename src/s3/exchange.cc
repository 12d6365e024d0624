#include "s3/exchange.h"

#include <fmt/format.h>

#include <memory>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

bool IsSuccess(int status) { return status >= 200 && status < 300; }

// Remembers that it was the sink that failed, and not the transfer.
class WatchedSink final : public BodySink {
 public:
  explicit WatchedSink(RangeTarget* range) : range_(range) {}
  async::Task<Status> Take(ByteSpan bytes) override {
    Status taken = co_await range_->sink->Take(bytes);
    if (!taken) range_->sink_error = taken.error();
    co_return taken;
  }

 private:
  RangeTarget* const range_;
};

}  // namespace

bool ParseContentRange(std::string_view text, uint64_t* first, uint64_t* last, uint64_t* total) {
  if (!text.starts_with("bytes ")) return false;
  text.remove_prefix(6);
  const size_t dash = text.find('-');
  const size_t slash = text.find('/');
  if (dash == std::string_view::npos || slash == std::string_view::npos) return false;
  if (slash < dash) return false;
  const auto a = ParseNumber(text.substr(0, dash));
  const auto b = ParseNumber(text.substr(dash + 1, slash - dash - 1));
  const auto n = ParseNumber(text.substr(slash + 1));
  if (!a || !b || !n || *a > *b || *b >= *n) return false;
  *first = *a;
  *last = *b;
  *total = *n;
  return true;
}

Status CheckRangeHead(const HttpHead& head, uint64_t offset, uint64_t size, std::string_view etag) {
  const std::string_view answered = head.Find("etag");
  if (!etag.empty() && answered != etag) {
    return Fail(Errc::kStale, fmt::format("asked for ETag {}, got {}", etag, answered));
  }
  uint64_t first = 0;
  uint64_t last = 0;
  uint64_t total = 0;
  const auto length = ParseNumber(head.Find("content-length"));
  if (head.status == 200) {  // the whole object: will do when that is what was asked for
    if (offset == 0 && length == size) return {};
    return Fail(Errc::kProtocol, "the server does not keep to the range");
  }
  if (!ParseContentRange(head.Find("content-range"), &first, &last, &total)) {
    return Fail(Errc::kProtocol,
                fmt::format("Content-Range '{}' is none", head.Find("content-range")));
  }
  if (first == offset && total < offset + size && last + 1 == total) {
    return Fail(Errc::kRange, fmt::format("the object has {} bytes only", total));
  }
  if (first != offset || last != offset + size - 1 || (length && *length != size)) {
    return Fail(Errc::kProtocol, fmt::format("asked for {}-{}, got '{}' of {} bytes", offset,
                                             offset + size - 1, head.Find("content-range"),
                                             length.value_or(0)));
  }
  return {};
}

std::string Exchange::PayloadHash(bool encrypted) const {
  if (body.empty()) return std::string(kEmptyPayloadHash);
  return encrypted ? std::string(kUnsignedPayload) : Sha256Hex(body);
}

void Exchange::Build(const Endpoint& endpoint, const Credentials* credentials, SentRequest sent) {
  sent_ = std::move(sent);
  sent_.head = method_ == "HEAD";
  used_ = credentials != nullptr ? *credentials : Credentials{};
  plain_ = PlainRequest{.method = method_,
                        .host = endpoint.host,
                        .path = endpoint.PathOf(key_),
                        .query = query,
                        .headers = headers};
  if (range != nullptr) {
    const uint64_t first = range->offset + range->done;
    const uint64_t last = range->offset + range->size - 1;
    plain_.headers.emplace_back("Range", fmt::format("bytes={}-{}", first, last));
    if (!range->etag.empty()) plain_.headers.emplace_back("If-Match", range->etag);
  }
  if (credentials != nullptr) {
    const SigningScope scope{.region = sent_.region, .service = "s3", .wall = sent_.clock};
    Sign(&plain_, used_, scope, PayloadHash(endpoint.scheme == "https"));
  }
  url_ = endpoint.scheme + "://" + endpoint.host + PathAndQuery(plain_);
}

async::Task<Result<HttpResponse>> Exchange::Send(HttpClient* http, HttpLink link, Nanos idle_limit,
                                                 uint64_t* received) {
  *received = 0;
  HttpRequest request{.method = method_,
                      .url = url_,
                      .headers = plain_.headers,
                      .body = body,
                      .priority = call_.priority,
                      .idle_limit = idle_limit,
                      .stop = call_.stop,
                      .haste = call_.haste};
  if (range == nullptr) return http->Fetch(link, std::move(request));
  return SendRange(http, link, std::move(request), received);
}

async::Task<Result<HttpResponse>> Exchange::SendRange(HttpClient* http, HttpLink link,
                                                      HttpRequest request, uint64_t* received) {
  const uint64_t offset = range->offset + range->done;
  const uint64_t size = range->size - range->done;
  // Copies: runs on the client's thread, which is through with it when the call ends.
  auto seen = std::make_shared<std::string>();
  BodyFilter filter = [offset, size, etag = range->etag, seen](const HttpHead& head) {
    if (!IsSuccess(head.status)) return BodyUse::kKeep;
    *seen = head.Find("etag");
    return CheckRangeHead(head, offset, size, etag) ? BodyUse::kTake : BodyUse::kDrop;
  };
  Result<HttpResponse> answer;
  if (range->sink != nullptr) {
    WatchedSink sink(range);
    answer = co_await http->FetchStream(link, std::move(request), std::move(filter), &sink,
                                        received);
  } else {
    answer = co_await http->FetchInto(link, std::move(request), std::move(filter),
                                      range->into.subspan(range->done), received);
  }
  // What goes on after a cut must be of the same content.
  if (*received > 0 && range->etag.empty()) range->etag = *seen;
  co_return answer;
}

Status Exchange::Check(const HttpResponse& answer) const {
  if (range == nullptr) return {};
  return CheckRangeHead(answer.head, range->offset + range->done, range->size - range->done,
                        range->etag);
}

}  // namespace sheen::s3
