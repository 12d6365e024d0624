#include "mds/import_schedule.h"

#include <set>

#include "base/log.h"

namespace sheen::mds {

void ImportSchedule::Hear(const v1::AgentHeartbeatRequest& heartbeat, Nanos now, int64_t wall_ns) {
  const std::string& agent = heartbeat.agent().name();
  std::set<uint32_t> told;
  const std::scoped_lock lock(mutex_);
  for (const v1::ImportReport& report : heartbeat.imports()) {
    told.insert(report.repository());
    Entry& entry = entries_[report.repository()];
    // After a restart of the MDS, or when another got it meanwhile.
    if (entry.agent.empty() && !report.progress().done()) entry.agent = agent;
    if (entry.agent != agent) continue;
    entry.heard = now;
    if (!report.progress().done()) continue;
    entry.agent.clear();
    entry.ended = now;
    entry.ended_wall_ns = wall_ns;
    entry.last = report.progress();
    if (!entry.last.error().empty()) {
      SHEEN_LOG(Warn, "data repository {} was not compared with S3 to the end: {}",
                report.repository(), entry.last.error());
    }
  }
  // An agent tells of all that it has: what is not told of was lost on its way, or with the agent's
  // process, and this is the next one of its name.
  for (auto& [repository, entry] : entries_) {
    if (entry.agent == agent && (heartbeat.leaving() || !told.contains(repository))) {
      entry.agent.clear();
    }
  }
}

void ImportSchedule::GiveDue(const std::string& agent, Nanos now,
                             v1::ListRepositoriesReply* all) {
  const std::scoped_lock lock(mutex_);
  for (const v1::Repository& repository : all->repositories()) {
    if (repository.import_every_s() == 0 || repository.import_what() == 0) continue;
    Entry& entry = entries_[repository.id()];
    if (!entry.agent.empty() && now - entry.heard < kLost) continue;
    const Nanos every = std::chrono::seconds(repository.import_every_s());
    if (entry.agent.empty() && entry.ended && now - *entry.ended < every) continue;
    entry.agent = agent;
    entry.heard = now;
    all->add_imports_due(repository.id());
  }
}

void ImportSchedule::Describe(Nanos now, v1::ListRepositoriesReply* all) const {
  const std::scoped_lock lock(mutex_);
  for (const v1::Repository& repository : all->repositories()) {
    const auto found = entries_.find(repository.id());
    const bool running = found != entries_.end() && !found->second.agent.empty() &&
                         now - found->second.heard < kLost;
    if (repository.import_every_s() == 0 && !running) continue;
    v1::ImportState* const state = all->add_imports();
    state->set_repository(repository.id());
    if (found == entries_.end()) continue;
    const Entry& entry = found->second;
    state->set_running(running);
    if (running) state->set_agent(entry.agent);
    state->set_ended_ns(entry.ended_wall_ns);
    if (entry.ended) *state->mutable_last() = entry.last;
  }
}

void ImportSchedule::Forget(uint32_t repository) {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(repository);
  if (found != entries_.end()) found->second.ended.reset();
}

}  // namespace sheen::mds
