#include "oss/lock_requests.h"

#include <fmt/core.h>

#include <vector>

#include "oss/convert.h"
#include "oss/grants.h"
#include "oss/messages.h"
#include "oss/object_locks.h"
#include "oss/service.h"
#include "sheen/v1/oss.pb.h"

namespace sheen::oss {
namespace {

using ResponseResult = Result<rpc::Response>;

Result<std::vector<ObjectLocks::Held>> HeldIn(
    const google::protobuf::RepeatedPtrField<v1::HeldLock>& locks) {
  std::vector<ObjectLocks::Held> held;
  held.reserve(static_cast<size_t>(locks.size()));
  for (const v1::HeldLock& wire : locks) {
    ObjectLocks::Held& one = held.emplace_back();
    one.key.target = wire.target();
    SHEEN_TRY_ASSIGN(one.key.id, ObjectIdOf(wire.object()));
    one.id = wire.lock();
    one.extent = {wire.range().start(), wire.range().end()};
    if (one.id == 0 || one.id > INT64_MAX || !one.extent.Valid()) {
      return Fail(Errc::kInvalid, fmt::format("lock {} on [{},{}) cannot be", one.id,
                                              one.extent.start, one.extent.end));
    }
  }
  return held;
}

}  // namespace

async::Task<ResponseResult> CancelLocks(RequestContext context, const rpc::Request* request) {
  v1::OstLockCancelRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const std::vector<ObjectLocks::Held> held, HeldIn(body.locks()));
  for (const ObjectLocks::Held& one : held) {
    context.locks->Release(one.key, {SessionOf(*request), one.id});
  }
  for (const v1::TargetGrant& grant : body.grants()) {
    ost::Target* const target = context.service->TargetOf(grant.target());
    if (target == nullptr) continue;
    context.grants->Return(target, SessionOf(*request), grant.bytes());
  }
  co_return Answer(v1::OstLockCancelReply());
}

async::Task<ResponseResult> DeclareLocks(RequestContext context, const rpc::Request* request) {
  v1::OstLockDeclareRequest body;
  SHEEN_CO_TRY(Parse(*request, &body));
  SHEEN_CO_TRY_ASSIGN(const std::vector<ObjectLocks::Held> held, HeldIn(body.locks()));
  for (const v1::TargetGrant& grant : body.grants()) {
    ost::Target* const target = context.service->TargetOf(grant.target());
    if (target == nullptr) continue;
    context.grants->Declare(target, SessionOf(*request), grant.bytes());
  }
  v1::OstLockDeclareReply reply;
  for (const uint64_t id : context.locks->Declare(SessionOf(*request), held)) reply.add_lost(id);
  co_return Answer(reply);
}

}  // namespace sheen::oss
