// statfs: the space of all targets, from the last heartbeats.
#include "mds/ops/ops.h"

namespace sheen::mds::ops {

Status StatFs(OpContext* context, const v1::StatFsRequest& /*request*/, v1::StatFsReply* reply) {
  for (v1::TargetSpace& target : context->core->cluster->Targets()) {
    *reply->add_targets() = std::move(target);
  }
  return {};
}

}  // namespace sheen::mds::ops
