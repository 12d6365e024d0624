// Processes of `sheen dev`: starting a daemon and waiting for its word, knowing whether a process
// is still the one that was started, and ending it. A process is its pid and its start time; a pid
// that was given to somebody else meanwhile is never touched.
//
// Blocking; for a command's main thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/clock.h"
#include "sheen/result.h"

namespace sheen::apps {

struct ProcessId {
  pid_t pid = 0;            // 0: none
  uint64_t start_time = 0;  // clock ticks since boot: /proc/PID/stat, field 22
};

enum class ProcessState : uint8_t { kGone, kRunning, kFrozen };

ProcessState StateOf(const ProcessId& process);

struct SpawnOptions {
  std::string program;                 // path
  std::vector<std::string> arguments;  // without the program; `--ready-fd N` is put behind
  std::string log;                     // stdout and stderr are appended to it
};

// A daemon that has been started and has not said yet that it serves.
struct Spawned {
  ProcessId process;
  int ready_fd = -1;
  std::string program;
  std::string log;
};

Result<Spawned> Spawn(const SpawnOptions& options);
// Its ports as it says them. Takes the fd. Errors: what the daemon says; kTimedOut; then it is
// gone.
Result<std::map<std::string, int64_t>> WaitReady(Spawned spawned, Nanos patience);

// Sends `signal`; false when the process is gone.
Result<bool> Signal(const ProcessId& process, int signal);
// True when it is gone.
bool WaitGone(const ProcessId& process, Nanos patience);
// SIGSTOP is obeyed thread by thread, each when it runs next. True when all stand still, or when it
// is gone.
bool WaitFrozen(const ProcessId& process, Nanos patience);
// SIGTERM (SIGCONT before it), and SIGKILL after `patience`. True: it ended by itself.
Result<bool> Terminate(const ProcessId& process, Nanos patience);

// "KILL", "SIGTERM", "9". Errors: kInvalid.
Result<int> ParseSignal(const std::string& text);

// The directory of this program and where `name` is: beside it, or in the PATH.
// Errors: kNoEntry, with what to do.
Result<std::string> FindProgram(const std::string& name);

}  // namespace sheen::apps
