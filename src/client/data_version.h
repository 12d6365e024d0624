// A file's bytes as one number, and the fence in front of its objects.
//
// Shard-confined as the ShardContext that they use.
#pragma once

#include <cstdint>
#include <vector>

#include "async/task.h"
#include "client/types.h"

namespace sheen::client {

class OpenFile;
class State;

// Of which bytes a version is: those of the objects that were born by these numbers.
struct SeenVersion {
  uint64_t version = 0;
  std::vector<uint64_t> births;  // 0: no objects yet
  bool operator==(const SeenVersion&) const = default;
};
std::vector<uint64_t> BirthsOf(const layout::Layout& layout);

// Of an open or closed file, by its newest layout.
async::Task<Result<SeenVersion>> NewestVersion(State* state, Fid fid, DataLook look);
// As it is once every object refuses requests of layouts older than this one, which is of an open
// file under a hold; what was written before survives power loss.
// Errors: kTimedOut: all users of the file wait meanwhile, so it is not waited for long.
async::Task<Result<SeenVersion>> FenceObjects(State* state, OpenFile* file, LayoutPtr layout);

}  // namespace sheen::client
