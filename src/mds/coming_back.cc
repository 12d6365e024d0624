#include "mds/coming_back.h"

#include "mds/core.h"
#include "mds/session_map.h"
#include "rpc/server.h"

namespace sheen::mds {
namespace {

// Who comes back is not late before so long after each request of it.
constexpr Nanos kMore = std::chrono::seconds(5);

// Repeated, sent again, or declared again: of what is asked only when that is over nobody else
// needs to wait.
bool IsPartOfComingBack(const rpc::Request& request) {
  return (request.header.flags & (rpc::kReplay | rpc::kResend)) != 0 ||
         request.header.opcode == rpc::Opcode::kMdsOpen ||
         request.header.opcode == rpc::Opcode::kMdsFileLockReclaim;
}

}  // namespace

void NoteBack(Core* core, const rpc::Request& request, ClientSession* session) {
  if (!session->awaited.load(std::memory_order_relaxed)) return;
  session->NoteHeard();
  const bool coming_back = IsPartOfComingBack(request);
  // Once for each request: one that cannot be executed comes again and again.
  const uint64_t xid = request.header.xid;
  if (coming_back && session->extended_xid.exchange(xid) != xid) {
    core->recovery.Extend(core->Now() + kMore);
    core->file_locks.Extend(core->Now() + kMore);
  }
  if (coming_back || !session->awaited.exchange(false)) return;
  core->recovery.Back(session->id());
  const bool declares_file_locks =
      request.peer != nullptr && (request.peer->features() & rpc::kFileLocks) != 0;
  if (!declares_file_locks) core->file_locks.Declared(session->id());
}

Status CheckInTime(Core* core, const ClientSession& session) {
  if (!session.awaited.load() || core->recovery.Active(core->Now())) return {};
  return Fail(Errc::kStale, "what was answered before the restart is repeated too late: others may "
                            "have gone on without it");
}

}  // namespace sheen::mds
