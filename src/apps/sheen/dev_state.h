// What `sheen dev` remembers about an instance, in DIR/state.json, and where the instances are:
// ROOT/NAME.json names the directory of the instance NAME, ROOT/NAME.lock is held by the command
// that works on it. ROOT is /var/lib/sheen/dev for root, else ~/.local/state/sheen/dev.
//
// Belongs to the main thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apps/sheen/process.h"
#include "sheen/result.h"

namespace sheen::apps {

struct DevServer {
  std::string name;  // "mds0", "oss1"
  bool is_mds = false;
  std::vector<std::string> targets;  // directories
  bool formatted = false;
  std::string log;
  ProcessId process;
  // Chosen by the kernel at the first start, kept from then on, so that clients come back. 0: not
  // chosen yet.
  int64_t data_port = 0;
  int64_t control_port = 0;

  bool is_agent() const { return name.starts_with("agent"); }
};

struct DevMount {
  std::string path;  // absolute; the daemon's name is "client:PATH"
  std::string log;
  std::string options;
  ProcessId process;
};

struct DevState {
  std::string name;
  std::string directory;
  std::string fsname = "sheen";
  std::string mount;           // the main one
  bool mount_created = false;  // its directory is ours
  bool no_mount = false;
  std::string client_options;
  uint32_t oss_count = 2;
  uint32_t ost_count = 4;
  uint64_t ost_bytes = 0;  // 0: no limit
  std::vector<DevServer> servers;
  std::vector<DevMount> mounts;

  DevServer* FindServer(const std::string& server);
  DevMount* FindMount(const std::string& path);
};

// Held while a command works on an instance.
class DevLock final {
 public:
  explicit DevLock(int fd) : fd_(fd) {}
  ~DevLock();
  DevLock(const DevLock&) = delete;
  DevLock& operator=(const DevLock&) = delete;

 private:
  const int fd_;
};

// Waits for other commands on the same instance. Errors: kInvalid (name), the directory's.
Result<std::unique_ptr<DevLock>> LockInstance(const std::string& name);
// Where `name` lives; nullopt: there is no such instance.
Result<std::optional<std::string>> DirectoryOfInstance(const std::string& name);
// Known ones, by name; nothing when ROOT cannot be read.
std::vector<std::string> InstanceNames();
// ROOT/NAME.
std::string DefaultDirectory(const std::string& name);

// Errors: kNoEntry (no such instance: says how to make one), kCorrupt (names the file).
Result<DevState> LoadState(const std::string& name);
// The instance is known by its name from then on. "survives power loss"
Status SaveState(const DevState& state);
// REQUIRES: its lock is held; the lock file goes too.
Status ForgetInstance(const std::string& name);

}  // namespace sheen::apps
