// How operations ask the servers: a message to a call, an answer to a message, and what a change
// does with the locks that this mount holds.
//
// Call on the shard of the ShardContext.
#pragma once

#include <string_view>
#include <utility>
#include <vector>

#include "client/shard_context.h"
#include "google/protobuf/message_lite.h"

namespace sheen::client {

rpc::Call MakeCall(rpc::Opcode opcode, CredentialId who,
                   const google::protobuf::MessageLite& request);

// The locks that came with an answer.
struct Granted {
  LockOrigin origin;
  std::vector<HeldLock> locks;

  uint32_t BitsOf(const Fid& fid) const;
};

// An answer and its body. Errors: kProtocol when the body is not a Reply.
template <class Reply>
struct Answered {
  Reply reply;
  uint64_t transno = 0;
  Granted granted;  // of the MDS
};

Granted GrantedIn(const ShardContext& context, const rpc::Answer& answer);
// The server has said no: nothing was changed.
bool IsRefusal(Errc code);
// Says in a request what the client has set aside (v1::LockedRequest), and has it stay so while the
// server may execute it, should it be given up.
void SetAside(ShardContext* context, const LockCache::Change& change, rpc::Call* call);
// It is not known what became of the change: the kernel keeps nothing of what it may have changed.
void GiveUp(ShardContext* context, const LockCache::Change& change);

Error BadReply(std::string_view from);

template <class Reply>
async::Task<Result<Answered<Reply>>> MdsCall(ShardContext* context, rpc::Call call) {
  SHEEN_CO_TRY_ASSIGN(const rpc::Answer answer, co_await context->Mds(std::move(call)));
  Answered<Reply> answered;
  if (!answered.reply.ParseFromString(answer.body)) co_return std::unexpected(BadReply("mds0"));
  answered.transno = answer.transno;
  answered.granted = GrantedIn(*context, answer);
  co_return answered;
}

// A request that changes what `change` names.
template <class Reply>
async::Task<Result<Answered<Reply>>> MdsChange(ShardContext* context, rpc::Call call,
                                               LockCache::Change* change) {
  if (context->HasLocalOpens() && !co_await context->TellOpensOf(change->fids())) {
    change->Refused();
    co_return Fail(Errc::kTimedOut, "mds0 cannot be told in time what is open here");
  }
  SetAside(context, *change, &call);
  Result<Answered<Reply>> answered = co_await MdsCall<Reply>(context, std::move(call));
  if (!answered && IsRefusal(answered.error().code())) {
    change->Refused();
  } else if (!answered) {
    GiveUp(context, *change);
  }
  co_return answered;
}

template <class Reply>
async::Task<Result<Answered<Reply>>> OstCall(ShardContext* context, uint32_t ost, rpc::Call call) {
  SHEEN_CO_TRY_ASSIGN(const rpc::Answer answer, co_await context->Ost(ost, std::move(call)));
  Answered<Reply> answered;
  if (!answered.reply.ParseFromString(answer.body)) {
    co_return std::unexpected(BadReply("OST " + std::to_string(ost)));
  }
  answered.transno = answer.transno;
  co_return answered;
}

}  // namespace sheen::client
