// An open file of libsheen.
#pragma once

#include <string>

#include "apps/libsheen/connection.h"

namespace sheen {

class File::State final {
 public:
  State(lib::Connection* owner, const Fid& file, uint64_t opened, int open_flags)
      : connection(owner), shard(owner->NextShard()), fid(file), handle(opened),
        flags(open_flags) {}

  lib::Connection* const connection;
  const uint32_t shard;  // its requests go by one shard's connections
  const Fid fid;
  const uint64_t handle;
  const int flags;
  std::atomic<bool> closed{false};
};

}  // namespace sheen
