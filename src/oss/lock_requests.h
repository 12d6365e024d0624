// kOstLockCancel and kOstLockDeclare: clients give locks back, or say what they hold: on any target
// of the server.
#pragma once

#include "async/task.h"
#include "oss/requests.h"

namespace sheen::oss {

async::Task<Result<rpc::Response>> CancelLocks(RequestContext context,
                                               const rpc::Request* request);
async::Task<Result<rpc::Response>> DeclareLocks(RequestContext context,
                                                const rpc::Request* request);

}  // namespace sheen::oss
