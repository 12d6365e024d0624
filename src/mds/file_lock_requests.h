// The requests about flock and fcntl locks: from message to FileLockTable and back. They are no
// operations over a transaction: nothing of them is on disk, they take no latch and no reply slot.
//
// Thread-safe.
#pragma once

#include <memory>

#include "mds/core.h"
#include "rpc/server.h"

namespace sheen::mds {

bool IsFileLockRequest(rpc::Opcode opcode);
// REQUIRES: IsFileLockRequest; the session is known and has not ended. Never waits.
rpc::Response RunFileLockRequest(Core* core, const rpc::Request& request,
                                 const ClientSession& session);
// All connections of the client ended a while ago.
void OnClientIdle(Core* core, const rpc::Session& session);

}  // namespace sheen::mds
