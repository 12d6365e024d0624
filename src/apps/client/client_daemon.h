// ClientDaemon: sheen-client put together: shards with their rings, the client library, the mount.
//
// Belongs to the main thread.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "apps/common/mount_spec.h"
#include "apps/common/node_control.h"
#include "apps/common/shard_set.h"
#include "client/filesystem.h"
#include "fuse/kernel_notices.h"
#include "fuse/session.h"

namespace sheen::apps {

struct ClientConfig {
  std::string source;  // as given: shown by /proc/mounts
  MountSpec spec;
  std::string mountpoint;  // absolute
  ClientOptions options;
  std::function<void(std::string reason)> on_unmounted;  // called on a shard
};

class ClientDaemon final {
 public:
  explicit ClientDaemon(ClientConfig config);
  ~ClientDaemon();

  // The mount is usable when it returns: statfs(2) through it has worked. Errors: with what to do;
  // nothing is left mounted then.
  Status Start();
  // Unmounts if that has not happened, ends the sessions at the servers. A mount that is in use is
  // detached, and aborted after `patience`. Idempotent.
  // Errors: those of Filesystem::Unmount.
  Status Stop(Nanos patience);

 private:
  Status StartShards();
  Status StartNodeControl();
  Status ConnectFilesystem();
  Status MountSession();
  Status TryMount();
  void WaitUntilUnmounted(Nanos patience);

  const ClientConfig config_;
  // Destroyed in reverse; the session last but the shards that it was attached to outlive it.
  rpc::FaultPoints faults_{rpc::FaultNode::kClient};
  std::unique_ptr<ShardSet> shards_;
  std::unique_ptr<client::Filesystem> filesystem_;
  std::unique_ptr<fuse::Session> session_;
  std::unique_ptr<fuse::KernelNotices> notices_;
  std::unique_ptr<NodeControl> node_;
  std::promise<void> unmounted_;
  std::future<void> unmounted_future_;
  bool attached_ = false;
  bool connected_ = false;
};

// Survives memory pressure with other processes' dirty pages: oom_score_adj -1000 and
// PR_SET_IO_FLUSHER, both root's; what is refused is only logged.
void ProtectFromMemoryPressure();

}  // namespace sheen::apps
