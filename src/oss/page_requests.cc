#include "oss/page_requests.h"

#include "oss/convert.h"
#include "oss/object_locks.h"

namespace sheen::oss {
namespace {

// Mapped pages are locked until their write-back is answered. Another mount that writes back pages
// of the same object cannot forget them before, so that two would wait for each other.
constexpr Nanos kWriteBackLimit = std::chrono::milliseconds(20);

}  // namespace

bool WillCallBack(const RequestContext& context, const rpc::Request& request,
                  const layout::ObjectId& id, uint64_t pages) {
  const std::shared_ptr<rpc::Peer>& peer = request.peer;
  if (pages == 0 || pages > INT64_MAX || !peer) return false;
  if ((peer->features() & rpc::kExtentLocks) == 0) return false;
  return context.locks->pages()->Add({request.header.target, id}, {SessionOf(request), pages});
}

bool OthersHavePages(const RequestContext& context, const rpc::Request& request,
                     const layout::ObjectId& id) {
  return context.locks->pages()->HasOthers({request.header.target, id}, SessionOf(request));
}

async::Task<void> RecallPages(RequestContext context, const rpc::Request* request,
                              layout::ObjectId id, bool write_back) {
  const Nanos limit = write_back ? kWriteBackLimit : Nanos::max();
  co_await context.locks->RecallPages({request->header.target, id}, SessionOf(*request), limit);
}

}  // namespace sheen::oss
