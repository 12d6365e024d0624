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

void AddParams(const OssParamsOwner& owner, ParamList* list) {
  const oss::OssService* const service = owner.service;
  const std::vector<v1::TargetSpace> spaces = owner.spaces();
  for (const auto& [index, target] : service->Targets()) {
    const std::string name = target->name();
    const std::string ost = "obdfilter." + name;
    oss::OpStats* const stats = service->StatsOf(index);
    list->push_back(StatsParam(ost + ".stats", {&stats->operations()},
                               [stats](int64_t now_ns) { stats->Clear(now_ns); }));
    AddOriginParams(ost, &stats->jobs(), &stats->users(), list);
    list->push_back(ReadOnly(ost + ".uuid", target->superblock().uuid.ToString()));
    list->push_back(ReadOnly(ost + ".tot_granted", service->GrantedBytes(index)));
    list->push_back(ReadOnly(ost + ".num_exports", owner.sessions->All().size()));
    for (const v1::TargetSpace& space : spaces) {
      if (space.index() == index) AddSpaceParams(ost, space, list);
    }
  }
  // A client is one session for all OSTs of a server.
  AddExportParams("ost.OSS", owner.sessions->All(), list);
  // The locks of a server's OSTs are in one table.
  list->push_back(ReadOnly("ldlm.namespaces.filter-OSS_UUID.lock_count", service->lock_count()));
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
