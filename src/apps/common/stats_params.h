// Parameters and metrics of the kinds that all daemons have. Names are Lustre's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/io_table.h"
#include "base/metrics.h"
#include "base/origin_stats.h"
#include "base/params.h"
#include "base/stats.h"
#include "rpc/server.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::apps {

Param ReadOnly(std::string name, std::function<std::string()> get);
Param ReadOnly(std::string name, uint64_t value);
Param ReadOnly(std::string name, std::string value);
// A statistics file: whatever is written to it clears it.
Param StatsParam(std::string name, std::vector<const TallyTable*> tables,
                 std::function<void(int64_t now_ns)> clear);
// PREFIX.kbytestotal, kbytesfree, kbytesavail, filestotal, filesfree.
// PREFIX.job_stats and PREFIX.uid_stats in Lustre's YAML; setting one to a job's id, or a user's
// number, forgets it, to anything empty or "clear" all. With PREFIX.job_cleanup_interval.
void AddOriginParams(const std::string& prefix, OriginStats* jobs, OriginStats* users,
                     ParamList* list);
void AddSpaceParams(const std::string& prefix, const v1::TargetSpace& space, ParamList* list);
// PREFIX.num_exports, and for each client PREFIX.exports.UUID.{nid,stats}.
void AddExportParams(const std::string& prefix,
                     const std::vector<std::shared_ptr<rpc::Session>>& sessions, ParamList* list);

// Who has the numbers: {component="mdt", target="sheen-MDT0000"}.
struct MetricsOwner {
  std::string_view component;
  std::string target;
};
// lustre_stats_total and sheen_operation_duration_seconds by operation; quantities of bytes as
// lustre_read_bytes_total and so on, with the smallest and the largest.
void AddTableMetrics(const MetricsOwner& owner, const TallyTable& table, MetricsText* text);
// lustre_capacity_kibibytes and so on; lustre_health_check.
// By job and by user, of those that did something last: at most kOriginSeriesMax of each.
inline constexpr size_t kOriginSeriesMax = 100;
void AddOriginMetrics(const MetricsOwner& owner, const OriginStats& jobs, const OriginStats& users,
                      MetricsText* text);
// How many requests are at work and how many have queued, of all clients.
void AddQueueMetrics(const MetricsOwner& owner,
                     const std::vector<std::shared_ptr<rpc::Session>>& sessions, MetricsText* text);
// How many reads and writes there were of each size: one part of a table, rows that have something.
struct IoFamily {
  std::string_view name;
  std::string_view help;
};
void AddIoMetrics(const IoFamily& family, const MetricLabels& labels, const IoTable& table,
                  size_t part, MetricsText* text);
void AddSpaceMetrics(const MetricsOwner& owner, const v1::TargetSpace& space, MetricsText* text);
// How long clients are waited for after a restart, and how long at most while they come back (0:
// there is no such bound): lustre_recovery_time_soft_seconds, _hard_.
struct RecoveryTimes {
  Nanos soft{0};
  Nanos hard{0};
};
void AddRecoveryMetrics(const MetricsOwner& owner, RecoveryTimes times, MetricsText* text);

}  // namespace sheen::apps
