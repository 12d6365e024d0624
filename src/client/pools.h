// Pools of OSTs, for `lfs pool_list` and its like.
#pragma once

#include "async/task.h"
#include "client/filesystem.h"
#include "sheen/v1/mds.pb.h"

namespace sheen::client {

// As the MGS has them now. On a shard of the filesystem's.
async::Task<Result<v1::OstPoolList>> ListPools(Filesystem* fs);

}  // namespace sheen::client
