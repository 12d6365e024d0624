// NodeControl: what can be looked at and turned in a running daemon: its parameters (base/params.h)
// and its metrics (base/metrics.h), and the two places where they are asked for:
//
//   a UNIX socket   programs of this host (lctl), v1::LocalRequest; everybody may read, root and
//   the
//                   daemon's own user may set
//   a TCP port      GET /metrics, for Prometheus; only with --metrics
//
// Both are served by one thread of low rank, one call at a time, each within a second.
//
// Thread-safe after Start(). What the sources refer to must outlive Stop().
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/metrics.h"
#include "base/params.h"
#include "rpc/control.h"
#include "rpc/fault_points.h"
#include "sheen/v1/control.pb.h"

namespace sheen::apps {

struct NodeControlOptions {
  std::string program;             // "sheen-mds"
  std::string metrics;             // [HOST:]PORT; empty: no metrics port
  std::vector<std::string> allow;  // CIDR of hosts that may ask for metrics, besides loopback
};

class NodeControl final {
 public:
  explicit NodeControl(NodeControlOptions options);
  ~NodeControl();
  NodeControl(const NodeControl&) = delete;
  NodeControl& operator=(const NodeControl&) = delete;

  void AddParams(ParamRegistry::Source source) { params_.AddSource(std::move(source)); }
  void AddMetrics(MetricsSource source);
  // Of the management service: keeps a setting and gives it to all.
  using KeepFunction = std::function<Status(const v1::SetParamRequest&)>;
  void set_keep(KeepFunction keep) { keep_ = std::move(keep); }

  // Of an MDS.
  using ChangelogUserFunction =
      std::function<Result<v1::ChangelogUserReply>(const v1::ChangelogUserRequest&)>;
  void set_changelog_user(ChangelogUserFunction change) { changelog_user_ = std::move(change); }

  // Of the management service: pools of OSTs.
  using PoolFunction = std::function<Result<v1::PoolReply>(const v1::PoolRequest&)>;
  void set_pools(PoolFunction pools) { pools_ = std::move(pools); }

  // Fault points of the daemon, for tests, as lctl sets them: fail_loc names a point, fail_val arms
  // it; fail_loc=0 disarms all. Without it setting them is refused. It outlives Stop().
  void set_faults(rpc::FaultPoints* faults) { faults_ = faults; }

  // A socket that cannot be made is logged and done without. Errors: kInvalid (metrics address),
  // kBusy (its port is taken).
  Status Start();
  // Idempotent.
  void Stop();
  // 0: none.
  uint16_t metrics_port() const { return metrics_port_; }

  Result<v1::GetParamsReply> Get(const v1::GetParamsRequest& request) const;
  Result<v1::SetParamReply> Set(const v1::SetParamRequest& request);
  // A kept setting of the management service; what does not fit this daemon is left out.
  void Apply(const std::string& pattern, const std::string& value);
  // Those of a cluster map that are new or have changed since the last one.
  void ApplyKept(const v1::ClusterMap& map);
  // All of the last map, after parameters were added.
  void ApplyKeptAgain();
  std::string MetricsPage() const;
  // For rpc::GrpcServer::AddAdmin: reads; setting is for the socket, which knows who asks.
  rpc::AdminFunctions Functions(std::function<v1::GetStatusReply()> status);

 private:
  Status ListenLocal();
  Status ListenMetrics();
  void ThreadMain();
  void ServeLocal(int fd);
  void ServeChangelogUser(int fd, const v1::ChangelogUserRequest& request, v1::LocalReply* reply);
  void ServePool(int fd, const v1::PoolRequest& request, v1::LocalReply* reply);
  void ServeMetrics(int fd);
  void AddOwnParams(ParamList* list);
  void AddFaultParams(ParamList* list);
  Status SetFailLoc(const std::string& name);
  Status SetFailVal(const std::string& order);

  const NodeControlOptions options_;
  ParamRegistry params_;
  mutable std::mutex mutex_;  // guards the next four
  std::string fail_loc_ = "0";
  std::string fail_val_ = "0";
  std::map<std::string, std::string> kept_;
  std::vector<MetricsSource> metrics_;
  KeepFunction keep_;
  ChangelogUserFunction changelog_user_;
  PoolFunction pools_;
  rpc::FaultPoints* faults_ = nullptr;
  std::string socket_path_;
  int local_fd_ = -1;
  int metrics_fd_ = -1;
  int stop_fd_ = -1;
  uint16_t metrics_port_ = 0;
  std::thread thread_;
};

// ---- the asking side ----

// Errors: kConnectionRefused (no daemon has the socket any more), kTimedOut, and the daemon's.
Result<v1::LocalReply> AskDaemon(const std::string& socket_path, const v1::LocalRequest& request);

}  // namespace sheen::apps
