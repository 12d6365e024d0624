#include "oss/lazy_requests.h"

#include <fmt/core.h>
#include <linux/falloc.h>

#include <algorithm>

#include "oss/convert.h"
#include "oss/lazy_loader.h"
#include "oss/service.h"

namespace sheen::oss {
namespace {

constexpr size_t kTextBytesMax = 1024;
// Between the look and the access a release may come.
constexpr int kAttemptsMax = 8;

// Bytes of stripe `stripe` when the file has `end` bytes.
uint64_t StripeBytes(uint64_t end, uint64_t stripe_bytes, uint32_t count, uint32_t stripe) {
  const uint64_t row = stripe_bytes * count;
  const uint64_t before = stripe_bytes * stripe;
  const uint64_t rest = end % row;
  const uint64_t last = rest > before ? std::min(rest - before, stripe_bytes) : 0;
  return end / row * stripe_bytes + last;
}

LazyLoader::Place PlaceOf(const RequestContext& context, const layout::ObjectId& id) {
  return {context.target, context.io, {context.target->superblock().ost_index, id}};
}

// The object exists when it returns, if it has a source.
async::Task<Status> Attach(RequestContext context, const v1::ObjectName* name, layout::ObjectId id,
                           ost::Owner owner) {
  SHEEN_CO_TRY_ASSIGN(std::optional<ost::ObjectSource> source, SourceOf(*name, id));
  if (!source) co_return Status();
  co_return co_await context.target->Attach(context.io, id, std::move(*source), owner);
}

// S3's largest object is smaller; the states of its blocks must fit into memory.
constexpr uint64_t kSourceBytesMax = 64ULL << 40;

// What is missing comes from S3. Meanwhile nobody waits for the end of the request (an eviction
// would wait for S3): so afterwards it is looked at anew whether its client may still ask.
async::Task<Status> Load(RequestContext context, layout::ObjectId id, LazyLoader::Range range,
                         bool change) {
  InFlight::Entry* const in_flight = context.in_flight;
  if (in_flight != nullptr) in_flight->Pause();
  const Status loaded = co_await context.lazy->Load(PlaceOf(context, id), range, change);
  if (in_flight == nullptr) co_return loaded;
  in_flight->Resume();
  SHEEN_CO_TRY(context.service->CheckFence(context.session));
  co_return loaded;
}

// A change of a block of which it covers a part, once it was answered, must never need S3 again
// when it is repeated after a restart: what was brought for it is committed first.
async::Task<Status> LoadForChange(RequestContext context, layout::ObjectId id,
                                  LazyLoader::Range range) {
  SHEEN_CO_TRY(co_await Load(context, id, range, true));
  SHEEN_CO_TRY_ASSIGN(const bool uncommitted,
                      co_await context.target->RestsOnFill(context.io, id, range.offset,
                                                           range.length));
  if (!uncommitted) co_return Status();
  co_return co_await context.target->Commit(context.io);
}

bool IsAbsent(const Error& error) { return error.code() == Errc::kAbsent; }

std::unexpected<Error> Restless(const layout::ObjectId& id) {
  return Fail(Errc::kIo, id.ToString() + ": what is brought from S3 is released again at once");
}

}  // namespace

Result<std::optional<ost::ObjectSource>> SourceOf(const v1::ObjectName& name,
                                                  const layout::ObjectId& id) {
  if (!name.has_source()) return std::optional<ost::ObjectSource>();
  const v1::ObjectSource& wire = name.source();
  const bool possible =
      !wire.key().empty() && wire.key().size() <= kTextBytesMax &&
      wire.etag().size() <= kTextBytesMax && wire.end() <= kSourceBytesMax &&
      wire.stripe_bytes() != 0 && wire.stripe_bytes() % ost::kResidencyBlockBytes == 0 &&
      wire.stripe_bytes() <= layout::kStripeBytesMax &&
      wire.stripe_count() <= layout::kStripeCountMax && id.stripe < wire.stripe_count();
  if (!possible) {
    return Fail(Errc::kInvalid, fmt::format("object {}: its source cannot be", id.ToString()));
  }
  ost::ObjectSource source;
  source.link = wire.link();
  source.key = wire.key();
  source.etag = wire.etag();
  source.stripe_bytes = wire.stripe_bytes();
  source.stripe_count = wire.stripe_count();
  source.stripe = id.stripe;
  source.bytes = StripeBytes(wire.end(), wire.stripe_bytes(), wire.stripe_count(), id.stripe);
  if (source.bytes == 0) return std::optional<ost::ObjectSource>();
  return std::optional(std::move(source));
}

async::Task<Result<ost::ReadResult>> ReadPresent(RequestContext context,
                                                 const v1::OstReadRequest* request,
                                                 layout::ObjectId id, MutableByteSpan out) {
  const v1::ObjectName* const name = &request->object();
  const uint64_t offset = request->offset();
  const uint32_t generation = request->layout_generation();
  if (!name->has_source()) {
    co_return co_await context.target->Read(context.io, id, offset, out, generation);
  }
  SHEEN_CO_TRY(co_await Attach(context, name, id, {}));
  const LazyLoader::Place place = PlaceOf(context, id);
  context.lazy->NoteRead(place, {offset, out.size()});
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    SHEEN_CO_TRY(co_await Load(context, id, {offset, out.size()}, false));
    Result<ost::ReadResult> read =
        co_await context.target->Read(context.io, id, offset, out, generation);
    if (read || !IsAbsent(read.error())) co_return read;
  }
  co_return Restless(id);
}

async::Task<Result<ost::ChangeResult>> WritePresent(RequestContext context,
                                                    const v1::ObjectName* name,
                                                    ost::WriteArgs args) {
  if (!name->has_source()) co_return co_await context.target->Write(context.io, args);
  Status ready = co_await Attach(context, name, args.id, args.owner);
  for (int attempt = 0; ready && attempt < kAttemptsMax; ++attempt) {
    ready = co_await LoadForChange(context, args.id, {args.offset, args.data.size()});
    if (!ready) break;
    Result<ost::ChangeResult> written = co_await context.target->Write(context.io, args);
    if (written || !IsAbsent(written.error())) co_return written;
    args.granted = 0;  // used up by the attempt
  }
  context.target->ReturnGrant(args.granted);
  if (!ready) co_return std::unexpected(ready.error());
  co_return Restless(args.id);
}

async::Task<Result<ost::ChangeResult>> TruncatePresent(RequestContext context,
                                                       const v1::ObjectName* name,
                                                       ost::TruncateArgs args) {
  SHEEN_CO_TRY_ASSIGN(std::optional<ost::ObjectSource> source, SourceOf(*name, args.id));
  // An object that is not cut need not be made for it.
  if (source && (args.create || args.size < source->bytes)) {
    SHEEN_CO_TRY(
        co_await context.target->Attach(context.io, args.id, std::move(*source), args.owner));
  }
  co_return co_await context.target->Truncate(context.io, args);
}

async::Task<Result<ost::ChangeResult>> AllocatePresent(RequestContext context,
                                                       const v1::ObjectName* name,
                                                       ost::AllocateArgs args) {
  if (!name->has_source()) co_return co_await context.target->Allocate(context.io, args);
  SHEEN_CO_TRY(co_await Attach(context, name, args.id, args.owner));
  const bool takes_away = (args.mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE)) != 0;
  for (int attempt = 0; attempt < kAttemptsMax; ++attempt) {
    if (takes_away) {
      SHEEN_CO_TRY(co_await LoadForChange(context, args.id, {args.offset, args.length}));
    }
    Result<ost::ChangeResult> done = co_await context.target->Allocate(context.io, args);
    if (done || !IsAbsent(done.error())) co_return done;
  }
  co_return Restless(args.id);
}

async::Task<Result<ost::ObjectAttr>> GetAttrPresent(RequestContext context,
                                                    const v1::ObjectName* name,
                                                    layout::ObjectId id) {
  SHEEN_CO_TRY_ASSIGN(ost::ObjectAttr attr, co_await context.target->GetAttr(context.io, id));
  if (attr.exists) co_return attr;
  SHEEN_CO_TRY_ASSIGN(const std::optional<ost::ObjectSource> source, SourceOf(*name, id));
  if (source) attr.exists = true;
  if (source) attr.size = source->bytes;
  co_return attr;
}

async::Task<Result<v1::ObjectResidency>> ResidencyOf(RequestContext context,
                                                     const v1::ObjectName* name,
                                                     layout::ObjectId id) {
  SHEEN_CO_TRY_ASSIGN(std::optional<ost::ObjectSource> source, SourceOf(*name, id));
  SHEEN_CO_TRY_ASSIGN(std::optional<ost::Residency> residency,
                      co_await context.target->GetResidency(context.io, id));
  v1::ObjectResidency out;
  if (!residency) {
    // One that exists has none either when no byte of it is in S3.
    SHEEN_CO_TRY_ASSIGN(const ost::ObjectAttr attr,
                        co_await context.target->GetAttr(context.io, id));
    if (!source || attr.exists) co_return out;
    residency = ost::Residency::AllAbsent(std::move(*source));
  }
  out.set_bytes(residency->source.bytes);
  for (const ost::BlockState state : residency->blocks) {
    const auto number = static_cast<uint32_t>(state);
    const int last = out.runs_size() - 1;
    if (last < 0 || out.runs(last).state() != number) out.add_runs()->set_state(number);
    v1::ResidencyRun* const run = out.mutable_runs(out.runs_size() - 1);
    run->set_blocks(run->blocks() + 1);
  }
  co_return out;
}

async::Task<Status> CheckStillInS3(RequestContext context, layout::ObjectId id) {
  InFlight::Entry* const in_flight = context.in_flight;
  if (in_flight != nullptr) in_flight->Pause();
  const Status there = co_await context.lazy->CheckSource(PlaceOf(context, id));
  if (in_flight != nullptr) {
    in_flight->Resume();
    SHEEN_CO_TRY(context.service->CheckFence(context.session));
  }
  co_return there;
}

async::Task<Result<ost::SeekResult>> SeekPresent(RequestContext context, const v1::ObjectName* name,
                                                 layout::ObjectId id, uint64_t offset, bool hole) {
  SHEEN_CO_TRY(co_await Attach(context, name, id, {}));
  co_return co_await context.target->Seek(context.io, id, offset, hole);
}

}  // namespace sheen::oss
