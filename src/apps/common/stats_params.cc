#include "apps/common/stats_params.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

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

void AddOriginParams(const std::string& prefix, OriginStats* jobs, OriginStats* users,
                     ParamList* list) {
  const auto add = [&](const char* what, const char* key, OriginStats* stats) {
    list->push_back({prefix + "." + what + "_stats",
                     [what, key, stats] {
                       const std::string text = stats->Yaml(key, SystemClock().Wall().count());
                       return text.empty() ? text : fmt::format("{}_stats:\n{}", what, text);
                     },
                     [stats](const std::string& value) -> Status {
                       stats->Clear(value);
                       return {};
                     }});
  };
  add("job", "job_id", jobs);
  add("uid", "uid", users);
  list->push_back({prefix + ".job_cleanup_interval",
                   [jobs] { return std::to_string(jobs->cleanup_seconds()); },
                   [jobs, users](const std::string& value) -> Status {
                     constexpr uint64_t kYear = 31'536'000;
                     SHEEN_TRY_ASSIGN(const uint64_t seconds, ParseParamNumber(value, 0, kYear));
                     jobs->set_cleanup_seconds(seconds);
                     users->set_cleanup_seconds(seconds);
                     return {};
                   }});
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
      return fmt::format(
          "reqs {}\nread_bytes {}\nwrite_bytes {}\nconnections {}\nin_flight {}\nqueued {}\n",
          session->use.requests.value(), session->use.read_bytes.value(),
          session->use.written_bytes.value(), session->link_count.load(),
          session->use.in_flight.value(), session->use.queued.value());
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
      if (values.samples == 0) continue;
      text->Gauge(reads ? "lustre_read_minimum_size_bytes" : "lustre_write_minimum_size_bytes",
                  reads ? "Smallest read." : "Smallest write.", whose,
                  static_cast<double>(values.min));
      text->Gauge(reads ? "lustre_read_maximum_size_bytes" : "lustre_write_maximum_size_bytes",
                  reads ? "Largest read." : "Largest write.", whose,
                  static_cast<double>(values.max));
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

void AddOriginMetrics(const MetricsOwner& owner, const OriginStats& jobs, const OriginStats& users,
                      MetricsText* text) {
  const auto add = [&](const OriginStats& stats, const char* label, const std::string& prefix) {
    std::vector<OriginStats::Origin> all = stats.All(SystemClock().Wall().count());
    std::ranges::sort(all, std::ranges::greater(), &OriginStats::Origin::last_ns);
    all.resize(std::min(all.size(), kOriginSeriesMax));
    for (const OriginStats::Origin& origin : all) {
      const MetricLabels whose = {{"component", std::string(owner.component)},
                                  {"target", owner.target},
                                  {label, origin.name}};
      for (size_t i = 0; i < origin.sums.size(); ++i) {
        const TallySpec& spec = stats.specs()[i];
        const OriginStats::Sums& sums = origin.sums[i];
        if (sums.samples == 0) continue;
        if (spec.unit == Unit::kBytes) {
          const bool reads = spec.name == "read_bytes";
          text->Counter(prefix + (reads ? "_read_bytes_total" : "_write_bytes_total"),
                        reads ? "Bytes read." : "Bytes written.", whose, sums.sum);
          text->Counter(prefix + (reads ? "_read_samples_total" : "_write_samples_total"),
                        reads ? "Reads." : "Writes.", whose, sums.samples);
          continue;
        }
        MetricLabels labels = whose;
        labels.emplace_back("operation", std::string(spec.name));
        text->Counter(prefix + "_stats_total", "Operations done.", labels, sums.samples);
      }
    }
  };
  add(jobs, "jobid", "lustre_job");
  add(users, "uid", "sheen_uid");
  text->Gauge("lustre_job_cleanup_interval_seconds",
              "After how long a job or user that does nothing is forgotten; 0: never.",
              {{"component", std::string(owner.component)}, {"target", owner.target}},
              static_cast<double>(jobs.cleanup_seconds()));
}

void AddQueueMetrics(const MetricsOwner& owner,
                     const std::vector<std::shared_ptr<rpc::Session>>& sessions,
                     MetricsText* text) {
  uint64_t in_flight = 0;
  uint64_t queued = 0;
  for (const std::shared_ptr<rpc::Session>& session : sessions) {
    in_flight += session->use.in_flight.value();
    queued += session->use.queued.value();
  }
  const MetricLabels labels = {{"component", std::string(owner.component)},
                               {"target", owner.target}};
  text->Gauge("sheen_requests_in_flight", "Requests that are being worked on.", labels,
              static_cast<double>(in_flight));
  text->Counter("sheen_requests_queued_total",
                "Requests of the clients there are that waited for others of their connection.",
                labels, queued);
}

void AddIoMetrics(const IoFamily& family, const MetricLabels& labels, const IoTable& table,
                  size_t part, MetricsText* text) {
  for (const IoSide side : {IoSide::kRead, IoSide::kWrite}) {
    for (size_t row = 0; row < IoTable::kRows; ++row) {
      const uint64_t count = table.Count(part, side, row);
      if (count == 0) continue;
      MetricLabels whose = labels;
      whose.emplace_back("operation", side == IoSide::kRead ? "read" : "write");
      whose.emplace_back("size", std::to_string(table.BoundOf(part, row)));
      text->Counter(family.name, family.help, whose, count);
    }
  }
}

void AddSpaceMetrics(const MetricsOwner& owner, const v1::TargetSpace& space, MetricsText* text) {
  const MetricLabels labels = {{"component", std::string(owner.component)},
                               {"target", owner.target}};
  const auto gauge = [&](std::string_view name, std::string_view help, uint64_t value) {
    text->Gauge(name, help, labels, static_cast<double>(value));
  };
  constexpr uint64_t kBlockBytes = 4096;
  gauge("lustre_blocksize_bytes", "Block size that statfs(2) shows.", kBlockBytes);
  // The second spelling is that of older exporters.
  for (const std::string_view unit : {"kibibytes", "kilobytes"}) {
    const auto size = [&](const char* what, const char* help, uint64_t bytes) {
      gauge(fmt::format("lustre_{}_{}", what, unit), help, bytes / 1024);
    };
    size("capacity", "Size of the target.", space.bytes_total());
    size("free", "Free space of the target.", space.bytes_free());
    size("available", "Space of the target that may be used.", space.bytes_available());
  }
  gauge("lustre_inodes_maximum", "Objects that fit on the target.", space.files_total());
  gauge("lustre_inodes_free", "Objects that still fit on the target.", space.files_free());
  gauge("lustre_health_check", "1: the target serves; 0: it has stopped.", space.up() ? 1 : 0);
}

void AddRecoveryMetrics(const MetricsOwner& owner, RecoveryTimes times, MetricsText* text) {
  const MetricLabels labels = {{"component", std::string(owner.component)},
                               {"target", owner.target}};
  text->Gauge("lustre_recovery_time_soft_seconds",
              "How long clients are waited for after a restart.", labels,
              std::chrono::duration<double>(times.soft).count());
  if (times.hard == Nanos(0)) return;
  text->Gauge("lustre_recovery_time_hard_seconds",
              "The same at most, while clients are coming back.", labels,
              std::chrono::duration<double>(times.hard).count());
}

}  // namespace sheen::apps
