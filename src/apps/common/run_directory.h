// Where daemons put the UNIX sockets by which programs of the same host ask them: one socket a
// daemon, named PROGRAM-PID.sock.
//
// $SHEEN_RUN_DIR if it is set; else $RUNTIME_DIRECTORY (systemd's); else /run/sheen for root and
// ~/.local/state/sheen/run for others.
#pragma once

#include <string>
#include <vector>

#include "sheen/result.h"

namespace sheen::apps {

// Made if missing. Errors: with what to do.
Result<std::string> MakeRunDirectory();
// Removes sockets that nobody listens on any more: of daemons that were killed.
void RemoveDeadSockets(const std::string& directory);
// Where an asking program looks: $SHEEN_RUN_DIR alone, or /run/sheen and the user's own.
std::vector<std::string> RunDirectories();
// Sockets of daemons there, by name. Those of daemons that were killed are among them.
std::vector<std::string> DaemonSockets();

}  // namespace sheen::apps
