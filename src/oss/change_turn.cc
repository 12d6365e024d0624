#include "oss/change_turn.h"

#include <fmt/core.h>

#include "base/transno.h"
#include "oss/service.h"

namespace sheen::oss {
namespace {

constexpr Nanos kLook = std::chrono::milliseconds(1);

}  // namespace

bool IsReplay(const rpc::Request& request) { return (request.header.flags & rpc::kReplay) != 0; }

bool HasLasted(const RequestContext& context, const rpc::Request& request, uint64_t replay_of) {
  const uint64_t recovered = context.target->recovered_transno();
  return IsReplay(request) && replay_of <= recovered && BootOf(replay_of) == BootOf(recovered);
}

bool WasLost(const RequestContext& context, const rpc::Request& request, uint64_t replay_of) {
  return IsReplay(request) && replay_of > context.target->recovered_transno();
}

Status CheckReplay(const RequestContext& context, const rpc::Request& request) {
  if (request.session && context.locks->MayReplay(request.session->id())) return {};
  return Fail(Errc::kLockLost,
              fmt::format("{}: what was written before the restart is repeated too late: others "
                          "may have written since",
                          context.target->name()));
}

async::Task<Result<ChangeTurn>> BeginChange(RequestContext context, const rpc::Request* request,
                                            layout::ObjectId id, lock::Extent extent) {
  const bool keeps = request->peer && (request->peer->features() & rpc::kKeptWrites) != 0;
  const uint64_t session = request->session ? request->session->id() : 0;
  // After a restart it is waited for.
  if (keeps) SHEEN_CO_TRY(co_await context.service->RememberHolder(session));
  const ObjectKey key{request->header.target, id};
  uint64_t place = 0;
  ChangeTurn turn;
  for (;;) {
    const bool first = place == 0;
    const Uncommitted::Answer answer = context.uncommitted->Begin(
        key, session, extent, context.target->last_committed(), &place);
    if (first) turn = ChangeTurn(context.uncommitted, key, place);
    if (answer == Uncommitted::Answer::kGoOn) co_return std::move(turn);
    if (answer == Uncommitted::Answer::kCommit) {
      SHEEN_CO_TRY(co_await context.target->Commit(context.io));
    } else {
      co_await async::Shard::Current()->Sleep(kLook);
    }
  }
}

}  // namespace sheen::oss
