#include "oss/lazy_loader.h"

#include <fmt/core.h>

#include <algorithm>
#include <coroutine>
#include <functional>

#include "async/shard.h"
#include "base/log.h"

namespace sheen::oss {
namespace {

// A release may take away what was just brought, so a reader looks again; not for ever.
constexpr int kAttemptsMax = 16;
constexpr size_t kStreamsMax = 8192;
constexpr size_t kFailuresMax = 64;
// Requests of one reader may overtake each other by so much.
constexpr uint64_t kOrderSlack = 1 << 20;
constexpr Nanos kStopLook = std::chrono::milliseconds(5);

}  // namespace

// Of a run of blocks: what its waiters wait for.
struct LazyLoader::Flight {
  uint64_t first = 0;
  uint64_t count = 0;
  bool prefetch = false;

  std::mutex mutex;  // guards what follows
  bool done = false;
  Status result;
  std::vector<std::function<void()>> waiters;

  void Finish(Status status) {
    std::vector<std::function<void()>> woken;
    {
      const std::scoped_lock lock(mutex);
      done = true;
      result = std::move(status);
      woken.swap(waiters);
    }
    for (const auto& wake : woken) wake();
  }

  auto Wait() {
    struct Awaiter {
      Flight* flight;
      bool await_ready() const noexcept { return false; }
      bool await_suspend(std::coroutine_handle<> caller) {
        const std::scoped_lock lock(flight->mutex);
        if (flight->done) return false;
        async::Shard* const shard = async::Shard::Current();
        flight->waiters.push_back([shard, caller] { shard->Post([caller] { caller.resume(); }); });
        return true;
      }
      Status await_resume() {
        const std::scoped_lock lock(flight->mutex);
        return flight->result;
      }
    };
    return Awaiter{this};
  }
};

namespace {

// What a reader can do something about keeps its name, and what passes is one; all else is an I/O
// error with a reason.
Errc ForWaiters(Errc code, bool stopping) {
  switch (code) {
    case Errc::kNoSpace:
      return code;
    case Errc::kUnavailable:
    case Errc::kTimedOut:
    case Errc::kDisconnected:
    case Errc::kConnectionRefused:
      return Errc::kUnavailable;
    default:
      return stopping ? Errc::kUnavailable : Errc::kIo;
  }
}

}  // namespace

LazyLoader::~LazyLoader() { SHEEN_ASSERT(running_.load() == 0); }

async::Task<Status> LazyLoader::Load(Place place, Range range, bool change) {
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    SHEEN_CO_TRY_ASSIGN(const ost::Target::Missing missing,
                        co_await place.target->FindMissing(place.io, place.key.id, range.offset,
                                                           range.length, change));
    if (missing.blocks.empty()) co_return Status();
    if (stopping_.load()) co_return Fail(Errc::kUnavailable, "the server is stopping");
    if (source_ == nullptr) {
      co_return Fail(Errc::kIo, fmt::format("'{}' is in S3, and this server has no agents",
                                            missing.source.key));
    }
    const std::vector<FlightPointer> flights = Join(place, missing, false);
    for (const FlightPointer& flight : flights) {
      const Status brought = co_await flight->Wait();
      if (brought) continue;
      // A change waits for S3 as it would for a server: its bytes may have been accepted already.
      const bool wait = change || stopping_.load();
      if (brought.error().code() != Errc::kUnavailable || wait) co_return brought;
      co_return Fail(Errc::kIo, brought.error().message());
    }
  }
  co_return Fail(Errc::kIo, place.key.id.ToString() +
                                ": what is brought from S3 is released again at once; try later");
}

LazyLoader::Run LazyLoader::NextRun(const Place& place, const ost::Target::Missing& missing,
                                    size_t at) const {
  const uint64_t per_row = missing.source.stripe_bytes / ost::kResidencyBlockBytes;
  Run run{missing.blocks[at], 1};
  while (run.count < kRunBlocks && at + run.count < missing.blocks.size()) {
    const uint64_t next = run.first + run.count;
    if (missing.blocks[at + run.count] != next || next % per_row == 0) break;
    if (flights_.contains({place.key, next})) break;
    ++run.count;
  }
  return run;
}

std::vector<LazyLoader::FlightPointer> LazyLoader::Join(const Place& place,
                                                        const ost::Target::Missing& missing,
                                                        bool prefetch) {
  std::vector<FlightPointer> joined;
  std::vector<FlightPointer> begun;
  {
    const std::scoped_lock lock(mutex_);
    for (size_t at = 0; at < missing.blocks.size();) {
      const auto known = flights_.find({place.key, missing.blocks[at]});
      if (known != flights_.end()) {
        joined.push_back(known->second);
        ++at;
        continue;
      }
      if (prefetch && prefetches_.load() >= kPrefetchFlightsMax) break;
      const Run run = NextRun(place, missing, at);
      auto flight = std::make_shared<Flight>();
      flight->first = run.first;
      flight->count = run.count;
      flight->prefetch = prefetch;
      for (uint64_t i = 0; i < run.count; ++i) flights_[{place.key, run.first + i}] = flight;
      if (prefetch) prefetches_.fetch_add(1);
      running_.fetch_add(1);
      joined.push_back(flight);
      begun.push_back(std::move(flight));
      at += run.count;
    }
  }
  for (const FlightPointer& flight : begun) {
    async::Shard::Current()->Spawn(Fly(place, missing.source, flight));
  }
  return joined;
}

async::Task<Status> LazyLoader::FetchAndFill(Place place, const ost::ObjectSource* source,
                                             const Flight* flight) {
  const uint64_t begin = flight->first * ost::kResidencyBlockBytes;
  const uint64_t end =
      std::min((flight->first + flight->count) * ost::kResidencyBlockBytes, source->bytes);
  FetchOrder order{.link = source->link,
                   .key = source->key,
                   .etag = source->etag,
                   .offset = source->FileOffset(begin),
                   .length = static_cast<uint32_t>(end - begin),
                   .prefetch = flight->prefetch};
  SHEEN_CO_TRY_ASSIGN(const io::Buffer bytes, co_await source_->Fetch(std::move(order)));
  if (bytes.size() != end - begin) {
    co_return Fail(Errc::kProtocol, fmt::format("the agent gave {} bytes of {}", bytes.size(),
                                                end - begin));
  }
  fetched_bytes_.fetch_add(bytes.size(), std::memory_order_relaxed);
  for (uint64_t at = begin; at < end; at += ost::kResidencyBlockBytes) {
    const uint64_t length = std::min(ost::kResidencyBlockBytes, end - at);
    const Status filled =
        co_await place.target->Fill(place.io, place.key.id, at / ost::kResidencyBlockBytes,
                                    source->etag, bytes.span().subspan(at - begin, length));
    SHEEN_CO_TRY(filled);
  }
  co_return Status();
}

async::Task<void> LazyLoader::Fly(Place place, ost::ObjectSource source, FlightPointer flight) {
  Status done = co_await FetchAndFill(place, &source, flight.get());
  if (!done) {
    const Error error = Annotate(
        done.error(), fmt::format("{}: object {}: '{}' from {} MiB on: ", place.target->name(),
                                  place.key.id.ToString(), source.key, flight->first));
    NoteFailure(source.key, error, async::Shard::Current()->WallNow().count());
    done = Fail(ForWaiters(error.code(), stopping_.load()), error.ToString());
  }
  {
    const std::scoped_lock lock(mutex_);
    for (uint64_t i = 0; i < flight->count; ++i) flights_.erase({place.key, flight->first + i});
  }
  if (flight->prefetch) prefetches_.fetch_sub(1);
  flight->Finish(std::move(done));
  running_.fetch_sub(1);
}

void LazyLoader::NoteRead(const Place& place, Range range) {
  if (source_ == nullptr || range.length == 0 || stopping_.load()) return;
  const uint64_t end_block = (range.offset + range.length) / ost::kResidencyBlockBytes;
  Range ahead;
  {
    const std::scoped_lock lock(mutex_);
    if (streams_.size() >= kStreamsMax && !streams_.contains(place.key)) streams_.clear();
    Stream& stream = streams_[place.key];
    const bool in_order = range.offset + kOrderSlack >= stream.next &&
                          range.offset <= stream.next + kOrderSlack && stream.hits > 0;
    if (!in_order) {
      stream = {range.offset + range.length, 1, end_block, 0};
      return;
    }
    ++stream.hits;
    stream.next = std::max(stream.next, range.offset + range.length);
    const uint64_t window = std::max(stream.window, kWindowMin);
    // In steps of half a window, so that requests are long.
    if (end_block + window / 2 < stream.ahead) return;
    stream.window = std::min(window * 2, kWindowMax);
    const uint64_t from = std::max(stream.ahead, end_block);
    stream.ahead = end_block + 1 + window;
    ahead = {from * ost::kResidencyBlockBytes,
             (stream.ahead - from) * ost::kResidencyBlockBytes};
  }
  running_.fetch_add(1);
  async::Shard::Current()->Spawn(ReadAhead(place, ahead));
}

async::Task<void> LazyLoader::ReadAhead(Place place, Range range) {
  const auto missing = co_await place.target->FindMissing(place.io, place.key.id, range.offset,
                                                          range.length, false);
  if (missing && !missing->blocks.empty()) static_cast<void>(Join(place, *missing, true));
  running_.fetch_sub(1);
}

void LazyLoader::NoteFailure(const std::string& key, const Error& error, int64_t wall_ns) {
  SHEEN_LOG(Error, "{}", error.ToString());
  const std::scoped_lock lock(mutex_);
  std::erase_if(failures_, [&key](const Failure& failure) { return failure.object == key; });
  failures_.push_back({key, error.ToString(), wall_ns});
  if (failures_.size() > kFailuresMax) failures_.pop_front();
}

std::vector<LazyLoader::Failure> LazyLoader::Failures() const {
  const std::scoped_lock lock(mutex_);
  return {failures_.begin(), failures_.end()};
}

async::Task<void> LazyLoader::Stop() {
  BeginStop();
  while (running_.load() != 0) co_await async::Shard::Current()->Sleep(kStopLook);
}

}  // namespace sheen::oss
