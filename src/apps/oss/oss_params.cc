#include "apps/oss/oss_params.h"

#include <fmt/format.h>

#include "apps/common/stats_params.h"

namespace sheen::apps {
namespace {

std::string Devices(const OssParamsOwner& owner) {
  std::string out = "UP ost OSS OSS_uuid 1\n";
  const uint64_t exports = owner.sessions->All().size();
  for (const auto& [index, target] : owner.service->Targets()) {
    const std::string name = target->name();
    const char* const state = target->stop_reason().empty() ? "UP" : "ST";
    out += fmt::format("{} osd-sheen {}-osd {}-osd_UUID 1\n", state, name, name);
    out += fmt::format("{} obdfilter {} {}_UUID {}\n", state, name, name, exports + 1);
  }
  return out;
}

// How long data in S3 is waited for, without any progress, while no agent is there.
Param AgentTimeout(oss::AgentPool* agents) {
  constexpr uint64_t kDaySeconds = 86'400;
  return {"ost.OSS.agent_timeout",
          [agents] {
            return fmt::format(
                "{}", std::chrono::duration_cast<std::chrono::seconds>(agents->patience()).count());
          },
          [agents](const std::string& value) -> Status {
            SHEEN_TRY_ASSIGN(const uint64_t seconds, ParseParamNumber(value, 1, kDaySeconds));
            agents->SetPatience(std::chrono::seconds(seconds));
            return {};
          }};
}

void AddParams(const OssParamsOwner& owner, ParamList* list) {
  oss::OssService* const service = owner.service;
  oss::LazyLoader* const lazy = service->lazy();
  const std::vector<v1::TargetSpace> spaces = owner.spaces();
  for (const auto& [index, target] : service->Targets()) {
    const std::string name = target->name();
    const std::string ost = "obdfilter." + name;
    oss::OpStats* const stats = service->StatsOf(index);
    list->push_back(StatsParam(ost + ".stats", {&stats->operations()},
                               [stats](int64_t now_ns) { stats->Clear(now_ns); }));
    list->push_back({ost + ".brw_stats",
                     [stats] { return FormatBrwStats(stats->io(), SystemClock().Wall().count()); },
                     [stats](const std::string&) -> Status {
                       stats->io().Clear(SystemClock().Wall().count());
                       return {};
                     }});
    AddOriginParams(ost, &stats->jobs(), &stats->users(), list);
    list->push_back(ReadOnly(ost + ".uuid", target->superblock().uuid.ToString()));
    list->push_back(ReadOnly(ost + ".recovery_status", [service, index] {
      return service->RecoveryText(index, SystemClock().Monotonic());
    }));
    list->push_back(ReadOnly(ost + ".tot_granted", service->GrantedBytes(index)));
    list->push_back(ReadOnly(ost + ".num_exports", owner.sessions->All().size()));
    for (const v1::TargetSpace& space : spaces) {
      if (space.index() == index) AddSpaceParams(ost, space, list);
    }
  }
  list->push_back(AgentTimeout(owner.agents));
  list->push_back({"ost.OSS.restore_bandwidth",
                   [lazy] { return fmt::format("{}", lazy->restore_rate()); },
                   [lazy](const std::string& value) -> Status {
                     SHEEN_TRY_ASSIGN(const uint64_t rate, ParseParamNumber(value, 0, INT64_MAX));
                     lazy->SetRestoreRate(rate);
                     return {};
                   }});
  // A client is one session for all OSTs of a server.
  AddExportParams("ost.OSS", owner.sessions->All(), list);
  // The locks of a server's OSTs are in one table.
  list->push_back(ReadOnly("ldlm.namespaces.filter-OSS_UUID.lock_count", service->lock_count()));
  list->push_back({"ldlm.namespaces.filter-OSS_UUID.lock_limit",
                   [service] { return fmt::format("{}", service->lock_limit()); },
                   [service](const std::string& value) -> Status {
                     SHEEN_TRY_ASSIGN(const uint64_t count, ParseParamNumber(value, 0, INT64_MAX));
                     service->SetLockLimit(count);
                     return {};
                   }});
  list->push_back(ReadOnly("devices", [owner] { return Devices(owner); }));
  list->push_back(ReadOnly("health_check", [service] {
    const std::string state = service->StateText();
    return state == "serving" ? "healthy" : "NOT HEALTHY: " + state;
  }));
}

void AddMetrics(const OssParamsOwner& owner, MetricsText* text) {
  const std::vector<v1::TargetSpace> spaces = owner.spaces();
  for (const auto& [index, target] : owner.service->Targets()) {
    const MetricsOwner ost{"ost", target->name()};
    oss::OpStats* const stats = owner.service->StatsOf(index);
    AddTableMetrics(ost, stats->operations(), text);
    AddOriginMetrics(ost, stats->jobs(), stats->users(), text);
    const MetricLabels labels = {{"component", "ost"}, {"target", target->name()}};
    AddIoMetrics({"lustre_pages_per_bulk_rw_total", "Reads and writes, by 4 KiB pages."}, labels,
                 stats->io(), oss::OpStats::kPages, text);
    AddIoMetrics({"lustre_io_time_milliseconds_total", "Reads and writes, by milliseconds."},
                 labels, stats->io(), oss::OpStats::kMillis, text);
    AddIoMetrics({"lustre_disk_io_total", "Reads and writes, by bytes."}, labels, stats->io(),
                 oss::OpStats::kBytes, text);
    text->Gauge("lustre_brw_size_megabytes", "The largest read or write that is taken.", labels,
                rpc::kBulkBytesMax >> 20);
    AddRecoveryMetrics(ost, {.soft = oss::ObjectLocks::kRecoveryMax}, text);
    text->Gauge("lustre_exports_granted_total", "Bytes that clients may hold back.", labels,
                static_cast<double>(owner.service->GrantedBytes(index)));
    text->Gauge("lustre_exports_total", "Clients that are known.", labels,
                static_cast<double>(owner.sessions->All().size()));
    for (const v1::TargetSpace& space : spaces) {
      if (space.index() == index) AddSpaceMetrics(ost, space, text);
    }
  }
  AddQueueMetrics({"ost", "OSS"}, owner.sessions->All(), text);
  text->Gauge("lustre_lock_count_total", "Locks that clients hold.",
              {{"component", "ost"}, {"target", "OSS"}},
              static_cast<double>(owner.service->lock_count()));
}

}  // namespace

void AddOssParams(const OssParamsOwner& owner, NodeControl* control) {
  control->AddParams([owner](ParamList* list) { AddParams(owner, list); });
  control->AddMetrics([owner](MetricsText* text) { AddMetrics(owner, text); });
}

}  // namespace sheen::apps
