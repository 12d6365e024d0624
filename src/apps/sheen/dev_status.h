// What `sheen dev status` shows: each daemon of an instance, and whether it runs.
#pragma once

#include <string>

#include "apps/sheen/dev_state.h"

namespace sheen::apps {

// "running", "frozen", "stopped" (as it should be), "dead" (it should run).
std::string StateWord(const ProcessId& process);

std::string StatusAsText(const DevState& state);
// {"name", "directory", "fsname", "mount", "daemons": [{"name", "pid", "ports": {"data",
// "control"},
//  "directory", "log", "state"}]}; clients have no ports, and their mount point as directory.
std::string StatusAsJson(const DevState& state);

}  // namespace sheen::apps
