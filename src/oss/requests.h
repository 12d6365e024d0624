// The requests of the data plane, opcodes 200 to 209 of rpc/frame.h: body in, body out.
//
// Thread-safe: runs on the calling shard, whose FileIo is `io`.
#pragma once

#include "async/task.h"
#include "io/file_io.h"
#include "oss/in_flight.h"
#include "ost/target.h"
#include "rpc/server.h"

namespace sheen::oss {

class Grants;
class LazyLoader;
class ObjectLocks;
class OpStats;
class OssService;
class ReplySlots;
class Uncommitted;

struct RequestContext {
  ost::Target* target = nullptr;
  io::FileIo* io = nullptr;
  bool checksums = true;  // sum what is read
  OssService* service = nullptr;
  ObjectLocks* locks = nullptr;
  Grants* grants = nullptr;
  Uncommitted* uncommitted = nullptr;
  ReplySlots* slots = nullptr;
  OpStats* stats = nullptr;
  Nanos* lock_wait = nullptr;  // gets the time waited for others' locks
  LazyLoader* lazy = nullptr;
  rpc::FaultPoints* faults = nullptr;
  rpc::Opcode opcode = rpc::Opcode::kPing;
  InFlight::Entry* in_flight = nullptr;
  const rpc::Session* session = nullptr;
};

// Always answers; an error's body says what happened and to what.
async::Task<rpc::Response> HandleRequest(RequestContext context, rpc::Request request);

}  // namespace sheen::oss
