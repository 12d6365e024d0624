// sync: answers when a transno, or everything so far, survives power loss.
#include <algorithm>

#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status Sync(OpContext* context, const v1::MdsSyncRequest& request, v1::MdsSyncReply* /*reply*/) {
  const uint64_t written = context->mdt().LastWritten();
  context->wait_committed = request.transno() == 0 ? written : std::min(request.transno(), written);
  return {};
}

}  // namespace sheen::mds::ops
