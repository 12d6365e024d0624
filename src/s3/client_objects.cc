// Client's calls, one request each: what is asked for, and how the answer is read.

#include <fmt/format.h>

#include "s3/client.h"
#include "s3/encoding.h"
#include "s3/exchange.h"
#include "s3/xml.h"

namespace sheen::s3 {
namespace {

constexpr std::string_view kMetadataPrefix = "x-amz-meta-";

Result<ObjectInfo> InfoOf(const HttpHead& head) {
  ObjectInfo out;
  const std::optional<uint64_t> size = ParseNumber(head.Find("content-length"));
  if (!size) return Fail(Errc::kProtocol, "an answer without Content-Length");
  out.size = *size;
  out.etag = head.Find("etag");
  if (out.etag.empty()) return Fail(Errc::kProtocol, "an answer without ETag");
  const std::optional<Nanos> modified = ParseHttpDate(head.Find("last-modified"));
  if (!modified) return Fail(Errc::kProtocol, "an answer without Last-Modified");
  out.last_modified = *modified;
  out.version_id = head.Find("x-amz-version-id");
  if (out.version_id == "null") out.version_id.clear();
  out.storage_class = head.Find("x-amz-storage-class");
  const bool restored =
      head.Find("x-amz-restore").find("ongoing-request=\"false\"") != std::string_view::npos;
  const bool archived =
      IsArchived(out.storage_class) || !head.Find("x-amz-archive-status").empty();
  out.readable = !archived || restored;
  out.content_type = head.Find("content-type");
  for (const auto& [name, value] : head.headers) {
    if (!name.starts_with(kMetadataPrefix)) continue;
    out.metadata.emplace_back(name.substr(kMetadataPrefix.size()), value);
  }
  return out;
}

// What the listing may hold, and in which order: who splits a listing relies on it.
Status CheckPage(const ListPage& page, const ListRequest& request) {
  const std::string* before = &request.start_after;
  for (const ListEntry& entry : page.entries) {
    if (!entry.key.starts_with(request.prefix)) {
      return Fail(Errc::kProtocol, "listing: a key without the prefix");
    }
    if (!before->empty() && entry.key <= *before) {
      return Fail(Errc::kProtocol, "listing: keys out of order");
    }
    before = &entry.key;
  }
  return {};
}

Status CheckKey(std::string_view key) {
  if (key.empty()) return Fail(Errc::kInvalid, "an empty key");
  if (key.size() > 1024) return Fail(Errc::kNameTooLong, "a key of more than 1024 bytes");
  return {};
}

}  // namespace

async::Task<Result<ObjectInfo>> Client::Head(HeadRequest request) {
  SHEEN_CO_TRY(CheckKey(request.key));
  Exchange exchange("HEAD", request.key, request.call);
  Result<HttpResponse> answer = co_await Perform(&exchange);
  SHEEN_CO_TRY(answer);
  Result<ObjectInfo> info = InfoOf(answer->head);
  if (!info) co_return std::unexpected(Annotate(info.error(), exchange.sent().what));
  co_return info;
}

async::Task<Result<RangeResult>> Client::GetRange(GetRangeRequest request, MutableByteSpan into) {
  if (into.size() != request.size) {
    co_return Fail(Errc::kInvalid, "a buffer of another size than the range");
  }
  co_return co_await Get(std::move(request), into, nullptr);
}

async::Task<Result<RangeResult>> Client::GetRange(GetRangeRequest request, BodySink* sink) {
  return Get(std::move(request), {}, sink);
}

async::Task<Result<RangeResult>> Client::Get(GetRangeRequest request, MutableByteSpan into,
                                             BodySink* sink) {
  SHEEN_CO_TRY(CheckKey(request.key));
  if (request.size == 0 || request.offset + request.size < request.offset) {
    co_return Fail(Errc::kInvalid, "an empty range, or one past the end of numbers");
  }
  RangeTarget range{.offset = request.offset,
                    .size = request.size,
                    .etag = request.etag,
                    .into = into,
                    .sink = sink};
  Exchange exchange("GET", request.key, request.call);
  exchange.range = &range;
  Result<HttpResponse> answer = co_await Perform(&exchange);
  SHEEN_CO_TRY(answer);
  RangeResult out{.etag = std::string(answer->head.Find("etag")), .attempts = exchange.attempts};
  uint64_t first = 0;
  uint64_t last = 0;
  if (!ParseContentRange(answer->head.Find("content-range"), &first, &last, &out.object_size)) {
    out.object_size = request.size;  // answered with the whole object
  }
  co_return out;
}

async::Task<Result<ListPage>> Client::List(ListRequest request) {
  Exchange exchange("GET", "", request.call);
  exchange.query = {{"list-type", "2"},
                    {"encoding-type", "url"},
                    {"max-keys", std::to_string(request.keys_max)}};
  const auto add = [&exchange](const char* name, const std::string& value) {
    if (!value.empty()) exchange.query.emplace_back(name, value);
  };
  add("prefix", request.prefix);
  add("delimiter", request.delimiter);
  add("start-after", request.start_after);
  add("continuation-token", request.token);
  Result<HttpResponse> answer = co_await Perform(&exchange);
  SHEEN_CO_TRY(answer);
  Result<ListPage> page = ParseListing(answer->body);
  if (page) {
    const Status checked = CheckPage(*page, request);
    if (!checked) page = std::unexpected(checked.error());
  }
  if (!page) co_return std::unexpected(Annotate(page.error(), exchange.sent().what));
  co_return page;
}

async::Task<Result<std::string>> Client::Put(PutRequest request) {
  SHEEN_CO_TRY(CheckKey(request.key));
  Exchange exchange("PUT", request.key, request.call);
  exchange.headers = {{"Content-Type", request.content_type}};
  for (const auto& [name, value] : request.metadata) {
    exchange.headers.emplace_back(std::string(kMetadataPrefix) + name, value);
  }
  if (!request.if_match.empty()) exchange.headers.emplace_back("If-Match", request.if_match);
  if (request.if_absent) exchange.headers.emplace_back("If-None-Match", "*");
  exchange.body = request.body;
  Result<HttpResponse> answer = co_await Perform(&exchange);
  SHEEN_CO_TRY(answer);
  co_return std::string(answer->head.Find("etag"));
}

async::Task<Status> Client::Delete(std::string key) {
  SHEEN_CO_TRY(CheckKey(key));
  Exchange exchange("DELETE", key, {});
  const Result<HttpResponse> answer = co_await Perform(&exchange);
  if (!answer && answer.error().code() != Errc::kNoEntry) {
    co_return std::unexpected(answer.error());
  }
  co_return Status();
}

}  // namespace sheen::s3
