// Parameters and metrics of the kinds that all daemons have. Names are Lustre's.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/metrics.h"
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
// lustre_read_bytes_total and so on.
void AddTableMetrics(const MetricsOwner& owner, const TallyTable& table, MetricsText* text);
// lustre_capacity_kibibytes and so on; lustre_health_check.
void AddSpaceMetrics(const MetricsOwner& owner, const v1::TargetSpace& space, MetricsText* text);

}  // namespace sheen::apps
