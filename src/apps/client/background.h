// Background: how a mount command returns when the mount is usable and not before. The process
// forks; the child goes on to mount in a session of its own, the parent waits for its word.
//
// Call before any thread exists.
#pragma once

#include <string>

#include "sheen/result.h"

namespace sheen::apps {

struct ForkResult {
  bool is_parent = false;
  int exit_status = 0;  // parent: what main() returns
  int ready_fd = -1;    // child: for Daemon::set_ready_fd()
};

// Parent: returns when the child is ready (0) or has failed (32, and its error is on stderr).
// Child: stdin, stdout and stderr are /dev/null. `log` is named when the child dies without a word.
Result<ForkResult> ForkToBackground(const std::string& log);

}  // namespace sheen::apps
