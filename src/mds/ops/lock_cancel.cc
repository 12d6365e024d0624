// lock_cancel: locks that a client gives back unasked, of the connection that the request came by.
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status LockCancel(OpContext* context, const v1::LockList& request, v1::LockCancelReply*) {
  if (context->peer == nullptr) return {};
  for (const v1::InodeLock& lock : request.locks()) {
    context->core->locks->Release(context->peer->id(), FidOf(lock.fid()), lock.bits());
  }
  return {};
}

}  // namespace sheen::mds::ops
