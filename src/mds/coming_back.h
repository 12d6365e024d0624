// Who has come back after a restart: a session does with its first request that is no part of that
// (replays, resends, what is declared again). Each of those gives everybody more time, within
// Recovery::kLongest.
//
// Thread-safe.
#pragma once

#include "sheen/result.h"

namespace sheen::rpc {
struct Request;
}

namespace sheen::mds {

struct Core;
class ClientSession;

// For each request of a client, before it runs.
void NoteBack(Core* core, const rpc::Request& request, ClientSession* session);

// Before a change that the session repeats is made once more. Errors: kStale, others may have gone
// on without it: the time for coming back is over, and the session had not come back in it.
Status CheckInTime(Core* core, const ClientSession& session);

}  // namespace sheen::mds
