// What every daemon does alike: log, signals, telling its starter that it serves, and ending in
// time.
//
//   Daemon daemon("sheen-mds", options);          // first thing in main(): before any thread
//   ... start ...
//   daemon.Ready({{"data_port", 7988}});
//   daemon.WaitForStop();                         // SIGTERM, SIGINT, or RequestStop()
//   ... stop ...                                  // ends the process after 10 s, if not told else
//
// RequestStop() is thread-safe; the rest belongs to the main thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "apps/common/settings.h"
#include "base/clock.h"
#include "sheen/result.h"

namespace sheen::apps {

// Exit status of a daemon whose command line, configuration file or target is not right.
inline constexpr int kExitMisconfigured = 2;

struct DaemonOptions {
  std::string log;  // a file; empty: stderr
  std::string log_level = "info";
  int64_t ready_fd = -1;
  int64_t shards = 0;  // 0: one for each usable core

  // --log, --log-level, --ready-fd, --shards.
  void AddTo(Settings* settings);
};

class Daemon final {
 public:
  // Blocks SIGTERM, SIGINT and SIGHUP for this thread and those it will start; ignores SIGPIPE.
  explicit Daemon(std::string program);
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Errors: kInvalid (log level), kIo (log file).
  Status OpenLog(const DaemonOptions& options);
  // One line on stderr, and in the log if that is a file. Returns main()'s answer: 2 when what was
  // configured is wrong, so that systemd does not try again, else 1. The starter that waits on the
  // ready fd is told too.
  int FailStart(const Error& error);

  // Tells who waits: "ready {"data_port":7988,...}\n" on the ready fd, READY=1 to systemd.
  void Ready(const std::map<std::string, int64_t>& ports);
  // SIGTERM or SIGINT has come and waits for WaitForStop(): for starts that take long.
  bool StopPending() const;
  struct StopLimits {
    Nanos signal = std::chrono::seconds(10);
    // Nanos::max(): as long as it takes, or until a signal comes, and then that limit.
    Nanos request = std::chrono::seconds(10);
  };
  // Returns when SIGTERM or SIGINT came (its name), or RequestStop() was called (its reason). From
  // then on the process has that limit to end; past it, it ends itself with status 1.
  std::string WaitForStop() { return WaitForStop(StopLimits()); }
  std::string WaitForStop(StopLimits limits);
  void RequestStop(std::string reason);

  const std::string& program() const { return program_; }
  // A file descriptor to which Ready() and FailStart() write, -1 none.
  void set_ready_fd(int fd);

 private:
  const std::string program_;
  int ready_fd_ = -1;
  bool log_is_file_ = false;
  int signal_fd_ = -1;
  int stop_read_fd_ = -1;
  int stop_write_fd_ = -1;
};

// A datagram to $NOTIFY_SOCKET (sd_notify(3)), as "READY=1"; nothing when the variable is not set.
void NotifySystemd(const std::string& state);
// Cores that this process may run on, at least 1.
uint32_t UsableCores();

}  // namespace sheen::apps
