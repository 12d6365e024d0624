#include "s3/http.h"

#include "s3/http_engine.h"

namespace sheen::s3 {
namespace {

// The oldest piece that waits; empty: none. It counts as waiting until it has been taken.
std::string NextChunk(Transfer* transfer, bool* finished) {
  std::lock_guard lock(transfer->mutex);
  *finished = transfer->finished;
  if (transfer->chunks.empty()) return {};
  std::string chunk = std::move(transfer->chunks.front());
  transfer->chunks.pop_front();
  return chunk;
}

// True: there is room again for a sender that was paused.
bool ChunkTaken(Transfer* transfer, size_t bytes) {
  std::lock_guard lock(transfer->mutex);
  transfer->chunk_bytes -= bytes;
  return transfer->paused_for_sink && transfer->chunk_bytes <= kStreamBytesMax / 2;
}

// Gives what has come to the sink until the transfer has ended.
async::Task<Status> Drain(HttpEngine* engine, std::shared_ptr<Transfer> transfer, BodySink* sink) {
  const Cancellation* const stop = transfer->call.request.stop;
  Status taken;
  for (;;) {
    co_await transfer->News();
    bool finished = false;
    const std::string chunk = NextChunk(transfer.get(), &finished);
    if (chunk.empty() && finished) co_return taken;
    if (chunk.empty()) continue;
    if (taken && (stop == nullptr || !stop->cancelled())) {
      taken = co_await sink->Take(AsBytes(chunk));
      if (!taken && !finished) engine->Cancel(transfer);
    }
    if (ChunkTaken(transfer.get(), chunk.size())) engine->Resume(transfer);
  }
}

async::Task<Result<HttpResponse>> Run(HttpEngine* engine, HttpCall call, BodySink* sink,
                                      uint64_t* received) {
  if (received != nullptr) *received = 0;
  Cancellation* const stop = call.request.stop;
  if (stop != nullptr && stop->cancelled()) co_return Fail(Errc::kCancelled, "cancelled");
  auto transfer = std::make_shared<Transfer>(std::move(call), async::Shard::Current());
  Cancellation::Registration registration(stop, [engine, transfer] { engine->Cancel(transfer); });
  engine->Submit(transfer);
  const Haste::Registration haste(transfer->call.request.haste,
                                  [engine, transfer] { engine->Hasten(transfer); });
  Status taken;
  if (sink != nullptr) {
    taken = co_await Drain(engine, transfer, sink);
  } else {
    while (!transfer->Finished()) co_await transfer->News();
  }
  if (received != nullptr) *received = transfer->delivered;
  if (!taken) co_return std::unexpected(taken.error());
  co_return std::move(transfer->result);
}

}  // namespace

HttpClient::HttpClient() : engine_(std::make_unique<HttpEngine>()) {}
HttpClient::~HttpClient() = default;

HttpLink HttpClient::AddLink(LinkOptions options) {
  return HttpLink{engine_->AddLink(std::move(options))};
}

void HttpClient::SetLimits(HttpLink link, LinkOptions options) {
  engine_->SetLimits(link.index, std::move(options));
}

LinkCounters HttpClient::Counters(HttpLink link) const { return engine_->Counters(link.index); }

async::Task<Result<HttpResponse>> HttpClient::Fetch(HttpLink link, HttpRequest request) {
  HttpCall call{.request = std::move(request), .link = link.index};
  return Run(engine_.get(), std::move(call), nullptr, nullptr);
}

async::Task<Result<HttpResponse>> HttpClient::FetchInto(HttpLink link, HttpRequest request,
                                                        BodyFilter filter, MutableByteSpan into,
                                                        uint64_t* received) {
  HttpCall call{.request = std::move(request),
                .link = link.index,
                .to = HttpCall::To::kBuffer,
                .filter = std::move(filter),
                .into = into};
  return Run(engine_.get(), std::move(call), nullptr, received);
}

async::Task<Result<HttpResponse>> HttpClient::FetchStream(HttpLink link, HttpRequest request,
                                                          BodyFilter filter, BodySink* sink,
                                                          uint64_t* received) {
  HttpCall call{.request = std::move(request),
                .link = link.index,
                .to = HttpCall::To::kStream,
                .filter = std::move(filter)};
  return Run(engine_.get(), std::move(call), sink, received);
}

}  // namespace sheen::s3
