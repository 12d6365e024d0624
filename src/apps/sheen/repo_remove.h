// How a link to S3 is taken away: first it is compared with S3 no more, then the names that S3 has
// go, then the link. Whatever fails on the way, the link that stays is compared as before.
//
// Belongs to the main thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "sheen/result.h"
#include "sheen/v1/control.pb.h"

namespace sheen::apps {

// What the servers do for it. All block.
struct RemoveCalls {
  std::function<Result<v1::ListRepositoriesReply>()> list;
  std::function<Status(const v1::Repository&)> update;
  std::function<Result<uint64_t>()> drop_names;  // empty: they stay
  std::function<Result<v1::RemoveRepositoryReply>()> remove;
  std::function<Status()> pause;  // 0.1 s between two looks; kInterrupted: the user gives up
};

struct RemovedLink {
  uint64_t dropped = 0;  // names
  v1::RemoveRepositoryReply counts;
};

// Errors: of the calls; kNoEntry, kBusy (a comparison does not end).
Result<RemovedLink> RemoveLink(const std::string& path, const RemoveCalls& calls);

// Errors: kNoEntry, with what there is.
Result<v1::Repository> FindRepository(const v1::ListRepositoriesReply& all,
                                      const std::string& path);
// Of its comparisons; null: it has none.
const v1::ImportState* StateOf(const v1::ListRepositoriesReply& all,
                               const v1::Repository& repository);

}  // namespace sheen::apps
