#include "oss/change_once.h"

#include <fmt/core.h>

#include "oss/change_turn.h"
#include "oss/convert.h"
#include "oss/object_locks.h"
#include "oss/reply_slots.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

bool HasSlot(const rpc::Request& request) { return request.session && request.header.slot != 0; }

// A lock that stayed may have been called back since, from a client that had not heard of it: it is
// given up.
std::string WithoutLock(const RequestContext& context, const rpc::Request& request,
                        std::string body) {
  if (request.header.opcode != rpc::Opcode::kOstWrite) return body;
  v1::OstWriteRequest asked;
  v1::OstWriteReply reply;
  if (!reply.ParseFromString(body) || !reply.has_kept()) return body;
  if (asked.ParseFromString(request.body)) {
    const Result<layout::ObjectId> id = ObjectIdOf(asked.object());
    if (id) {
      context.locks->Release({request.header.target, *id},
                             {request.session->id(), asked.keep_lock()});
    }
  }
  reply.clear_kept();
  return reply.SerializeAsString();
}

// Of what an earlier life of the server has committed; to a replay: there is nothing to keep any
// more. All replies begin with the attributes.
rpc::Response ResponseOf(const ost::AnsweredRequest& answered, bool replay) {
  v1::OstTruncateReply reply;
  SetAttr(answered.attr, reply.mutable_attr());
  return {Errc::kOk, reply.SerializeAsString(), {}, replay ? 0 : answered.transno};
}

rpc::Response Late(const RequestContext& context, const rpc::Request& request) {
  // Its client knows the answer, and only has to learn that it is not lost.
  if (IsReplay(request)) return {};
  return rpc::Response::Of(
      Error(Errc::kStale, fmt::format("{}: request {} comes after its slot was used again",
                                      context.target->name(), request.header.xid)));
}

// The slot has gone on in this life of the server: a replay should have come before.
rpc::Response Overtaken(const RequestContext& context, const rpc::Request& request) {
  if (!IsReplay(request)) return Late(context, request);
  return rpc::Response::Of(
      Error(Errc::kLockLost, fmt::format("{}: request {} is repeated too late: its slot was used "
                                         "since the restart",
                                         context.target->name(), request.header.xid)));
}

}  // namespace

ost::RequestName NameOf(const rpc::Request& request) {
  if (!HasSlot(request)) return {};
  return {request.session->id(), request.header.slot, request.header.xid};
}

Status CheckSlot(const rpc::Request& request) {
  if (request.header.slot <= ReplySlots::kSlotMax) return {};
  return Fail(Errc::kProtocol, fmt::format("reply slot {} is too high", request.header.slot));
}

std::optional<rpc::Response> AnswerAgain(const RequestContext& context,
                                         const rpc::Request& request) {
  const rpc::FrameHeader& header = request.header;
  const bool again = (header.flags & (rpc::kResend | rpc::kReplay)) != 0;
  if (!again || !HasSlot(request)) return std::nullopt;
  const uint64_t session = request.session->id();
  if (auto memo = context.slots->Find(session, {header.target, header.slot})) {
    if (header.xid > memo->xid) return std::nullopt;
    if (header.xid < memo->xid) return Overtaken(context, request);
    return rpc::Response{Errc::kOk, WithoutLock(context, request, std::move(memo->body)), {},
                         memo->transno};
  }
  const auto answered = context.target->FindAnswered(session, header.slot);
  if (!answered || header.xid > answered->xid) return std::nullopt;
  if (header.xid < answered->xid) return Late(context, request);
  return ResponseOf(*answered, IsReplay(request));
}

void RememberAnswer(const RequestContext& context, const rpc::Request& request,
                    const rpc::Response& response) {
  if (!HasSlot(request)) return;
  context.slots->Set(request.session->id(), {request.header.target, request.header.slot},
                     {request.header.xid, response.transno, response.body});
}

}  // namespace sheen::oss
