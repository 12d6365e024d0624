// What `sheen doctor --server` looks for beyond this host: whether the ports of all servers and
// agents can be reached from here, and whether the agents may do in S3 what links need.
//
// Blocking.
#pragma once

#include <vector>

#include "apps/sheen/doctor.h"
#include "rpc/address.h"

namespace sheen::apps {

// `mgs`: control address of the MDS.
void CheckCluster(const rpc::Address& mgs, std::vector<Finding>* findings);

}  // namespace sheen::apps
