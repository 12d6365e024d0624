#include "apps/mds/mds_params.h"

#include <fmt/format.h>

#include "apps/common/stats_params.h"
#include "base/clock.h"
#include "layout/ost_name.h"
#include "mds/changelog.h"
#include "mds/hsm_queue.h"
#include "mds/op_stats.h"
#include "mds/session_map.h"

namespace sheen::apps {
namespace {

std::string FsnameOf(const std::string& mdt_name) {
  return mdt_name.substr(0, mdt_name.rfind('-'));
}

const v1::TargetSpace* OwnSpace(const std::vector<v1::TargetSpace>& targets,
                                const std::string& name) {
  for (const v1::TargetSpace& target : targets) {
    if (target.name() == name) return &target;
  }
  return nullptr;
}

std::string Devices(const MdsParamsOwner& owner) {
  const std::string& mdt = owner.service->mdt_name();
  const bool up = owner.service->StopReason().empty();
  const uint64_t exports = owner.sessions->All().size();
  std::string out =
      fmt::format("{} osd-rocksdb {}-osd {}-osd_UUID 1\n", up ? "UP" : "ST", mdt, mdt);
  out += "UP mgs MGS MGS 1\n";
  out += fmt::format("{} mdt {} {}_UUID {}\n", up ? "UP" : "ST", mdt, mdt, exports + 1);
  for (const v1::TargetSpace& target : owner.service->TargetStates()) {
    if (target.is_mdt()) continue;
    out += fmt::format("{} osp {}-osc-MDT0000 {}-mdtlov_UUID 1\n", target.up() ? "UP" : "IN",
                       target.name(), mdt);
  }
  return out;
}

void AddLayoutParams(const MdsParamsOwner& owner, const std::vector<v1::TargetSpace>& targets,
                     ParamList* list) {
  const std::string lod = "lod." + owner.service->mdt_name() + "-mdtlov";
  std::string osts;
  uint64_t count = 0;
  uint64_t active = 0;
  for (const v1::TargetSpace& target : targets) {
    if (target.is_mdt()) continue;
    ++count;
    active += target.up() ? 1 : 0;
    osts += fmt::format("{}: {}_UUID {}\n", target.index(), target.name(),
                        target.up() ? "ACTIVE" : "INACTIVE");
  }
  list->push_back(ReadOnly(lod + ".numobd", count));
  list->push_back(ReadOnly(lod + ".activeobd", active));
  list->push_back(ReadOnly(lod + ".target_obd", osts));
  const std::string fsname = FsnameOf(owner.service->mdt_name());
  for (const auto& [pool, members] : *owner.service->Pools()) {
    std::string text;
    for (const uint32_t ost : members) text += layout::OstUuidName(fsname, ost) + "\n";
    list->push_back(ReadOnly(lod + ".pools." + pool, text));
  }
}

void AddLockParams(const MdsParamsOwner& owner, ParamList* list) {
  const std::string locks = "ldlm.namespaces.mdt-" + owner.service->mdt_name() + "_UUID";
  mds::MdsService* const service = owner.service;
  list->push_back(ReadOnly(locks + ".lock_count", [service] {
    return fmt::format("{}", service->lock_counts().granted);
  }));
  list->push_back({locks + ".lock_limit",
                   [service] { return fmt::format("{}", service->lock_counts().limit); },
                   [service](const std::string& value) -> Status {
                     SHEEN_TRY_ASSIGN(const uint64_t count, ParseParamNumber(value, 0, INT64_MAX));
                     service->SetLockLimit(count);
                     return {};
                   }});
  list->push_back(ReadOnly(locks + ".callback_count", [service] {
    return fmt::format("{}", service->stats().lock_callbacks.value());
  }));
}

Param Limit(std::string name, std::atomic<uint64_t>* limit) {
  return {std::move(name), [limit] { return std::to_string(limit->load()); },
          [limit](const std::string& value) -> Status {
            SHEEN_TRY_ASSIGN(const uint64_t number, ParseParamNumber(value, 1, INT64_MAX));
            limit->store(number);
            return {};
          }};
}

void AddChangelogParams(const MdsParamsOwner& owner, ParamList* list) {
  const std::string mdd = "mdd." + owner.service->mdt_name();
  mds::Changelog* const log = &owner.service->changelog();
  list->push_back(ReadOnly(mdd + ".changelog_users",
                           [log] { return log->UsersText(SystemClock().Wall().count()); }));
  mds::MdsService* const service = owner.service;
  list->push_back({mdd + ".changelog_mask", [log] { return log->MaskText(); },
                   [log, service](const std::string& value) -> Status {
                     SHEEN_TRY(log->SetMask(value));
                     return service->TellWhatIsLogged();
                   }});
  mds::ChangelogLimits* const limits = &log->limits();
  list->push_back({mdd + ".changelog_gc",
                   [limits] { return std::string(limits->collect.load() ? "1" : "0"); },
                   [limits](const std::string& value) -> Status {
                     SHEEN_TRY_ASSIGN(const bool on, ParseParamSwitch(value));
                     limits->collect.store(on);
                     return {};
                   }});
  list->push_back(Limit(mdd + ".changelog_max_idle_time", &limits->idle_seconds_max));
  list->push_back(Limit(mdd + ".changelog_max_idle_indexes", &limits->idle_indexes_max));
  list->push_back(Limit(mdd + ".changelog_min_gc_interval", &limits->interval_seconds));
}

void AddChangelogMetrics(const MdsParamsOwner& owner, const MetricLabels& labels,
                         MetricsText* text) {
  const mds::Changelog& log = owner.service->changelog();
  text->Gauge("lustre_changelog_current_index", "Last record of the changelog.", labels,
              static_cast<double>(log.LowWater()));
  const auto state = log.ReadState();
  if (!state) return;
  const int64_t now_ns = SystemClock().Wall().count();
  for (const mdt::ChangelogUser& user : state->users) {
    MetricLabels whose = labels;
    whose.emplace_back("id", user.ToString());
    text->Gauge("lustre_changelog_user_index", "Last record that the user has cleared.", whose,
                static_cast<double>(user.index));
    text->Gauge("lustre_changelog_user_idle_time", "Seconds since the user last cleared.", whose,
                static_cast<double>(now_ns - user.used_ns) / 1e9);
  }
}

// Restores from S3, by Lustre's names.
void AddHsmParams(const MdsParamsOwner& owner, ParamList* list) {
  constexpr size_t kLinesMax = 10'000;
  constexpr uint64_t kRequestsMax = 4096;
  const std::string hsm = "mdt." + owner.service->mdt_name() + ".hsm";
  mds::HsmQueue* const queue = owner.service->hsm();
  list->push_back(ReadOnly(hsm + ".actions", [queue] { return queue->ActionsText(kLinesMax); }));
  list->push_back(ReadOnly(hsm + ".restore_count", [queue] {
    const mds::HsmQueue::Counts counts = queue->counts();
    return fmt::format("{}", counts.waiting + counts.running);
  }));
  list->push_back(
      {hsm + ".max_requests", [queue] { return fmt::format("{}", queue->running_max()); },
       [queue](const std::string& value) -> Status {
         SHEEN_TRY_ASSIGN(const uint64_t most, ParseParamNumber(value, 0, kRequestsMax));
         queue->SetRunningMax(most);
         return {};
       }});
}

void AddParams(const MdsParamsOwner& owner, ParamList* list) {
  const std::string& name = owner.service->mdt_name();
  const std::string mdt = "mdt." + name;
  mds::MdsService* const service = owner.service;
  const auto clear = [service](int64_t) { service->ClearStats(); };
  list->push_back(StatsParam(mdt + ".md_stats", {&service->stats().operations()}, clear));
  list->push_back(StatsParam(mdt + ".wait_stats", {&service->stats().waits()}, clear));
  AddOriginParams(mdt, &service->stats().jobs(), &service->stats().users(), list);
  list->push_back(ReadOnly(mdt + ".uuid", service->mdt_uuid().ToString()));
  list->push_back(
      ReadOnly(mdt + ".recovery_status", [service] { return service->RecoveryText(); }));
  AddExportParams(mdt, owner.sessions->All(), list);
  AddLockParams(owner, list);
  AddChangelogParams(owner, list);
  AddHsmParams(owner, list);
  const std::vector<v1::TargetSpace> targets = service->TargetStates();
  AddLayoutParams(owner, targets, list);
  if (const v1::TargetSpace* const own = OwnSpace(targets, name)) {
    AddSpaceParams("osd-rocksdb." + name, *own, list);
  }
  list->push_back(ReadOnly("mgs.MGS.filesystems", FsnameOf(name)));
  list->push_back(ReadOnly("mgs.MGS.live." + FsnameOf(name), [service] {
    std::string out;
    for (const auto& [pattern, value] : service->KeptParams()) {
      out += fmt::format("{}={}\n", pattern, value);
    }
    return out;
  }));
  list->push_back(ReadOnly("devices", [owner] { return Devices(owner); }));
  list->push_back(ReadOnly("health_check", [service] {
    const std::string reason = service->StopReason();
    return reason.empty() ? "healthy" : "NOT HEALTHY: " + reason;
  }));
}

void AddMetrics(const MdsParamsOwner& owner, MetricsText* text) {
  const std::string& name = owner.service->mdt_name();
  const MetricsOwner mdt{"mdt", name};
  const mds::OpStats& stats = owner.service->stats();
  AddTableMetrics(mdt, stats.operations(), text);
  AddTableMetrics(mdt, stats.waits(), text);
  AddOriginMetrics(mdt, stats.jobs(), stats.users(), text);
  AddQueueMetrics(mdt, owner.sessions->All(), text);
  AddRecoveryMetrics(
      mdt, {.soft = mds::MdsOptions().recovery_wait, .hard = mds::Recovery::kLongest}, text);
  const MetricLabels labels = {{"component", "mdt"}, {"target", name}};
  text->Gauge("lustre_exports_total", "Clients that are known.", labels,
              static_cast<double>(owner.sessions->All().size()));
  text->Gauge("lustre_lock_count_total", "Locks that clients hold.", labels,
              static_cast<double>(owner.service->lock_counts().granted));
  text->Counter("sheen_lock_callbacks_total", "Locks asked back from clients.", labels,
                stats.lock_callbacks.value());
  AddChangelogMetrics(owner, labels, text);
  const std::vector<v1::TargetSpace> targets = owner.service->TargetStates();
  if (const v1::TargetSpace* const own = OwnSpace(targets, name)) AddSpaceMetrics(mdt, *own, text);
}

}  // namespace

void AddMdsParams(MdsParamsOwner owner, NodeControl* control) {
  control->AddParams([owner](ParamList* list) { AddParams(owner, list); });
  control->AddMetrics([owner](MetricsText* text) { AddMetrics(owner, text); });
  control->set_keep([owner, control](const v1::SetParamRequest& request) -> Status {
    SHEEN_TRY(owner.service->KeepParam(request.pattern(), request.value(), request.forget()));
    if (!request.forget()) control->Apply(request.pattern(), request.value());
    return {};
  });
}

}  // namespace sheen::apps
