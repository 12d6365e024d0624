#include "apps/client/client_daemon.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "apps/client/client_params.h"
#include "apps/common/daemon.h"
#include "apps/common/version.h"
#include "base/log.h"
#include "client/client_stats.h"
#include "fuse/op_stats.h"
#include "fuse/sheen_ops.h"

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57  // linux/prctl.h since 5.6
#endif

namespace sheen::apps {
namespace {

constexpr uint32_t kPoolThreads = 2;  // host names are looked up there
// An aborted connection ends at once where the kernel lets us abort it; the end of the process does
// so in any case.
constexpr Nanos kAbortPatience = std::chrono::seconds(1);
// How long a mount waits for servers that do not answer before it says so and fails.
constexpr Nanos kMountPatience = std::chrono::seconds(15);

std::string HostName() {
  char name[256] = {};
  return ::gethostname(name, sizeof name - 1) == 0 ? name : "localhost";
}

}  // namespace

void ProtectFromMemoryPressure() {
  if (::geteuid() != 0) return;
  const int fd = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
  if (fd < 0 || ::write(fd, "-1000", 5) != 5) {
    SHEEN_LOG(Warn, "cannot set oom_score_adj: {}", std::strerror(errno));
  }
  if (fd >= 0) ::close(fd);
  // Memory that this process allocates while it writes back must not wait for its own write-back.
  if (::prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0) {
    SHEEN_LOG(Warn, "cannot set PR_SET_IO_FLUSHER: {}", std::strerror(errno));
  }
}

ClientDaemon::ClientDaemon(ClientConfig config)
    : config_(std::move(config)), unmounted_future_(unmounted_.get_future()) {}

ClientDaemon::~ClientDaemon() {
  const Status stopped = Stop(std::chrono::seconds(3));
  static_cast<void>(stopped);  // it has been stopped before, or nothing was written
}

Status ClientDaemon::Start() {
  SHEEN_TRY(StartShards());
  SHEEN_TRY(ConnectFilesystem());
  SHEEN_TRY(MountSession());
  SHEEN_TRY(TryMount());
  SHEEN_TRY(StartNodeControl());
  SHEEN_LOG(Info, "sheen-client {}: {} on {}, {} threads, transport {}", kVersion, config_.source,
            config_.mountpoint, shards_->size(), session_->TransportText());
  return {};
}

Status ClientDaemon::StartShards() {
  ShardSetOptions options;
  const int64_t wanted = config_.options.shards;
  options.count = wanted > 0 ? static_cast<uint32_t>(wanted) : UsableCores();
  options.sqe128 = true;
  options.pool_threads = kPoolThreads;
  options.tcp.checksums = config_.options.checksums;
  SHEEN_TRY_ASSIGN(shards_, ShardSet::Start(options));
  return {};
}

// After the mount: a client without it can be used, but not looked at.
Status ClientDaemon::StartNodeControl() {
  ClientParamsOwner owner;
  owner.filesystem = filesystem_.get();
  owner.session = session_.get();
  owner.mountpoint = config_.mountpoint;
  owner.mgs = config_.spec.hosts.front();
  AddClientParams(owner, node_.get());
  node_->ApplyKeptAgain();
  return node_->Start();
}

Status ClientDaemon::ConnectFilesystem() {
  node_ = std::make_unique<NodeControl>(
      NodeControlOptions{.program = "sheen-client", .metrics = config_.options.metrics});
  node_->set_faults(&faults_);
  client::Options options;
  options.faults = &faults_;
  options.fsname = config_.spec.fsname;
  for (const std::string& host : config_.spec.hosts) {
    options.mgs.push_back({host, static_cast<uint16_t>(config_.options.port)});
  }
  options.subdir = config_.spec.subdir;
  options.checksums = config_.options.checksums;
  options.client_name = HostName() + ":" + config_.mountpoint;
  options.on_map = [this](const v1::ClusterMap& map) { node_->ApplyKept(map); };
  options.local_locks = config_.options.local_locks;
  options.noatime = config_.options.noatime;
  options.read_only = config_.options.read_only;
  options.write_behind = config_.options.write_behind;
  options.recovery = config_.options.recovery;
  options.lost_data = config_.options.lost_data;
  options.mount_timeout = kMountPatience;
  if (config_.options.timeout_s > 0) {
    options.deadline = std::chrono::seconds(config_.options.timeout_s);
  }
  filesystem_ = std::make_unique<client::Filesystem>(options);
  for (uint32_t i = 0; i < shards_->size(); ++i) {
    filesystem_->AddShard(shards_->At(i)->shard.get(), shards_->At(i)->transport.get());
  }
  connected_ = true;
  return shards_->Await<Status>(0, [this] { return filesystem_->Mount(); });
}

Status ClientDaemon::MountSession() {
  const ClientOptions& from = config_.options;
  fuse::MountOptions options;
  options.mountpoint = config_.mountpoint;
  options.source = config_.source;
  options.read_only = from.read_only;
  options.noatime = from.noatime;
  options.nosuid = from.nosuid;
  options.nodev = from.nodev;
  options.noexec = from.noexec;
  options.allow_other = from.allow_other;
  options.shard_count = shards_->size();
  if (from.read_ahead_kb > 0) options.read_ahead_kb = static_cast<uint32_t>(from.read_ahead_kb);
  SHEEN_TRY_ASSIGN(options.io_uring, fuse::ParseUringMode(from.io_uring));
  SHEEN_TRY_ASSIGN(session_, fuse::Session::Mount(options, fuse::SheenOps(), filesystem_.get()));
  session_->set_admission(fuse::KnowsCaller);
  session_->operation_stats()->set_explain(
      [this](Nanos began) { return filesystem_->stats()->slow_waits.Within(began); });
  session_->set_on_unmounted([this] {
    unmounted_.set_value();
    config_.on_unmounted("unmounted");
  });
  notices_ = std::make_unique<fuse::KernelNotices>(filesystem_.get(),
                                                   fuse::CallsOf(session_.get()));
  notices_->Start();
  session_->set_on_late_change([this](fuse_ino_t node, const std::string& name) {
    notices_->NoteLateChange(node, name);
  });
  attached_ = true;
  return shards_->RunOnEach([this](ShardSet::Member* member) {
    return session_->AttachShard(member->shard.get(), member->poller.get());
  });
}

Status ClientDaemon::TryMount() {
  struct statfs space {};
  if (::statfs(config_.mountpoint.c_str(), &space) == 0) return {};
  const int error = errno;
  return Fail(
      ErrcOfErrno(error),
      fmt::format("{} was mounted on {} but does not answer: statfs: {}; is an OSS running? "
                  "See the log",
                  config_.source, config_.mountpoint, std::strerror(error)));
}

void ClientDaemon::WaitUntilUnmounted(Nanos patience) {
  session_->Unmount();
  if (unmounted_future_.wait_for(patience) == std::future_status::ready) return;
  SHEEN_LOG(Warn, "{} is still in use; ending it under its users", config_.mountpoint);
  session_->Abort();
  unmounted_future_.wait_for(kAbortPatience);
}

Status ClientDaemon::Stop(Nanos patience) {
  Status unmounted;
  if (node_ != nullptr) node_->Stop();
  if (std::exchange(attached_, false)) WaitUntilUnmounted(patience);
  if (notices_ != nullptr) notices_->Stop();
  if (std::exchange(connected_, false)) {
    unmounted = shards_->Await<Status>(0, [this] { return filesystem_->Unmount(); });
  }
  if (shards_ != nullptr) shards_->Stop();
  notices_.reset();
  session_.reset();
  return unmounted;
}

}  // namespace sheen::apps
