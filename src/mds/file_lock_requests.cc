#include "mds/file_lock_requests.h"

#include "mds/op_context.h"

namespace sheen::mds {
namespace {

using lock::FileLockOutcome;

constexpr int kReclaimMax = 65536;  // locks of one message

Status TakeFid(const v1::Fid& wire, Fid* fid) {
  *fid = FidOf(wire);
  if (fid->Valid()) return {};
  return Fail(Errc::kInvalid, "a file lock of no file");
}

lock::FileLock FromWire(const v1::FileLock& wire, uint64_t session) {
  constexpr uint32_t kNone = 255;  // FileLocks refuses it
  lock::FileLock out;
  out.owner.client = session;
  out.owner.owner = wire.owner();
  out.owner.kind = static_cast<lock::FileLockKind>(std::min(wire.kind(), kNone));
  out.type = static_cast<lock::FileLockType>(std::min(wire.type(), kNone));
  out.extent = {wire.start(), wire.end()};
  out.pid = wire.pid();
  return out;
}

template <class Request>
Result<Request> Parse(const rpc::Request& request) {
  Request message;
  if (message.ParseFromString(request.body)) return message;
  return Fail(Errc::kProtocol, "the request's body is no " + message.GetTypeName());
}

rpc::Response Answer(const google::protobuf::MessageLite& reply) {
  rpc::Response response;
  response.body = reply.SerializeAsString();
  return response;
}

void EvictAll(Core* core, const std::vector<uint64_t>& sessions) {
  if (core->eviction == nullptr) return;
  for (const uint64_t session : sessions) {
    core->eviction->Request(session, "its connections have ended, and another client waits for a "
                                     "file lock that it holds");
  }
}

Result<rpc::Response> Get(Core* core, const rpc::Request& request, uint64_t session) {
  SHEEN_TRY_ASSIGN(const auto message, Parse<v1::FileLockGetRequest>(request));
  Fid fid;
  SHEEN_TRY(TakeFid(message.fid(), &fid));
  const lock::FileLock wanted = FromWire(message.lock(), session);
  SHEEN_TRY_ASSIGN(const auto blocker, core->file_locks.Test(fid, wanted, core->Now()));
  v1::FileLockGetReply reply;
  if (blocker) {
    reply.set_other_client(blocker->owner.client != session);
    v1::FileLock* wire = reply.mutable_blocker();
    wire->set_kind(static_cast<uint32_t>(blocker->owner.kind));
    wire->set_type(static_cast<uint32_t>(blocker->type));
    wire->set_owner(blocker->owner.owner);
    wire->set_start(blocker->extent.start);
    wire->set_end(blocker->extent.end);
    wire->set_pid(blocker->pid);
  }
  return Answer(reply);
}

Result<rpc::Response> Set(Core* core, const rpc::Request& request,
                          const FileLockTable::Client& client) {
  SHEEN_TRY_ASSIGN(const auto message, Parse<v1::FileLockSetRequest>(request));
  Fid fid;
  SHEEN_TRY(TakeFid(message.fid(), &fid));
  const lock::FileLock wanted = FromWire(message.lock(), request.session->id());
  lock::FileLockRequest order;
  order.owner = wanted.owner;
  order.id = message.id();
  order.type = wanted.type;
  order.extent = wanted.extent;
  order.pid = wanted.pid;
  order.wait = message.wait();
  SHEEN_TRY_ASSIGN(const FileLockTable::SetAnswer set,
                   core->file_locks.Set(fid, order, client, core->Now()));
  EvictAll(core, set.lapsed);
  if (set.outcome == FileLockOutcome::kRefused && set.soon_free) {
    return Fail(Errc::kUnavailable, "the lock's holder has died and is being evicted");
  }
  v1::FileLockSetReply reply;
  reply.set_outcome(OutcomeToWire(set.outcome));
  reply.set_sequence(set.sequence);
  return Answer(reply);
}

Result<rpc::Response> Cancel(Core* core, const rpc::Request& request, uint64_t session) {
  SHEEN_TRY_ASSIGN(const auto message, Parse<v1::FileLockCancelRequest>(request));
  v1::FileLockCancelReply reply;
  reply.set_waited(
      core->file_locks.Cancel(FidOf(message.fid()), {session, message.id()}));
  return Answer(reply);
}

Result<rpc::Response> Reclaim(Core* core, const rpc::Request& request,
                              const FileLockTable::Client& client) {
  SHEEN_TRY_ASSIGN(const auto message, Parse<v1::FileLockReclaimRequest>(request));
  const uint64_t boot = core->mdt->superblock().boot;
  if (message.boot() != boot) {
    return Fail(Errc::kInvalid, "file locks were declared to boot " +
                                    std::to_string(message.boot()) + ", this is " +
                                    std::to_string(boot));
  }
  if (message.locks_size() > kReclaimMax) {
    return Fail(Errc::kInvalid, "more file locks are declared at once than may be");
  }
  const uint64_t session = request.session->id();
  std::vector<FileLockTable::Held> held;
  for (const auto& wire : message.locks()) {
    FileLockTable::Held& lock = held.emplace_back();
    SHEEN_TRY(TakeFid(wire.fid(), &lock.fid));
    lock.lock = FromWire(wire.lock(), session);
  }
  SHEEN_TRY_ASSIGN(const std::vector<uint32_t> lost,
                   core->file_locks.Reclaim(held, client));
  if (message.done()) core->file_locks.Declared(session);
  v1::FileLockReclaimReply reply;
  for (const uint32_t index : lost) reply.add_lost(index);
  return Answer(reply);
}

Result<rpc::Response> Dispatch(Core* core, const rpc::Request& request,
                               const ClientSession& session) {
  const FileLockTable::Client client{request.session, request.peer, &session.ended};
  switch (request.header.opcode) {
    case rpc::Opcode::kMdsFileLockGet:
      return Get(core, request, session.id());
    case rpc::Opcode::kMdsFileLockSet:
      return Set(core, request, client);
    case rpc::Opcode::kMdsFileLockCancel:
      return Cancel(core, request, session.id());
    default:
      return Reclaim(core, request, client);
  }
}

}  // namespace

bool IsFileLockRequest(rpc::Opcode opcode) {
  return opcode >= rpc::Opcode::kMdsFileLockGet && opcode <= rpc::Opcode::kMdsFileLockReclaim;
}

rpc::Response RunFileLockRequest(Core* core, const rpc::Request& request,
                                 const ClientSession& session) {
  Result<rpc::Response> response = Dispatch(core, request, session);
  if (!response) return rpc::Response::Of(response.error());
  return std::move(*response);
}

void OnClientIdle(Core* core, const rpc::Session& session) {
  if (core->file_locks.Lapse(session, core->Now())) EvictAll(core, {session.id()});
}

}  // namespace sheen::mds
