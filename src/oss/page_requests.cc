#include "oss/page_requests.h"

#include <algorithm>

#include "oss/change_turn.h"
#include "oss/convert.h"
#include "oss/object_locks.h"

namespace sheen::oss {
namespace {

// Who replaces a layout holds up all I/O on the file, and with it reads whose pages are locked.
constexpr Nanos kSoon = std::chrono::milliseconds(500);

}  // namespace

bool WillCallBack(const RequestContext& context, const rpc::Request& request,
                  const layout::ObjectId& id, uint64_t pages) {
  const std::shared_ptr<rpc::Peer>& peer = request.peer;
  // A replay's is of a life of the server that has been forgotten.
  if (pages == 0 || pages > INT64_MAX || !peer || IsReplay(request)) return false;
  if ((peer->features() & rpc::kExtentLocks) == 0) return false;
  return context.locks->pages()->Add({request.header.target, id}, {SessionOf(request), pages});
}

bool OthersHavePages(const RequestContext& context, const rpc::Request& request,
                     const layout::ObjectId& id) {
  return context.locks->pages()->HasOthers({request.header.target, id}, SessionOf(request));
}

async::Task<void> RecallPages(RequestContext context, const rpc::Request* request,
                              layout::ObjectId id) {
  co_await context.locks->RecallPages({request->header.target, id}, SessionOf(*request));
}

async::Task<void> RecallPagesSoon(RequestContext context, uint32_t target,
                                  std::vector<layout::ObjectId> ids) {
  // All are asked before one is waited for.
  for (const layout::ObjectId& id : ids) {
    co_await context.locks->RecallPages({target, id}, 0, Nanos(0));
  }
  const Nanos until = async::Shard::Current()->Now() + kSoon;
  for (const layout::ObjectId& id : ids) {
    const Nanos left = std::max(until - async::Shard::Current()->Now(), Nanos(0));
    co_await context.locks->RecallPages({target, id}, 0, left);
  }
}

}  // namespace sheen::oss
