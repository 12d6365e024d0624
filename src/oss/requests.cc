#include "oss/requests.h"

#include <fmt/core.h>

#include <algorithm>

#include "oss/block_sums.h"
#include "oss/change_once.h"
#include "oss/change_turn.h"
#include "oss/convert.h"
#include "oss/lazy_requests.h"
#include "oss/lock_requests.h"
#include "oss/messages.h"
#include "oss/op_stats.h"
#include "oss/page_requests.h"
#include "oss/service.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

using ResponseResult = Result<rpc::Response>;

std::optional<rpc::FaultOrder> HitFault(const RequestContext& context, rpc::FaultStep step) {
  if (context.faults == nullptr) return std::nullopt;
  return context.faults->Hit(step, context.opcode);
}

async::Task<Status> MeetFault(rpc::FaultOrder fault) {
  if (fault.action != rpc::FaultAction::kDelay) {
    co_return Fail(Errc::kUnavailable, "a fault point refuses it");
  }
  co_await async::Shard::Current()->Sleep(std::chrono::milliseconds(fault.delay_ms));
  co_return Status();
}

// Returns when nobody else holds what conflicts.
async::Task<Result<ObjectLocks::Access>> EnterCounted(const RequestContext& context, ObjectKey key,
                                                      ObjectLocks::Wish wish) {
  const Nanos began = async::Shard::Current()->Now();
  Result<ObjectLocks::Access> access = co_await context.locks->Enter(key, wish);
  *context.lock_wait += async::Shard::Current()->Now() - began;
  const auto fault = HitFault(context, rpc::FaultStep::kLocked);
  if (!fault) co_return access;
  const Status met = co_await MeetFault(*fault);
  if (met) co_return access;
  if (access) access->DoNotKeep();
  co_return std::unexpected(met.error());
}

async::Task<Result<ObjectLocks::Access>> Enter(const RequestContext& context,
                                               const rpc::Request& request,
                                               const layout::ObjectId& id, lock::Mode mode,
                                               lock::Extent extent) {
  return EnterCounted(context, {request.header.target, id}, {SessionOf(request), mode, extent, 0});
}

async::Task<ResponseResult> Read(RequestContext context, const rpc::Request* request) {
  v1::OstReadRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(body.object()));
  SHEEN_CO_TRY(CheckIoRange(body.offset(), body.length()));
  const lock::Extent extent = ExtentOf(body.offset(), std::max(body.length(), 1U));
  SHEEN_CO_TRY_ASSIGN(ObjectLocks::Access access,
                      co_await Enter(context, *request, id, lock::Mode::kPr, extent));
  const bool pages_known = WillCallBack(context, *request, id, body.pages());
  io::Buffer bulk;
  if (body.length() > 0) bulk = io::Buffer::Allocate(body.length());
  SHEEN_CO_TRY_ASSIGN(
      ost::ReadResult result,
      co_await ReadPresent(context, &body, id, bulk.span()));
  if (result.bytes < body.length() && !access.unlocked()) {
    // Where the object ends is for all to say that hold bytes of it.
    access.End();
    SHEEN_CO_TRY_ASSIGN(access, co_await Enter(context, *request, id, lock::Mode::kPr,
                                               {extent.start, lock::kEof}));
    SHEEN_CO_TRY_ASSIGN(result, co_await ReadPresent(context, &body, id, bulk.span()));
  }
  bulk.Resize(result.bytes);
  v1::OstReadReply reply;
  reply.set_pages_known(pages_known);
  SetAttr(result.attr, reply.mutable_attr());
  if (context.checksums) {
    reply.set_block_bytes(layout::kBlockBytesDefault);
    AppendBlockSums(body.offset(), bulk.span(), layout::kBlockBytesDefault,
                    reply.mutable_block_crc());
  }
  rpc::Response response = Answer(reply);
  response.bulk = std::move(bulk);
  co_return std::move(response);
}

// Bytes that were held back go on at once under their lock; others when nobody is in the way. A
// lock to be kept needs a connection by which it can be called back.
async::Task<Result<ObjectLocks::Access>> EnterToWrite(RequestContext context,
                                                      const rpc::Request* request,
                                                      const v1::OstWriteRequest* body,
                                                      layout::ObjectId id, uint64_t length) {
  if (IsReplay(*request)) {
    SHEEN_CO_TRY(CheckReplay(context, *request));
    co_return ObjectLocks::Access();
  }
  const uint64_t session = SessionOf(*request);
  const ObjectKey key{request->header.target, id};
  const lock::Extent extent = ExtentOf(body->offset(), std::max<uint64_t>(length, 1));
  if (body->lock() != 0) {
    Result<ObjectLocks::Access> held =
        co_await context.locks->EnterHeld(key, {session, body->lock()}, extent);
    if (held || held.error().code() != Errc::kLockLost) co_return held;
    co_return Fail(Errc::kLockLost,
                   fmt::format("{}: object {}: the lock under which these bytes were held back was "
                               "taken away; others may have read or written since",
                               context.target->name(), id.ToString()));
  }
  ObjectLocks::Wish wish{session, lock::Mode::kPw, extent, 0};
  const std::shared_ptr<rpc::Peer>& peer = request->peer;
  const bool may_keep = peer && (peer->features() & rpc::kExtentLocks) != 0;
  const bool room = context.locks->kept_count() < context.locks->kept_max();
  if (may_keep && room && body->keep_lock() != 0 && body->keep_lock() <= INT64_MAX) {
    wish.keep = body->keep_lock();
  }
  SHEEN_CO_TRY_ASSIGN(ObjectLocks::Access access, co_await EnterCounted(context, key, wish));
  if (access.kept() && !co_await context.service->RememberHolder(session)) access.DoNotKeep();
  co_return access;
}

// Of what the request used and what it asks for.
uint64_t GrantMore(const RequestContext& context, const rpc::Request& request, uint64_t wanted) {
  // What others were granted before a restart is not known until they have said it.
  if (wanted == 0 || !request.session || context.locks->recovering()) return 0;
  return context.grants->Give(context.target, request.session->id(), wanted);
}

// An append goes where its client has seen the object end. That may be long ago: whoever was away
// has lost the lock under which it looked, and others may have appended since.
async::Task<Status> CheckAppend(RequestContext context, const rpc::Request& request,
                                const v1::OstWriteRequest& body, layout::ObjectId id) {
  if (!body.append() || IsReplay(request)) co_return Status();
  // It may have been made in an earlier boot, and its answer forgotten: that is where it ends.
  const bool again = (request.header.flags & rpc::kResend) != 0;
  if (again && context.service->IsOfEarlierBoot(SessionOf(request))) co_return Status();
  const Result<ost::ObjectAttr> attr = co_await context.target->GetAttr(context.io, id);
  if (!attr) co_return std::unexpected(attr.error());
  if (attr->size <= body.offset()) co_return Status();
  co_return Fail(Errc::kAgain, fmt::format("{}: object {} ends at {}, behind {}, where was to be "
                                           "appended",
                                           context.target->name(), id.ToString(), attr->size,
                                           body.offset()));
}

async::Task<ResponseResult> Write(RequestContext context, const rpc::Request* request) {
  v1::OstWriteRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  if (HasLasted(context, *request, body.replay_of())) co_return Answer(v1::OstWriteReply());
  SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(body.object()));
  const ByteSpan data = request->bulk.span();
  SHEEN_CO_TRY(CheckIoRange(body.offset(), data.size()));
  const Status sums = CheckBlockSums(body.offset(), data, body.block_bytes(), body.block_crc());
  if (!sums) {
    co_return std::unexpected(Annotate(
        sums.error(), fmt::format("{}: object {}: ", context.target->name(), id.ToString())));
  }
  ost::WriteArgs args;
  args.id = id;
  args.request = NameOf(*request);
  args.offset = body.offset();
  args.data = data;
  args.owner = OwnerOf(body.owner());
  args.ctime_seen_ns = body.ctime_seen_ns();
  args.create = body.handle() != 0;
  args.sync = body.sync();
  SHEEN_CO_TRY_ASSIGN(ObjectLocks::Access access,
                      co_await EnterToWrite(context, request, &body, id, data.size()));
  args.decided_ctime_ns = IsReplay(*request) ? body.decided_ctime_ns() : 0;
  args.replay = WasLost(context, *request, body.replay_of());
  const lock::Extent written = ExtentOf(body.offset(), std::max<uint64_t>(data.size(), 1));
  Result<ChangeTurn> turn =
      co_await BeginChange(context, request, id, access.kept().value_or(written));
  if (!turn) access.DoNotKeep();
  if (!turn) co_return std::unexpected(turn.error());
  const Status fits = co_await CheckAppend(context, *request, body, id);
  if (!fits) access.DoNotKeep();
  if (!fits) co_return std::unexpected(fits.error());
  args.granted =
      context.grants->Use(context.target, SessionOf(*request), body.granted_bytes());
  const bool pages_known = WillCallBack(context, *request, id, body.pages());
  Result<ost::ChangeResult> result = co_await WritePresent(context, &body.object(), args);
  if (!result) {
    access.DoNotKeep();
    co_return std::unexpected(result.error());
  }
  turn->End(result->transno);
  v1::OstWriteReply reply;
  SetAttr(result->attr, reply.mutable_attr());
  if (access.kept()) {
    reply.mutable_kept()->set_start(access.kept()->start);
    reply.mutable_kept()->set_end(access.kept()->end);
  }
  reply.set_grant(GrantMore(context, *request, body.grant_wanted()));
  reply.set_pages_known(pages_known);
  access.End();
  // Held back under a lock: nobody else has read there since it was given. Behind the end there are
  // no pages, and forgetting others would have that kernel take no size from an answer on its way.
  const bool over_old = body.lock() == 0 && body.offset() < result->size_before;
  if (over_old && OthersHavePages(context, *request, id)) {
    co_await RecallPages(context, request, id);
  }
  co_return Answer(reply, result->transno);
}

async::Task<Result<ost::ObjectAttr>> LookAt(RequestContext context, const rpc::Request* request,
                                            const v1::OstGetAttrRequest* body, int index,
                                            layout::ObjectId id) {
  ObjectLocks::Access access;
  if (body->look() == v1::LOOK_FLUSHED || body->look() == v1::LOOK_ALONE) {
    // What somebody holds back counts: it is written first.
    const lock::Mode mode = body->look() == v1::LOOK_ALONE ? lock::Mode::kPw : lock::Mode::kPr;
    SHEEN_CO_TRY_ASSIGN(access,
                        co_await Enter(context, *request, id, mode, lock::Extent::Whole()));
  }
  co_return co_await GetAttrPresent(context, &body->objects(index), id);
}

// Everything before the fence survives power loss when it returns. All objects are entered before
// one has the fence: that is one sync for all of them.
async::Task<Result<std::vector<ObjectLocks::Access>>> FenceAll(RequestContext context,
                                                               const rpc::Request* request,
                                                               std::vector<layout::ObjectId> ids,
                                                               uint32_t generation) {
  std::ranges::sort(ids);
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  std::vector<ObjectLocks::Access> alone;
  alone.reserve(ids.size());
  for (const layout::ObjectId& id : ids) {
    SHEEN_CO_TRY_ASSIGN(alone.emplace_back(),
                        co_await Enter(context, *request, id, lock::Mode::kPw,
                                       lock::Extent::Whole()));
  }
  SHEEN_CO_TRY(co_await context.target->Fence(context.io, std::move(ids), generation));
  SHEEN_CO_TRY(co_await context.target->Commit(context.io));
  co_return std::move(alone);
}

async::Task<ResponseResult> GetAttr(RequestContext context, const rpc::Request* request) {
  v1::OstGetAttrRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const std::vector<layout::ObjectId> ids, ObjectIdsOf(body.objects()));
  v1::OstGetAttrReply reply;
  std::vector<ObjectLocks::Access> alone;
  if (body.look() == v1::LOOK_FENCE) {
    SHEEN_CO_TRY_ASSIGN(alone, co_await FenceAll(context, request, ids,
                                                 body.owner().layout_generation()));
  }
  for (size_t i = 0; i < ids.size(); ++i) {
    SHEEN_CO_TRY_ASSIGN(const ost::ObjectAttr attr,
                        co_await LookAt(context, request, &body, static_cast<int>(i), ids[i]));
    SetAttr(attr, reply.add_attrs());
  }
  // Whatever is done with the objects, what kernels have of them is of no use; nobody reads them at
  // this generation any more. Without the accesses, which the write-back of pages waits for.
  alone.clear();
  if (body.look() == v1::LOOK_FENCE) {
    co_await RecallPagesSoon(context, request->header.target, ids);
  }
  co_return Answer(reply);
}

// All of an object.
async::Task<Result<ObjectLocks::Access>> EnterToChange(RequestContext context,
                                                       const rpc::Request* request,
                                                       layout::ObjectId id) {
  if (!IsReplay(*request)) {
    co_return co_await Enter(context, *request, id, lock::Mode::kPw, lock::Extent::Whole());
  }
  SHEEN_CO_TRY(CheckReplay(context, *request));
  co_return ObjectLocks::Access();
}

async::Task<ResponseResult> Truncate(RequestContext context, const rpc::Request* request) {
  v1::OstTruncateRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  if (HasLasted(context, *request, body.replay_of())) co_return Answer(v1::OstTruncateReply());
  ost::TruncateArgs args;
  args.request = NameOf(*request);
  SHEEN_CO_TRY_ASSIGN(args.id, ObjectIdOf(body.object()));
  if (body.create() && body.handle() == 0) {
    co_return Fail(Errc::kBadHandle, "only an open file's truncate makes an object");
  }
  args.size = body.size();
  args.owner = OwnerOf(body.owner());
  args.ctime_seen_ns = body.ctime_seen_ns();
  args.create = body.create();
  args.decided_ctime_ns = IsReplay(*request) ? body.decided_ctime_ns() : 0;
  args.replay = WasLost(context, *request, body.replay_of());
  SHEEN_CO_TRY_ASSIGN(ObjectLocks::Access access,
                      co_await EnterToChange(context, request, args.id));
  SHEEN_CO_TRY_ASSIGN(ChangeTurn turn,
                      co_await BeginChange(context, request, args.id, lock::Extent::Whole()));
  SHEEN_CO_TRY_ASSIGN(const ost::ChangeResult result,
                      co_await TruncatePresent(context, &body.object(), args));
  turn.End(result.transno);
  v1::OstTruncateReply reply;
  SetAttr(result.attr, reply.mutable_attr());
  access.End();
  if (OthersHavePages(context, *request, args.id)) co_await RecallPages(context, request, args.id);
  co_return Answer(reply, result.transno);
}

async::Task<ResponseResult> Allocate(RequestContext context, const rpc::Request* request) {
  v1::OstAllocateRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  if (HasLasted(context, *request, body.replay_of())) co_return Answer(v1::OstAllocateReply());
  ost::AllocateArgs args;
  args.request = NameOf(*request);
  SHEEN_CO_TRY_ASSIGN(args.id, ObjectIdOf(body.object()));
  args.offset = body.offset();
  args.length = body.length();
  args.mode = static_cast<int>(body.mode());
  args.owner = OwnerOf(body.owner());
  args.ctime_seen_ns = body.ctime_seen_ns();
  args.create = body.handle() != 0;
  args.decided_ctime_ns = IsReplay(*request) ? body.decided_ctime_ns() : 0;
  args.replay = WasLost(context, *request, body.replay_of());
  SHEEN_CO_TRY_ASSIGN(ObjectLocks::Access access,
                      co_await EnterToChange(context, request, args.id));
  SHEEN_CO_TRY_ASSIGN(ChangeTurn turn,
                      co_await BeginChange(context, request, args.id, lock::Extent::Whole()));
  SHEEN_CO_TRY_ASSIGN(const ost::ChangeResult result,
                      co_await AllocatePresent(context, &body.object(), args));
  turn.End(result.transno);
  v1::OstAllocateReply reply;
  SetAttr(result.attr, reply.mutable_attr());
  access.End();
  if (OthersHavePages(context, *request, args.id)) co_await RecallPages(context, request, args.id);
  co_return Answer(reply, result.transno);
}

// All of the target, whatever was named: one flush for many waiters.
async::Task<ResponseResult> Sync(RequestContext context, const rpc::Request* request) {
  v1::OstSyncRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY(co_await context.target->Commit(context.io));
  co_return Answer(v1::OstSyncReply());
}

async::Task<ResponseResult> Seek(RequestContext context, const rpc::Request* request) {
  v1::OstSeekRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(body.object()));
  SHEEN_CO_TRY_ASSIGN(
      const ObjectLocks::Access access,
      co_await Enter(context, *request, id, lock::Mode::kPr, lock::Extent::Whole()));
  SHEEN_CO_TRY_ASSIGN(const ost::SeekResult result,
                      co_await SeekPresent(context, &body.object(), id, body.offset(),
                                           body.hole()));
  v1::OstSeekReply reply;
  reply.set_found(result.found);
  reply.set_offset(result.offset);
  reply.set_size(result.size);
  co_return Answer(reply);
}

async::Task<ResponseResult> StatFs(RequestContext context, const rpc::Request* request) {
  v1::OstStatFsRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const ost::TargetSpace space, co_await context.target->Space(context.io));
  v1::OstStatFsReply reply;
  reply.set_bytes_total(space.bytes_total);
  reply.set_bytes_free(space.bytes_free);
  reply.set_bytes_available(space.bytes_available);
  reply.set_files_total(space.files_total);
  reply.set_files_free(space.files_free);
  co_return Answer(reply);
}

async::Task<ResponseResult> GetResidency(RequestContext context, const rpc::Request* request) {
  v1::OstResidencyRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const std::vector<layout::ObjectId> ids, ObjectIdsOf(body.objects()));
  v1::OstResidencyReply reply;
  for (size_t i = 0; i < ids.size(); ++i) {
    SHEEN_CO_TRY_ASSIGN(*reply.add_objects(),
                        co_await ResidencyOf(context, &body.objects(static_cast<int>(i)), ids[i]));
    if (reply.ByteSizeLong() > rpc::kBodyBytesMax / 2) {
      co_return Fail(Errc::kOverflow, "the map of these objects is too long for an answer");
    }
  }
  co_return Answer(reply);
}

// Takes no place among the accesses: whoever reads meanwhile has what is dropped brought again, and
// what somebody changes is not dropped.
async::Task<ResponseResult> Release(RequestContext context, const rpc::Request* request) {
  v1::OstReleaseRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const layout::ObjectId id, ObjectIdOf(body.object()));
  SHEEN_CO_TRY(co_await CheckStillInS3(context, id));
  SHEEN_CO_TRY_ASSIGN(const uint64_t bytes, co_await context.target->Release(context.io, id));
  v1::OstReleaseReply reply;
  reply.set_bytes(bytes);
  co_return Answer(reply);
}

async::Task<ResponseResult> Unknown(const rpc::Request* request) {
  co_return Fail(Errc::kNoSys, fmt::format("an object storage server does not know opcode {}",
                                           static_cast<uint16_t>(request->header.opcode)));
}

async::Task<ResponseResult> Change(RequestContext context, const rpc::Request* request) {
  switch (request->header.opcode) {
    case rpc::Opcode::kOstWrite:
      return Write(context, request);
    case rpc::Opcode::kOstTruncate:
      return Truncate(context, request);
    default:
      return Allocate(context, request);
  }
}

// Once, however often it comes.
async::Task<ResponseResult> ChangeOnce(RequestContext context, const rpc::Request* request) {
  SHEEN_CO_TRY(CheckSlot(*request));
  if (auto again = AnswerAgain(context, *request)) co_return std::move(*again);
  if (const auto fault = HitFault(context, rpc::FaultStep::kChanging)) {
    SHEEN_CO_TRY(co_await MeetFault(*fault));
  }
  ResponseResult changed = co_await Change(context, request);
  if (const auto fault = HitFault(context, rpc::FaultStep::kChanged)) {
    SHEEN_CO_TRY(co_await MeetFault(*fault));
  }
  if (changed) RememberAnswer(context, *request, *changed);
  co_return changed;
}

// Lazy: runs when awaited, while the caller's frame holds `request`.
async::Task<ResponseResult> Choose(RequestContext context, const rpc::Request* request) {
  switch (request->header.opcode) {
    case rpc::Opcode::kOstRead:
      return Read(context, request);
    case rpc::Opcode::kOstGetAttr:
      return GetAttr(context, request);
    case rpc::Opcode::kOstWrite:
    case rpc::Opcode::kOstTruncate:
    case rpc::Opcode::kOstAllocate:
      return ChangeOnce(context, request);
    case rpc::Opcode::kOstSync:
      return Sync(context, request);
    case rpc::Opcode::kOstSeek:
      return Seek(context, request);
    case rpc::Opcode::kOstStatFs:
      return StatFs(context, request);
    case rpc::Opcode::kOstLockCancel:
      return CancelLocks(context, request);
    case rpc::Opcode::kOstLockDeclare:
      return DeclareLocks(context, request);
    case rpc::Opcode::kOstResidency:
      return GetResidency(context, request);
    case rpc::Opcode::kOstRelease:
      return Release(context, request);
    default:
      return Unknown(request);
  }
}

}  // namespace

async::Task<rpc::Response> HandleRequest(RequestContext context, rpc::Request request) {
  const Nanos began = async::Shard::Current()->Now();
  Nanos lock_wait{0};
  context.lock_wait = &lock_wait;
  context.session = request.session.get();
  ResponseResult result = co_await Choose(context, &request);
  rpc::Response response =
      result ? std::move(*result) : rpc::Response::Of(result.error());
  context.stats->Note(request, response, context.target->name(), lock_wait,
                      async::Shard::Current()->Now() - began,
                      async::Shard::Current()->WallNow().count());
  co_return std::move(response);
}

}  // namespace sheen::oss
