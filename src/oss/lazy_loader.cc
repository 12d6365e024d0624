#include "oss/lazy_loader.h"

#include <fmt/core.h>

#include <algorithm>

#include "async/shard.h"
#include "base/log.h"
#include "oss/lazy_flight.h"

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
    case Errc::kAgain:  // S3 did not answer the agent for too long
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
    demands_.fetch_add(1);
    const std::vector<Joined> joined = Join(place, missing, Urgency::kDemand);
    const std::optional<Error> failed = co_await AwaitAll(&joined, change);
    demand_ns_.store(async::Shard::Current()->Now().count(), std::memory_order_relaxed);
    demands_.fetch_sub(1);
    if (failed) co_return std::unexpected(*failed);
  }
  co_return Fail(Errc::kIo, place.key.id.ToString() +
                                ": what is brought from S3 is released again at once; try later");
}

// What ended a flight that somebody else began may be no reason for this one: its patience had
// begun earlier, or nobody was to wait for it. What S3 has said for good is one.
async::Task<std::optional<Error>> LazyLoader::AwaitAll(const std::vector<Joined>* joined,
                                                       bool change) {
  for (const Joined& one : *joined) {
    const Status brought = co_await one.flight->Wait();
    if (brought) continue;
    const bool passing = brought.error().code() == Errc::kUnavailable;
    if (!one.begun && (passing || one.flight->urgency != Urgency::kDemand) && !stopping_.load())
      continue;
    // A change waits for S3 as it would for a server: its bytes may have been accepted already.
    if (!passing || change || stopping_.load()) co_return brought.error();
    co_return Error(Errc::kIo, brought.error().message());
  }
  co_return std::nullopt;
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

std::vector<LazyLoader::Joined> LazyLoader::Join(const Place& place,
                                                 const ost::Target::Missing& missing,
                                                 Urgency urgency) {
  std::vector<Joined> joined;
  std::vector<FlightPointer> begun;
  std::vector<FlightPointer> met;
  {
    const std::scoped_lock lock(mutex_);
    for (size_t at = 0; at < missing.blocks.size();) {
      const auto known = flights_.find({place.key, missing.blocks[at]});
      if (known != flights_.end()) {
        joined.push_back({known->second, false});
        if (urgency == Urgency::kDemand) met.push_back(known->second);
        ++at;
        continue;
      }
      const bool ahead = urgency == Urgency::kAhead;
      if (ahead && prefetches_.load() >= kPrefetchFlightsMax) break;
      const Run run = NextRun(place, missing, at);
      auto flight = std::make_shared<Flight>();
      flight->first = run.first;
      flight->count = run.count;
      flight->number = ++flights_begun_;
      flight->urgency = urgency;
      flight->shard = async::Shard::Current();
      for (uint64_t i = 0; i < run.count; ++i) flights_[{place.key, run.first + i}] = flight;
      if (ahead) prefetches_.fetch_add(1);
      running_.fetch_add(1);
      joined.push_back({flight, true});
      begun.push_back(std::move(flight));
      at += run.count;
    }
  }
  for (const FlightPointer& flight : begun) {
    async::Shard::Current()->Spawn(Fly(place, missing.source, flight));
  }
  for (const FlightPointer& flight : met) Hasten(flight);
  return joined;
}

void LazyLoader::Hasten(const FlightPointer& flight) {
  if (flight->urgency == Urgency::kDemand || flight->hastened.exchange(true)) return;
  // Its own shard has the order, if it is still under way.
  if (flight->shard == async::Shard::Current()) {
    source_->Hasten(flight->number);
  } else {
    flight->shard->Post([this, number = flight->number] { source_->Hasten(number); });
  }
}

async::Task<Status> LazyLoader::FetchAndFill(Place place, const ost::ObjectSource* source,
                                             const Flight* flight) {
  const uint64_t begin = flight->first * ost::kResidencyBlockBytes;
  const uint64_t end =
      std::min((flight->first + flight->count) * ost::kResidencyBlockBytes, source->bytes);
  FetchOrder order{.id = flight->number,
                   .link = source->link,
                   .key = source->key,
                   .etag = source->etag,
                   .offset = source->FileOffset(begin),
                   .length = static_cast<uint32_t>(end - begin),
                   .urgency = flight->hastened.load() ? Urgency::kDemand : flight->urgency};
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
  if (flight->urgency == Urgency::kAhead) prefetches_.fetch_sub(1);
  flight->Finish(std::move(done));
  running_.fetch_sub(1);
}

async::Task<Status> LazyLoader::CheckSource(Place place) {
  SHEEN_CO_TRY_ASSIGN(const std::optional<ost::Residency> residency,
                      co_await place.target->GetResidency(place.io, place.key.id));
  if (!residency) co_return Status();
  const auto clean = std::ranges::find(residency->blocks, ost::BlockState::kClean);
  if (clean == residency->blocks.end()) co_return Status();
  if (source_ == nullptr) {
    co_return Fail(Errc::kIo, "this server has no agents; nothing was dropped");
  }
  const ost::ObjectSource& source = residency->source;
  const auto block = static_cast<uint64_t>(clean - residency->blocks.begin());
  FetchOrder order{.link = source.link,
                   .key = source.key,
                   .etag = source.etag,
                   .offset = source.FileOffset(block * ost::kResidencyBlockBytes),
                   .length = 1};
  running_.fetch_add(1);
  const Result<io::Buffer> byte = co_await source_->Fetch(std::move(order));
  running_.fetch_sub(1);
  if (byte) co_return Status();
  switch (byte.error().code()) {
    case Errc::kStale:
    case Errc::kNoEntry:
    case Errc::kRange:
      co_return Fail(Errc::kPerm, "S3 does not have it any more, what is here is kept: " +
                                      byte.error().ToString());
    default:
      co_return Fail(Errc::kIo, "S3 could not be asked whether it still has it, nothing was "
                                "dropped; try again: " + byte.error().ToString());
  }
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
  if (missing && !missing->blocks.empty())
    static_cast<void>(Join(place, *missing, Urgency::kAhead));
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
