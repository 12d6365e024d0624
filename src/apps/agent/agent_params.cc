#include "apps/agent/agent_params.h"

#include <fmt/format.h>

#include "apps/common/stats_params.h"

namespace sheen::apps {
namespace {

// "s3.sheen-REPO0001"
std::string RepositoryName(const AgentParamsOwner& owner, const agent::Link& link) {
  return fmt::format("{}-REPO{:04x}", owner.fsname, link.repository.id());
}

void AddParams(const AgentParamsOwner& owner, ParamList* list) {
  agent::AgentService* const service = owner.service;
  // An agent's name may have dots, which part the levels of a parameter's name.
  list->push_back(StatsParam("agent." + owner.fsname + ".stats", {&service->operations()},
                             [service](int64_t now_ns) { service->ClearStats(now_ns); }));
  list->push_back(ReadOnly("agent." + owner.fsname + ".name", owner.name));
  for (const agent::LinkPointer& link : service->links()->All()) {
    const std::string base = "s3." + RepositoryName(owner, *link);
    const v1::Repository& repository = link->repository;
    list->push_back(ReadOnly(base + ".path", repository.path()));
    list->push_back(ReadOnly(base + ".source",
                             fmt::format("s3://{}/{}", repository.bucket(), repository.prefix())));
    list->push_back(ReadOnly(base + ".stats", [service, link] {
      const s3::LinkCounters counters = service->CountersOf(*link);
      return fmt::format("requests {}\nreceived_bytes {}\nconnections {}\nactive {}\nwaiting {}\n",
                         counters.requests, counters.body_bytes, counters.connections,
                         counters.active, counters.waiting);
    }));
  }
  list->push_back(ReadOnly("devices", [owner] {
    return fmt::format("UP agent {} {}_UUID 1\n", owner.name, owner.name);
  }));
  list->push_back(ReadOnly("health_check", std::string("healthy")));
}

void AddMetrics(const AgentParamsOwner& owner, MetricsText* text) {
  AddTableMetrics({"agent", owner.name}, owner.service->operations(), text);
  for (const agent::LinkPointer& link : owner.service->links()->All()) {
    const s3::LinkCounters counters = owner.service->CountersOf(*link);
    const MetricLabels labels = {{"component", "agent"},
                                 {"target", RepositoryName(owner, *link)},
                                 {"bucket", link->repository.bucket()}};
    text->Counter("sheen_s3_requests_total", "Requests to S3.", labels, counters.requests);
    text->Counter("sheen_s3_received_bytes_total", "Bytes of S3's answers.", labels,
                  counters.body_bytes);
    text->Counter("sheen_s3_connections_total", "Connections to S3 that were opened.", labels,
                  counters.connections);
    text->Gauge("sheen_s3_requests_in_flight", "Requests to S3 under way.", labels,
                counters.active);
    text->Gauge("sheen_s3_requests_waiting", "Requests that wait for the link's limits.", labels,
                counters.waiting);
  }
}

}  // namespace

void AddAgentParams(AgentParamsOwner owner, NodeControl* control) {
  control->AddParams([owner](ParamList* list) { AddParams(owner, list); });
  control->AddMetrics([owner](MetricsText* text) { AddMetrics(owner, text); });
}

}  // namespace sheen::apps
