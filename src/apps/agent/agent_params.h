// What lctl and /metrics show of an agent: what OSSs fetched through it, and its requests to S3 by
// data repository. docs/man/lctl.8 lists the names.
#pragma once

#include <string>

#include "agent/agent_service.h"
#include "apps/common/node_control.h"

namespace sheen::apps {

struct AgentParamsOwner {
  agent::AgentService* service = nullptr;
  std::string name;  // of the agent
  std::string fsname;
};

// What the owner refers to must outlive `control`.
void AddAgentParams(AgentParamsOwner owner, NodeControl* control);

}  // namespace sheen::apps
