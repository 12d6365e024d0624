// One request on its way: what the caller's coroutine and the client's thread share. Internal to
// HttpClient.
//
// Threads: `call` is set before submission and only read after it. Members named "engine side"
// belong to the client's thread, `waiter` to the shard, the rest is guarded by `mutex`. While
// `mutex` is held the shard's own queue may be posted to; nothing else is locked under it.
#pragma once

#include <curl/curl.h>

#include <coroutine>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "async/shard.h"
#include "s3/http.h"

namespace sheen::s3 {

struct HttpCall {
  enum class To : uint8_t { kKept, kBuffer, kStream };

  HttpRequest request;
  uint32_t link = 0;
  To to = To::kKept;
  BodyFilter filter;
  MutableByteSpan into;
};

class Transfer final : public std::enable_shared_from_this<Transfer> {
 public:
  Transfer(HttpCall what, async::Shard* owner)
      : call(std::move(what)), shard(owner), priority(call.request.priority) {}
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;

  // ---- shard ----
  // Resumes when something is to be taken or the end has come; also without cause.
  auto News() {
    struct Awaiter {
      Transfer* transfer;
      bool await_ready() const {
        std::lock_guard lock(transfer->mutex);
        return transfer->finished || !transfer->chunks.empty();
      }
      void await_suspend(std::coroutine_handle<> caller) { transfer->waiter = caller; }
      void await_resume() const noexcept {}
    };
    return Awaiter{this};
  }

  bool Finished() {
    std::lock_guard lock(mutex);
    return finished;
  }

  // ---- client's thread ----
  // Configures `easy` for this call. False: the URL or an option is refused.
  bool SetUp(CURL* handle, const LinkOptions& options, curl_slist* resolve);
  void Finish(CURLcode code);
  void Finish(Errc code, std::string message);
  // Bytes moved so far, either way: grows while there is progress.
  uint64_t Progress() const;

  HttpCall call;
  async::Shard* const shard;

  // Engine side.
  Priority priority;  // as it was asked for, until it is hastened
  CURL* easy = nullptr;
  curl_slist* header_list = nullptr;
  HttpResponse response;
  uint64_t body_bytes = 0;
  std::optional<BodyUse> use;      // what the filter said
  std::optional<Error> failure;    // why a callback ended the transfer
  char message[CURL_ERROR_SIZE] = {};
  uint64_t progress_seen = 0;
  Nanos progress_at{0};
  bool paused_for_sink = false;  // written under the mutex: the shard reads it
  bool paused_for_rate = false;
  // What the engine says to every received piece: true, it may be taken now.
  class Engine {
   public:
    virtual bool MayReceive(Transfer* transfer) = 0;
    virtual void Received(Transfer* transfer, size_t bytes) = 0;

   protected:
    ~Engine() = default;
  };
  Engine* engine = nullptr;

  std::mutex mutex;
  std::deque<std::string> chunks;
  size_t chunk_bytes = 0;
  bool finished = false;
  bool news_posted = false;
  Result<HttpResponse> result;
  // Of the body that went to the buffer or the sink; also when `result` is an error.
  uint64_t delivered = 0;

  // Shard side.
  std::coroutine_handle<> waiter;

 private:
  static size_t OnHeader(char* data, size_t size, size_t count, void* self);
  static size_t OnBody(char* data, size_t size, size_t count, void* self);
  size_t Keep(std::string_view bytes);
  size_t Copy(std::string_view bytes);
  size_t Queue(std::string_view bytes);
  size_t Refuse(Errc code, std::string message);
  void SetBody();
  void Deliver(Result<HttpResponse> outcome);
  void PostNewsLocked();
  void OnNews();
};

}  // namespace sheen::s3
