#include "apps/common/stats_params.h"

#include <fmt/format.h>

#include "base/clock.h"

namespace sheen::apps {

Param ReadOnly(std::string name, std::function<std::string()> get) {
  return {std::move(name), std::move(get), nullptr};
}

Param ReadOnly(std::string name, uint64_t value) {
  return ReadOnly(std::move(name), std::to_string(value));
}

Param ReadOnly(std::string name, std::string value) {
  return {std::move(name), [value = std::move(value)] { return value; }, nullptr};
}

Param StatsParam(std::string name, std::vector<const TallyTable*> tables,
                 std::function<void(int64_t now_ns)> clear) {
  return {
      std::move(name),
      [tables = std::move(tables)] { return FormatStats(tables, SystemClock().Wall().count()); },
      [clear = std::move(clear)](const std::string&) {
        clear(SystemClock().Wall().count());
        return Status();
      }};
}

void AddSpaceParams(const std::string& prefix, const v1::TargetSpace& space, ParamList* list) {
  list->push_back(ReadOnly(prefix + ".kbytestotal", space.bytes_total() / 1024));
  list->push_back(ReadOnly(prefix + ".kbytesfree", space.bytes_free() / 1024));
  list->push_back(ReadOnly(prefix + ".kbytesavail", space.bytes_available() / 1024));
  list->push_back(ReadOnly(prefix + ".filestotal", space.files_total()));
  list->push_back(ReadOnly(prefix + ".filesfree", space.files_free()));
}

void AddExportParams(const std::string& prefix,
                     const std::vector<std::shared_ptr<rpc::Session>>& sessions, ParamList* list) {
  list->push_back(ReadOnly(prefix + ".num_exports", sessions.size()));
  for (const std::shared_ptr<rpc::Session>& session : sessions) {
    const std::string base = prefix + ".exports." + session->client_uuid().ToString();
    list->push_back(ReadOnly(base + ".nid", session->client_name()));
    list->push_back(ReadOnly(base + ".stats", [session] {
      return fmt::format("reqs {}\nread_bytes {}\nwrite_bytes {}\nconnections {}\n",
                         session->use.requests.value(), session->use.read_bytes.value(),
                         session->use.written_bytes.value(), session->link_count.load());
    }));
  }
}

void AddTableMetrics(const MetricsOwner& owner, const TallyTable& table, MetricsText* text) {
  for (size_t i = 0; i < table.size(); ++i) {
    const TallySpec& spec = table.spec(i);
    const Tally::Values values = table.tally(i).Read();
    const MetricLabels whose = {{"component", std::string(owner.component)},
                                {"target", owner.target}};
    if (spec.unit == Unit::kBytes) {
      const bool reads = spec.name == "read_bytes";
      text->Counter(reads ? "lustre_read_bytes_total" : "lustre_write_bytes_total",
                    reads ? "Bytes read." : "Bytes written.", whose, values.sum);
      text->Counter(reads ? "lustre_read_samples_total" : "lustre_write_samples_total",
                    reads ? "Reads." : "Writes.", whose, values.samples);
      continue;
    }
    if (spec.unit != Unit::kMicros || values.samples == 0) continue;
    MetricLabels labels = whose;
    labels.emplace_back("operation", std::string(spec.name));
    text->Counter("lustre_stats_total", "Operations done.", labels, values.samples);
    text->Latency("sheen_operation_duration_seconds",
                  "Time from an operation's request to its answer; wait_*: of that, waits.", labels,
                  values);
  }
}

void AddSpaceMetrics(const MetricsOwner& owner, const v1::TargetSpace& space, MetricsText* text) {
  const MetricLabels labels = {{"component", std::string(owner.component)},
                               {"target", owner.target}};
  const auto gauge = [&](std::string_view name, std::string_view help, uint64_t value) {
    text->Gauge(name, help, labels, static_cast<double>(value));
  };
  gauge("lustre_capacity_kibibytes", "Size of the target.", space.bytes_total() / 1024);
  gauge("lustre_free_kibibytes", "Free space of the target.", space.bytes_free() / 1024);
  gauge("lustre_available_kibibytes", "Space of the target that may be used.",
        space.bytes_available() / 1024);
  gauge("lustre_inodes_maximum", "Objects that fit on the target.", space.files_total());
  gauge("lustre_inodes_free", "Objects that still fit on the target.", space.files_free());
  gauge("lustre_health_check", "1: the target serves; 0: it has stopped.", space.up() ? 1 : 0);
}

}  // namespace sheen::apps
