// DevCluster: what `sheen dev` does with one instance: a whole cluster on this machine, made, run,
// broken and removed without anything else.
//
// Every change of what runs is saved at once, so that a command that is interrupted leaves nothing
// behind that the next one does not know. Belongs to the main thread.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "apps/sheen/dev_state.h"
#include "sheen/result.h"

namespace sheen::apps {

struct DevUpOptions {
  std::string name = "dev";
  std::optional<std::string> directory;
  std::optional<std::string> mount;
  std::optional<uint32_t> oss_count;
  std::optional<uint32_t> ost_count;
  std::optional<uint64_t> ost_bytes;
  std::optional<std::string> client_options;
  bool no_mount = false;
  bool agent = false;  // add one if there is none
};

class DevCluster final {
 public:
  // Makes the instance if there is none, and starts what does not run. Prints what it did.
  // Errors: kExists (the instance has another shape), and what a daemon says.
  static Status Up(const DevUpOptions& options);
  // The existing instance, locked against other commands. Errors: kNoEntry.
  static Result<std::unique_ptr<DevCluster>> Open(const std::string& name);

  // Unmounts everything and stops the daemons; the data stays.
  Status Down();
  // Down, and removes the data.
  Status Destroy();
  // An empty path: the main mount point.
  Status Mount(const std::string& path, const std::optional<std::string>& options);
  Status Unmount(const std::string& path);
  // `daemon`: "mds0", "oss1", "client:PATH".
  Status Kill(const std::string& daemon, int signal);
  Status Start(const std::string& daemon);
  Status Stop(const std::string& daemon);

  const DevState& state() const { return state_; }

 private:
  DevCluster(DevState state, std::unique_ptr<DevLock> lock)
      : state_(std::move(state)), lock_(std::move(lock)) {}

  static Status CheckUnused(const std::string& target);
  static Result<DevState> MakeInstance(const DevUpOptions& options);
  static Status CheckShape(const DevState& state, const DevUpOptions& options);
  // The data, the state, and what the registry of instances knows. REQUIRES: nothing runs.
  Status Remove();
  Status StartEverything();
  void AddAgent();
  Status FormatTargets();
  Status StartServers(const std::vector<DevServer*>& servers);
  Status StartMount(DevMount* mount);
  Status StopServer(DevServer* server);
  // The mount is gone and its daemon too. With `force` whatever uses it.
  Status EndMount(DevMount* mount, bool force);
  Result<std::vector<std::string>> ArgumentsOf(const DevServer& server) const;
  Status PrepareMountpoint(const std::string& path);
  bool EverythingRuns() const;
  std::string MountPathOf(const std::string& path) const;
  Status Save() { return SaveState(state_); }
  Result<ProcessId*> FindProcess(const std::string& daemon);

  DevState state_;
  const std::unique_ptr<DevLock> lock_;
};

}  // namespace sheen::apps
