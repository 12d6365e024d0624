// ImportSchedule: which data repositories are to be compared with S3 now, and by which agent. One
// agent at a time does one: it is told with the answer to a heartbeat, says with each further one
// how far it is, and when it is not heard of any more another gets it.
//
// In memory: after a restart of the MDS all comparisons are due. Thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "base/clock.h"
#include "sheen/v1/control.pb.h"

namespace sheen::mds {

class ImportSchedule final {
 public:
  // A comparison that no heartbeat has told of for so long has ended with its agent.
  static constexpr Nanos kLost = std::chrono::seconds(10);

  // What a heartbeat tells.
  void Hear(const v1::AgentHeartbeatRequest& heartbeat, Nanos now, int64_t wall_ns);
  // Of `all`'s repositories those that `agent` is to compare, as its `imports_due`.
  void GiveDue(const std::string& agent, Nanos now, v1::ListRepositoriesReply* all);
  // As its `imports`: of those that are compared by themselves, and of those that are ordered no
  // more whose last comparison has not ended yet.
  void Describe(Nanos now, v1::ListRepositoriesReply* all) const;
  // The next comparison is due at once: the settings are others.
  void Forget(uint32_t repository);

 private:
  struct Entry {
    std::string agent;  // empty: none has it
    Nanos heard{0};
    std::optional<Nanos> ended;
    int64_t ended_wall_ns = 0;
    v1::ImportProgress last;
  };
  mutable std::mutex mutex_;  // guards what follows; a leaf
  std::map<uint32_t, Entry> entries_;
};

}  // namespace sheen::mds
