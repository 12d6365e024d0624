// Who makes a request: users, groups and the job of one process on a client. Told once per session
// (kSetCredential), then named by an id in every frame.
//
// Immutable values; thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sheen::rpc {

inline constexpr size_t kJobIdBytesMax = 31;  // Lustre's

struct Credential {
  uint32_t uid = 0;
  uint32_t gid = 0;
  std::vector<uint32_t> groups;
  std::string job_id = {};  // at most kJobIdBytesMax; empty: not known
};

// For whom a request is, in statistics.
struct Origin {
  uint32_t uid = 0;
  std::string job_id;
};

}  // namespace sheen::rpc
