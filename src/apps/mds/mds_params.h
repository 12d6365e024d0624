// The names under which lctl and Prometheus find what sheen-mds counts and keeps.
//
// Thread-safe.
#pragma once

#include "apps/common/node_control.h"
#include "mds/service.h"
#include "rpc/server.h"

namespace sheen::apps {

struct MdsParamsOwner {
  mds::MdsService* service = nullptr;
  const rpc::SessionTable* sessions = nullptr;
};

// All of `owner` must outlive the control's Stop().
void AddMdsParams(MdsParamsOwner owner, NodeControl* control);

}  // namespace sheen::apps
