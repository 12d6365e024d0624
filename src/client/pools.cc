#include "client/pools.h"

#include "client/convert.h"
#include "client/state.h"

namespace sheen::client {

async::Task<Result<v1::OstPoolList>> ListPools(Filesystem* fs) {
  rpc::Call call = MakeCall(rpc::Opcode::kMdsClusterMap, 0, v1::ClusterMapRequest());
  auto answered = co_await MdsCall<v1::ClusterMap>(fs->state()->Here(), std::move(call));
  if (!answered) co_return std::unexpected(answered.error());
  v1::OstPoolList list;
  list.set_fsname(answered->reply.fsname());
  *list.mutable_pools() = std::move(*answered->reply.mutable_pools());
  co_return list;
}

}  // namespace sheen::client
