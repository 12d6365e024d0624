// cluster_map: which servers and targets there are, for clients (servers ask by gRPC).
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status GetClusterMap(OpContext* context, const v1::ClusterMapRequest& /*request*/,
                     v1::ClusterMap* reply) {
  context->core->cluster->Fill(reply);
  return {};
}

}  // namespace sheen::mds::ops
