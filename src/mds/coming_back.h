// Who has come back after a restart: a session does with its first request that is no part of that
// (replays, resends, what is declared again). Each of those gives everybody more time, within
// Recovery::kLongest.
//
// Thread-safe.
#pragma once

namespace sheen::rpc {
struct Request;
}

namespace sheen::mds {

struct Core;
class ClientSession;

// For each request of a client, before it runs.
void NoteBack(Core* core, const rpc::Request& request, ClientSession* session);

}  // namespace sheen::mds
