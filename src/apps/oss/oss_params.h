// The names under which lctl and Prometheus find what sheen-oss counts and keeps.
//
// Thread-safe.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "apps/common/node_control.h"
#include "oss/agent_pool.h"
#include "oss/service.h"
#include "rpc/server.h"

namespace sheen::apps {

struct OssParamsOwner {
  oss::OssService* service = nullptr;
  const rpc::SessionTable* sessions = nullptr;
  oss::AgentPool* agents = nullptr;
  std::function<std::vector<v1::TargetSpace>()> spaces;  // blocks shortly
};

// All of `owner` must outlive the control's Stop().
void AddOssParams(const OssParamsOwner& owner, NodeControl* control);

}  // namespace sheen::apps
