#include "support/s3_stub/stub.h"

#include <algorithm>
#include <ctime>

namespace sheen::s3_stub {
namespace {

constexpr const char* kXmlHead = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

std::string HttpDate(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return text;
}

std::string IsoDate(int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[64];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S.000Z", &parts);
  return text;
}

// "bytes=a-b", "bytes=a-", "bytes=-n". False: not to be satisfied. No range: all of it.
bool ParseRange(std::string_view text, uint64_t size, uint64_t* first, uint64_t* last) {
  *first = 0;
  *last = size == 0 ? 0 : size - 1;
  if (!text.starts_with("bytes=") || text.find(',') != std::string_view::npos) return true;
  const std::string spec(text.substr(6));
  const size_t dash = spec.find('-');
  if (dash == std::string::npos) return true;
  if (dash == 0) {
    const uint64_t tail = std::strtoull(spec.c_str() + 1, nullptr, 10);
    *first = tail < size ? size - tail : 0;
    return size > 0 && tail > 0;
  }
  *first = std::strtoull(spec.c_str(), nullptr, 10);
  if (dash + 1 < spec.size()) {
    *last = std::min(*last, uint64_t(std::strtoull(spec.c_str() + dash + 1, nullptr, 10)));
  }
  return *first < size && *first <= *last;
}

bool EtagMatches(std::string_view condition, const std::string& etag) {
  if (condition == "*") return true;
  return condition == etag || "\"" + std::string(condition) + "\"" == etag;
}

}  // namespace

struct Stub::Call {
  std::string operation;
  std::string bucket;
  std::string key;
  std::map<std::string, std::string> query;
  bool head = false;
};

Stub::Stub(StubOptions options)
    : options_(std::move(options)), server_([this](const Request& r) { return Handle(r); }) {
  verifier_.region = options_.region;
  verifier_.identities[options_.access_key] = Identity{.secret = options_.secret_key};
}

Response Stub::Handle(const Request& request) {
  if (request.path.starts_with("/_stub/")) return Control(request);
  std::lock_guard lock(mutex_);
  ++counters_.requests;
  Response response = Answer(request);
  response.delay = std::max(response.delay, limits_.first_byte);
  response.headers.emplace_back("x-amz-request-id", "STUB" + std::to_string(++request_number_));
  response.headers.emplace_back(
      "Date", HttpDate(std::time(nullptr) + verifier_.clock_offset_seconds));
  response.headers.emplace_back("Server", "s3_stub");
  return response;
}

Response Stub::Answer(const Request& request) {
  Call call;
  S3Error error;
  if (!Understand(request, &call, &error)) return ErrorAnswer(error, request.method == "HEAD");
  ++counters_.operations[call.operation];
  if (OverRate()) {
    return ErrorAnswer({503, "SlowDown", "Please reduce your request rate."}, call.head);
  }
  if (const auto refused = VerifySignature(verifier_, request)) {
    Response response = ErrorAnswer(*refused, call.head);
    if (refused->code == "AuthorizationHeaderMalformed") {
      response.headers.emplace_back("x-amz-bucket-region", verifier_.region);
    }
    return response;
  }
  const Fault* const fault = TakeFault(call);
  Response response;
  if (fault != nullptr && fault->kind == "status") {
    const std::string code = fault->code.empty() ? "InternalError" : fault->code;
    return ErrorAnswer({static_cast<int>(fault->value), code, "ordered"}, call.head);
  }
  if (fault != nullptr && fault->kind == "redirect") {
    response = ErrorAnswer({301, "PermanentRedirect", "elsewhere"}, call.head);
    response.headers.emplace_back("x-amz-bucket-region", fault->code);
    return response;
  }
  if (fault != nullptr && fault->kind == "location") {
    response = ErrorAnswer({307, "TemporaryRedirect", "elsewhere"}, call.head);
    response.headers.emplace_back("Location", fault->code);
    return response;
  }
  response = Serve(request, call);
  if (fault != nullptr) Break(*fault, &response);
  return response;
}

bool Stub::Understand(const Request& request, Call* call, S3Error* error) {
  const auto path = Unescape(request.path, false);
  const auto query = QueryOf(request.query);
  *error = {400, "InvalidURI", "Couldn't parse the specified URI."};
  if (!path || !query || !path->starts_with('/')) return false;
  call->query = *query;
  call->head = request.method == "HEAD";
  std::string_view rest = std::string_view(*path).substr(1);
  std::string host(request.Find("host"));
  host.resize(std::min(host.find(':'), host.size()));
  if (host.ends_with("." + options_.domain)) {
    call->bucket = host.substr(0, host.size() - options_.domain.size() - 1);
  } else {
    const size_t slash = rest.find('/');
    call->bucket = rest.substr(0, slash);
    rest = slash == std::string_view::npos ? std::string_view() : rest.substr(slash + 1);
  }
  call->key = rest;
  const std::string& method = request.method;
  if (!call->key.empty()) {
    call->operation = method == "GET"      ? "get"
                      : method == "HEAD"   ? "head"
                      : method == "PUT"    ? "put"
                      : method == "DELETE" ? "delete"
                                           : "";
  } else if (method == "GET" && call->query["list-type"] == "2") {
    call->operation = "list";
  } else if (method == "HEAD" || method == "GET" || method == "PUT") {
    call->operation = "bucket";
  }
  *error = {405, "MethodNotAllowed", "The specified method is not allowed against this resource."};
  return !call->operation.empty();
}

bool Stub::OverRate() {
  if (limits_.requests_per_second <= 0) return false;
  const auto now = Clock::now();
  const double passed = std::chrono::duration<double>(now - request_time_).count();
  request_time_ = now;
  request_tokens_ = std::min(request_tokens_ + passed * limits_.requests_per_second,
                             std::max(limits_.requests_per_second / 10, 1.0));
  if (request_tokens_ < 1) return true;
  request_tokens_ -= 1;
  return false;
}

const Fault* Stub::TakeFault(const Call& call) {
  static const std::map<std::string, std::string> kMethods{
      {"get", "GET"}, {"list", "GET"}, {"head", "HEAD"}, {"put", "PUT"}, {"delete", "DELETE"}};
  for (auto fault = faults_.begin(); fault != faults_.end(); ++fault) {
    const auto method = kMethods.find(call.operation);
    const bool matches =
        (fault->key.empty() || fault->key == call.key) &&
        (fault->operation.empty() || fault->operation == call.operation) &&
        (fault->method.empty() || (method != kMethods.end() && method->second == fault->method));
    if (!matches) continue;
    if (fault->skip > 0) {
      --fault->skip;
      continue;
    }
    taken_ = *fault;
    if (fault->times > 0 && --fault->times == 0) faults_.erase(fault);
    ++counters_.faults;
    return &taken_;
  }
  return nullptr;
}

void Stub::Break(const Fault& fault, Response* response) {
  const auto header = [response](const std::string& wanted) -> std::string& {
    for (auto& [name, value] : response->headers) {
      if (name == wanted) return value;
    }
    return response->headers.emplace_back(wanted, "").second;
  };
  if (fault.kind == "cut") response->cut_after = fault.value;
  if (fault.kind == "stall") response->stall_after = fault.value;
  if (fault.kind == "reset") response->reset = true;
  if (fault.kind == "slow") response->delay = std::chrono::milliseconds(fault.value);
  if (fault.kind == "wrong_etag") header("ETag") = "\"00000000000000000000000000000000\"";
  if (fault.kind == "garbage") response->raw = "not HTTP at all\r\n\r\n";
  if (fault.kind == "short_range") response->source_bytes /= 2;
  if (fault.kind == "wrong_range") {
    std::string& range = header("Content-Range");
    range.insert(6, "1");
  }
  if (fault.kind == "error_body") {
    response->source = nullptr;
    response->body = std::string(kXmlHead) + "<Error><Code>InternalError</Code></Error>";
  }
}

Response Stub::Serve(const Request& request, const Call& call) {
  const auto bucket = buckets_.find(call.bucket);
  if (bucket == buckets_.end()) {
    return ErrorAnswer({404, "NoSuchBucket", "The specified bucket does not exist"}, call.head);
  }
  if (call.operation == "list") return List(call);
  if (call.operation == "bucket") return OfBucket(call);
  if (call.operation == "put") return Put(request, call);
  if (call.operation == "delete") {
    bucket->second->Remove(call.key);
    return Response{.status = 204};
  }
  KeyCounters& counters = counters_.keys[call.key];
  ++(call.head ? counters.heads : counters.gets);
  const std::optional<Object> object = bucket->second->Find(call.key);
  if (!object) {
    return ErrorAnswer({404, "NoSuchKey", "The specified key does not exist."}, call.head);
  }
  return Get(request, call, *object);
}

Response Stub::Get(const Request& request, const Call& call, const Object& object) {
  const std::string etag = object.EtagOf(call.key);
  const std::string_view condition = request.Find("if-match");
  if (!condition.empty() && !EtagMatches(condition, etag)) {
    return ErrorAnswer({412, "PreconditionFailed", "At least one of the pre-conditions failed"},
                       call.head);
  }
  const bool archived =
      object.storage_class == "GLACIER" || object.storage_class == "DEEP_ARCHIVE";
  if (archived && !call.head) {
    return ErrorAnswer({403, "InvalidObjectState", "Not valid for the object's storage class"},
                       false);
  }
  const std::string_view range = request.Find("range");
  uint64_t first = 0;
  uint64_t last = 0;
  if (!ParseRange(range, object.size, &first, &last)) {
    return ErrorAnswer({416, "InvalidRange", "The requested range is not satisfiable"}, call.head);
  }
  Response out{.status = range.empty() ? 200 : 206, .head = call.head};
  out.source_bytes = object.size == 0 ? 0 : last - first + 1;
  out.headers = {{"ETag", etag},
                 {"Last-Modified", HttpDate(object.modified)},
                 {"Accept-Ranges", "bytes"},
                 {"Content-Type", object.content_type}};
  if (!range.empty()) {
    out.headers.emplace_back("Content-Range", "bytes " + std::to_string(first) + "-" +
                                                  std::to_string(last) + "/" +
                                                  std::to_string(object.size));
  }
  if (!object.storage_class.empty()) {
    out.headers.emplace_back("x-amz-storage-class", object.storage_class);
  }
  for (const auto& [name, value] : object.metadata) {
    out.headers.emplace_back("x-amz-meta-" + name, value);
  }
  out.source = [key = call.key, object, first](uint64_t offset) -> std::string_view {
    if (object.bytes == nullptr) return SyntheticBytes(key, object, first + offset);
    return std::string_view(*object.bytes).substr(first + offset);
  };
  if (!call.head) {
    KeyCounters& counters = counters_.keys[call.key];
    counters.bytes += out.source_bytes;
    counters.ranges.emplace_back(first, out.source_bytes);
  }
  return out;
}

Response Stub::Put(const Request& request, const Call& call) {
  Bucket& bucket = *buckets_.at(call.bucket);
  const std::optional<Object> before = bucket.Find(call.key);
  const std::string_view if_match = request.Find("if-match");
  const bool must_be_absent = request.Find("if-none-match") == "*";
  ++counters_.keys[call.key].puts;
  if ((must_be_absent && before) ||
      (!if_match.empty() && (!before || !EtagMatches(if_match, before->EtagOf(call.key))))) {
    return ErrorAnswer({412, "PreconditionFailed", "At least one of the pre-conditions failed"},
                       false);
  }
  if (call.key.size() > 1024) {
    return ErrorAnswer({400, "KeyTooLongError", "Your key is too long"}, false);
  }
  Object object{.size = request.body.size(),
                .modified = std::time(nullptr),
                .bytes = std::make_shared<std::string>(request.body),
                .content_type = std::string(request.Find("content-type")),
                .storage_class = std::string(request.Find("x-amz-storage-class"))};
  for (const auto& [name, value] : request.headers) {
    if (name.starts_with("x-amz-meta-")) object.metadata.emplace_back(name.substr(11), value);
  }
  Response out{.headers = {{"ETag", object.EtagOf(call.key)}}};
  bucket.Put(call.key, std::move(object));
  return out;
}

Response Stub::OfBucket(const Call& call) {
  Response out{.headers = {{"x-amz-bucket-region", verifier_.region}}, .head = call.head};
  if (call.query.contains("location")) {
    out.body = std::string(kXmlHead) +
               "<LocationConstraint xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">" +
               (verifier_.region == "us-east-1" ? "" : verifier_.region) + "</LocationConstraint>";
  }
  return out;
}

Response Stub::ErrorAnswer(const S3Error& error, bool head) {
  ++counters_.errors[error.code];
  Response out{.status = error.status, .head = head};
  out.headers = {{"Content-Type", "application/xml"}};
  out.body = std::string(kXmlHead) + "<Error><Code>" + error.code + "</Code><Message>" +
             XmlText(error.message) + "</Message>" + error.extra + "<RequestId>STUB-E" +
             std::to_string(++request_number_) + "</RequestId></Error>";
  return out;
}

struct Stub::Listing {
  std::string prefix, delimiter, from;
  bool url = false;
  uint64_t keys_max = 1000;
  // Found.
  std::string xml, last;
  uint64_t count = 0;
  bool truncated = false;

  std::string Text(const std::string& key) const { return url ? Escape(key, true) : XmlText(key); }
};

Response Stub::List(const Call& call) {
  const auto get = [&call](const char* name) {
    const auto found = call.query.find(name);
    return found == call.query.end() ? std::string() : found->second;
  };
  const std::string token = get("continuation-token");
  const std::string after = token.empty() ? get("start-after") : token.substr(1);
  Listing listing{.prefix = get("prefix"),
                  .delimiter = get("delimiter"),
                  .url = get("encoding-type") == "url"};
  if (call.query.contains("max-keys")) {
    const uint64_t asked = std::strtoull(get("max-keys").c_str(), nullptr, 10);
    listing.keys_max = std::min(listing.keys_max, asked);
  }
  // The least key that may come: behind `after`, and not before the prefix.
  const std::string& prefix = listing.prefix;
  listing.from = std::max(after.empty() ? prefix : after + '\0', prefix);
  const std::string& delimiter = listing.delimiter;
  if (!delimiter.empty() && after.starts_with(prefix) && after.ends_with(delimiter)) {
    listing.from = std::max(listing.from, after + "\xff\xff");  // behind what was rolled up
  }
  Collect(call, &listing);
  Response out{.headers = {{"Content-Type", "application/xml"},
                           {"x-amz-bucket-region", verifier_.region}}};
  out.body = std::string(kXmlHead) +
             "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>" +
             XmlText(call.bucket) + "</Name><KeyCount>" + std::to_string(listing.count) +
             "</KeyCount><MaxKeys>" + std::to_string(listing.keys_max) + "</MaxKeys>" +
             (listing.url ? "<EncodingType>url</EncodingType>" : "") + "<IsTruncated>" +
             (listing.truncated ? "true" : "false") + "</IsTruncated>";
  if (listing.truncated) {
    out.body += "<NextContinuationToken>T" + XmlText(listing.last) + "</NextContinuationToken>";
  }
  out.body += listing.xml + "</ListBucketResult>";
  return out;
}

void Stub::Collect(const Call& call, Listing* listing) {
  const Bucket* const bucket = buckets_.at(call.bucket).get();
  const std::string& delimiter = listing->delimiter;
  Bucket::Cursor cursor(bucket, listing->from);
  while (!cursor.AtEnd() && cursor.key().starts_with(listing->prefix)) {
    if (listing->count == listing->keys_max) {
      listing->truncated = true;
      return;
    }
    ++listing->count;
    const std::string key = cursor.key();
    const size_t cut =
        delimiter.empty() ? std::string::npos : key.find(delimiter, listing->prefix.size());
    if (cut != std::string::npos) {
      listing->last = key.substr(0, cut + delimiter.size());
      listing->xml += "<CommonPrefixes><Prefix>" + listing->Text(listing->last) +
                      "</Prefix></CommonPrefixes>";
      cursor = Bucket::Cursor(bucket, listing->last + "\xff\xff");
      continue;
    }
    const Object& object = cursor.object();
    listing->last = key;
    listing->xml += "<Contents><Key>" + listing->Text(key) + "</Key><LastModified>" +
                    IsoDate(object.modified) + "</LastModified><ETag>" +
                    XmlText(object.EtagOf(key)) + "</ETag><Size>" + std::to_string(object.size) +
                    "</Size><StorageClass>" +
                    (object.storage_class.empty() ? "STANDARD" : object.storage_class) +
                    "</StorageClass></Contents>";
    cursor.Next();
  }
}

}  // namespace sheen::s3_stub
