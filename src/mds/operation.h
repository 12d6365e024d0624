// The operations by opcode, and the runner that takes one from request to answer:
//
//   Attempt on the shard, nothing blocks -> would block: Attempt on the BlockingPool
//                                        -> latch busy: parked in the latch's queue, then again
//                                        -> done: effects, wait for durability if asked, answer
//
// An attempt takes the latches known so far, looks in the reply slot whether the request has been
// executed before, runs the operation, and writes its batch with the slot's row in it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "async/task.h"
#include "mds/op_context.h"

namespace sheen::mds {

// Body of the request to body of the reply. May run several times.
using OperationFunction = Status (*)(OpContext* context, std::string_view body, std::string* reply);

// nullptr: not an operation of the MDS.
OperationFunction FindOperation(rpc::Opcode opcode);

// A request from a client.
// `waits` gets what it waited on.
async::Task<rpc::Response> RunRequest(Core* core, const rpc::Request* request, WaitTimes* waits);
// The server's own work, as superuser. `body` is what `function` takes.
async::Task<Status> RunInternal(Core* core, OperationFunction function, std::string body);

// ---- the server's own operations ----

// Body: FID key. Destroys an open-unlinked file that nobody has open.
Status ReapOrphan(OpContext* context, std::string_view body, std::string* reply);
// Body: FID key, session id, handle (big-endian): closes a handle of a session that ended.
Status DropHandle(OpContext* context, std::string_view body, std::string* reply);
std::string DropHandleBody(const Fid& fid, uint64_t session, uint64_t handle);

}  // namespace sheen::mds
