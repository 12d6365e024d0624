#include "s3/http_transfer.h"

#include <cstring>

#include "s3/encoding.h"

namespace sheen::s3 {
namespace {

constexpr long kReceiveBufferBytes = 256 * 1024;
constexpr size_t kHeadersMax = 256;

Errc ErrcOf(CURLcode code) {
  switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return Errc::kConnectionRefused;
    case CURLE_OPERATION_TIMEDOUT:
      return Errc::kTimedOut;
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_ISSUER_ERROR:
      return Errc::kPerm;
    case CURLE_URL_MALFORMAT:
      return Errc::kInvalid;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_UNSUPPORTED_PROTOCOL:  // an answer that looks like HTTP/0.9
      return Errc::kProtocol;
    case CURLE_OUT_OF_MEMORY:
      return Errc::kNoMemory;
    default:
      return Errc::kDisconnected;
  }
}

}  // namespace

std::string_view HttpHead::Find(std::string_view lower_name) const {
  for (const auto& [name, value] : headers) {
    if (name == lower_name) return value;
  }
  return {};
}

bool Transfer::SetUp(CURL* handle, const LinkOptions& options, curl_slist* resolve) {
  easy = handle;
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_PRIVATE, this);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, message);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, long(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kReceiveBufferBytes);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &Transfer::OnHeader);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, this);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &Transfer::OnBody);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, this);
  const long connect_ms = static_cast<long>(options.connect_limit.count() / 1'000'000);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, connect_ms);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, options.verify_tls ? 1L : 0L);
  curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options.verify_tls ? 2L : 0L);
  if (!options.ca_file.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());
  }
  if (!options.ca_directory.empty()) {
    curl_easy_setopt(easy, CURLOPT_CAPATH, options.ca_directory.c_str());
  }
  if (!options.use_proxy) curl_easy_setopt(easy, CURLOPT_PROXY, "");
  if (resolve != nullptr) curl_easy_setopt(easy, CURLOPT_RESOLVE, resolve);
  bool typed = false;
  for (const auto& [name, value] : call.request.headers) {
    typed |= Lower(name) == "content-type";
    // libcurl leaves a header without a value out, unless it ends with a semicolon.
    const std::string line = value.empty() ? name + ";" : name + ": " + value;
    header_list = curl_slist_append(header_list, line.c_str());
  }
  header_list = curl_slist_append(header_list, "Expect:");
  header_list = curl_slist_append(header_list, "Accept:");
  if (!typed) header_list = curl_slist_append(header_list, "Content-Type:");
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, header_list);
  SetBody();
  return curl_easy_setopt(easy, CURLOPT_URL, call.request.url.c_str()) == CURLE_OK;
}

void Transfer::SetBody() {
  const HttpRequest& request = call.request;
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (request.method == "PUT" || request.method == "POST") {
    const char* const body = request.body.empty() ? "" : request.body.data();
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else {
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
}

size_t Transfer::OnHeader(char* data, size_t size, size_t count, void* opaque) {
  auto* self = static_cast<Transfer*>(opaque);
  const std::string_view line = Trim({data, size * count});
  HttpHead& head = self->response.head;
  if (line.starts_with("HTTP/")) {  // also after a "100 Continue": what came before is void
    head = HttpHead{};
    const size_t blank = line.find(' ');
    if (blank == std::string_view::npos) return size * count;
    head.status = static_cast<int>(ParseNumber(line.substr(blank + 1, 3)).value_or(0));
    return size * count;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return size * count;
  if (head.headers.size() >= kHeadersMax) {
    return self->Refuse(Errc::kProtocol, "more headers than an answer may have");
  }
  head.headers.emplace_back(Lower(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  return size * count;
}

size_t Transfer::OnBody(char* data, size_t size, size_t count, void* opaque) {
  auto* self = static_cast<Transfer*>(opaque);
  const std::string_view bytes(data, size * count);
  if (bytes.empty()) return 0;
  if (!self->use) {
    const HttpCall& call = self->call;
    self->use = call.to == HttpCall::To::kKept ? BodyUse::kKeep
                : call.filter == nullptr       ? BodyUse::kTake
                                               : call.filter(self->response.head);
  }
  if (*self->use == BodyUse::kDrop) return 0;
  const bool take = *self->use == BodyUse::kTake;
  if (take && !self->engine->MayReceive(self)) return CURL_WRITEFUNC_PAUSE;
  size_t used;
  if (!take) {
    used = self->Keep(bytes);
  } else {
    used = self->call.to == HttpCall::To::kBuffer ? self->Copy(bytes) : self->Queue(bytes);
  }
  if (used == bytes.size()) {
    self->body_bytes += used;
    self->engine->Received(self, used);
  }
  return used;
}

size_t Transfer::Refuse(Errc code, std::string why) {
  failure = Error(code, std::move(why));
  return 0;  // ends the transfer
}

size_t Transfer::Keep(std::string_view bytes) {
  if (response.body.size() + bytes.size() > kKeptBodyBytesMax) {
    return Refuse(Errc::kFileTooBig, "the answer is longer than what is kept of one");
  }
  response.body += bytes;
  return bytes.size();
}

size_t Transfer::Copy(std::string_view bytes) {
  if (body_bytes + bytes.size() > call.into.size()) {
    return Refuse(Errc::kFileTooBig, "the answer is longer than what was asked for");
  }
  std::memcpy(call.into.data() + body_bytes, bytes.data(), bytes.size());
  return bytes.size();
}

size_t Transfer::Queue(std::string_view bytes) {
  std::lock_guard lock(mutex);
  if (chunk_bytes + bytes.size() > kStreamBytesMax) {
    paused_for_sink = true;
    return CURL_WRITEFUNC_PAUSE;
  }
  chunks.emplace_back(bytes);
  chunk_bytes += bytes.size();
  PostNewsLocked();
  return bytes.size();
}

uint64_t Transfer::Progress() const {
  curl_off_t up = 0;
  curl_off_t down = 0;
  long header_bytes = 0;
  curl_easy_getinfo(easy, CURLINFO_SIZE_UPLOAD_T, &up);
  curl_easy_getinfo(easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
  curl_easy_getinfo(easy, CURLINFO_HEADER_SIZE, &header_bytes);
  return static_cast<uint64_t>(up + down) + static_cast<uint64_t>(header_bytes);
}

void Transfer::Finish(CURLcode code) {
  if (failure) {
    Finish(failure->code(), failure->message());
  } else if (use == BodyUse::kDrop || (code == CURLE_OK && response.head.status != 0)) {
    Deliver(std::move(response));
  } else if (code == CURLE_OK) {
    Finish(Errc::kProtocol, "not an HTTP answer");
  } else {
    Finish(ErrcOf(code), message[0] != 0 ? message : curl_easy_strerror(code));
  }
}

void Transfer::Finish(Errc code, std::string why) {
  const std::string& url = call.request.url;
  Deliver(Fail(code, call.request.method + " " + url.substr(0, url.find('?')) + ": " + why));
}

void Transfer::Deliver(Result<HttpResponse> outcome) {
  if (header_list != nullptr) curl_slist_free_all(header_list);
  header_list = nullptr;
  std::lock_guard lock(mutex);
  if (use == BodyUse::kTake) delivered = body_bytes;
  result = std::move(outcome);
  finished = true;
  PostNewsLocked();
}

// Under the mutex, so that the coroutine cannot see the end, and end, and its shard with it,
// before the shard was posted to.
void Transfer::PostNewsLocked() {
  if (news_posted) return;
  news_posted = true;
  shard->Post([self = shared_from_this()] { self->OnNews(); });
}

void Transfer::OnNews() {
  {
    std::lock_guard lock(mutex);
    news_posted = false;
  }
  if (waiter) std::exchange(waiter, nullptr).resume();
}

}  // namespace sheen::s3
